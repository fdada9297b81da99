"""Packing of a loaded image and its segments for a model."""
import numpy as np
import torch
from mmdet.datasets.transforms import PackDetInputs

from mmpanseg.registry import TRANSFORMS
from mmpanseg.structures import SegmentMap

META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
             'flip_direction', 'seg_map_path', 'segments_info')


@TRANSFORMS.register_module()
class PackPanopticInputs(PackDetInputs):
    """Image -> uint8 tensor [3, H, W], ground truth -> ``DetDataSample.gt_segments``.

    ``gt_segments`` is a :class:`mmpanseg.structures.SegmentMap` and is present when
    :class:`LoadPanopticMap` ran before. ``segments_info`` in the meta information describes the
    file at ``seg_map_path``, not the transformed map.

    Args:
        meta_keys: results to keep as meta information of the sample.
        drop_empty: remove segments that the transforms left without a pixel. The published
            Mask2Former keeps them (False): an empty mask is then a target like any other.
    """

    def __init__(self, meta_keys: tuple = META_KEYS, drop_empty: bool = False) -> None:
        super().__init__(meta_keys=meta_keys)
        self.drop_empty = drop_empty

    def transform(self, results: dict) -> dict:
        # mmdet would take the map for semantic labels
        index_map = results.pop('gt_seg_map', None)
        packed = super().transform(results)
        if index_map is not None:
            segments = SegmentMap(
                torch.from_numpy(results['gt_segment_labels']),
                # a flipped map has negative strides
                map=torch.from_numpy(np.ascontiguousarray(index_map)))
            packed['data_samples'].gt_segments = (
                segments.drop_empty() if self.drop_empty else segments)
        return packed

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys}, drop_empty={self.drop_empty})'
