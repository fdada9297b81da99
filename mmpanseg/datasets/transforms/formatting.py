"""Packing of an image and its segments as the input of a model."""

import cv2
import numpy as np
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.structures.mask import PolygonMasks

from mmpanseg.datasets.transforms.image_and_map import check_map
from mmpanseg.registry import TRANSFORMS
from mmpanseg.structures import SegmentMap
from mmpanseg.structures.encoded_masks import encode_masks, segments_from_rles

META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
             'flip_direction', 'seg_map_path', 'segments_info', 'void_ids', 'label2cat',
             'label_coding')
FILE_KEYS = ('img_orientation', 'ann_orientation', 'drawn_channels')
INSTANCE_KEYS = ('gt_masks', 'gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags')


@TRANSFORMS.register_module()
class PackPanopticInputs(PackDetInputs):
    """Pack the image as a tensor [C, H, W] and the ground truth as ``DetDataSample.gt_segments``.

    The tensor is uint8 for 8-bit images, otherwise float32.

    ``gt_segments`` is a :class:`mmpanseg.structures.SegmentMap`. It contains an index map after
    :class:`LoadPanopticMap` or :class:`LoadSemanticMap`. After :class:`LoadInstanceMasks` or
    mmdet's ``LoadAnnotations(with_bbox=True, with_mask=True)`` it contains an index map too, or
    masks if two of them overlap; crowds and other ignored instances are omitted.
    ``segments_info`` in the meta information describes the file at ``seg_map_path``, not the
    transformed map.

    Args:
        meta_keys: keys of results that become meta information of the sample.
        drop_empty: remove segments of which the transforms left no pixel. False, as in the
            published Mask2Former: their empty masks are targets. For COCO instance segmentation
            the published code removes them.

    Raises:
        ValueError: both an index map and instance masks were loaded, or masks in a form that the
            loader omitted; a transform changed only one of image and map; the image was turned
            upright and its annotation was not.
    """

    def __init__(self, meta_keys: tuple = META_KEYS, drop_empty: bool = False) -> None:
        super().__init__(meta_keys=meta_keys)
        self.drop_empty = drop_empty

    def transform(self, results: dict) -> dict:
        segments = _segments(results)
        # mmdet would pack the ground truth again, with the map as semantic labels
        packed = super().transform({key: value for key, value in results.items()
                                    if key not in ('img', 'gt_seg_map', *INSTANCE_KEYS)})
        packed['inputs'] = torch.from_numpy(_planes(results['img']))
        if segments is not None:
            packed['data_samples'].gt_segments = (
                segments.drop_empty() if self.drop_empty else segments)
        if 'real_pixels' in results:
            packed['data_samples'].real_pixels = torch.from_numpy(results['real_pixels'])
        # metrics and pictures read them, independently of meta_keys
        packed['data_samples'].set_metainfo(
            {key: results[key] for key in FILE_KEYS if key in results})
        return packed

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys}, drop_empty={self.drop_empty})'


def _planes(image: np.ndarray) -> np.ndarray:
    """Split an image [H, W, C] or [H, W] into planes [C, H, W], by OpenCV for speed.

    Other types than uint8 become float32: torch lacks operations on some of them.
    """
    if image.dtype != np.uint8:
        image = image.astype(np.float32, copy=False)
    if image.ndim == 2:
        return np.ascontiguousarray(image)[None]
    height, width, channels = image.shape
    planes = np.empty((channels, height, width), image.dtype)
    for channel, plane in enumerate(planes):
        cv2.extractChannel(image, channel, plane)
    return planes


def _segments(results: dict) -> SegmentMap | None:
    """Return the ground truth of a sample, None if none was loaded."""
    index_map, masks = results.get('gt_seg_map'), results.get('gt_masks')
    if index_map is None and masks is None:
        return None
    if results.get('ann_orientation', 1) != 1 and not results.get('annotations_turned'):
        raise ValueError(
            f'{results.get("img_path")} has an EXIF orientation and was turned upright, its '
            'annotation was not: load annotations with mmpanseg.LoadPanopticMap, '
            "mmpanseg.LoadSemanticMap or dict(type='LoadAnnotations', ...), or images with "
            "color_type='color_ignore_orientation'")
    if masks is None:
        if 'gt_segment_labels' not in results:
            raise ValueError(
                f'{results.get("img_path")}: its map is one of labels, not of segments; load with '
                'mmpanseg.LoadPanopticMap or mmpanseg.LoadSemanticMap, or pack with PackDetInputs')
        check_map(results)
        # a flipped map has negative strides
        return SegmentMap(torch.from_numpy(results['gt_segment_labels']),
                          map=torch.from_numpy(np.ascontiguousarray(index_map)))
    if index_map is not None:
        raise ValueError(f'{results.get("img_path")}: the pipeline loads both a segmentation map '
                         'and instance masks; remove LoadPanopticMap, LoadSemanticMap or '
                         'LoadAnnotations from it')
    _check_masks(results)
    size = results['img'].shape[:2]
    if (masks.height, masks.width) != size and 'instances' in results and (
            tuple(results['ori_shape']) != (masks.height, masks.width)):
        raise ValueError(
            f'{results.get("img_path")}: after the transforms the image has {size[1]}x{size[0]} '
            f'pixels and its masks (gt_masks) {masks.width}x{masks.height}: a transform in the '
            'pipeline changes only one of them')
    counted = np.flatnonzero(~results['gt_ignore_flags'])
    return segments_from_rles(torch.from_numpy(results['gt_bboxes_labels'][counted]),
                            encode_masks(masks[counted]), (masks.height, masks.width))


def _check_masks(results: dict) -> None:
    """Raise a ValueError if mmdet's LoadAnnotations ignored the mask of an object."""
    if not isinstance(results['gt_masks'], PolygonMasks):
        return
    for instance in results.get('instances', ()):
        mask = instance.get('mask')
        # mmdet's data sets do not mark crowds; in COCO's files they have lists
        if isinstance(mask, dict) and not instance.get(
                'iscrowd', isinstance(mask.get('counts'), list)):
            raise ValueError(
                f'{results.get("img_path")}: its masks are run-length encoded, which '
                'LoadAnnotations with poly2mask=False ignores; set poly2mask=True, or load with '
                'mmpanseg.LoadInstanceMasks')
