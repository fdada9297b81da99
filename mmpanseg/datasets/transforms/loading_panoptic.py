"""Loading of panoptic ground truth as an index map.

H, W: height and width of the image; N: number of segments.
"""

import mmdet.datasets.transforms as mmdet_transforms
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS as MMDET_TRANSFORMS

from mmpanseg.datasets.transforms.image_and_map import add_map, check_orientation_known
from mmpanseg.registry import TRANSFORMS
from mmpanseg.structures import VOID
from mmpanseg.structures.exif_orientation import orient_annotation
from mmpanseg.structures.panoptic_png import read_panoptic_png, rgb2id


@TRANSFORMS.register_module()
class LoadPanopticMap(BaseTransform):
    """Load a panoptic PNG as an index map and the labels of its segments.

    Reads ``seg_map_path`` and ``segments_info`` of :class:`mmpanseg.datasets.PanopticDataset`. Adds
    ``gt_seg_map``, int32 [H, W], the index of the segment of each pixel, -1 = void, and
    ``gt_segment_labels``, int64 [N]. Segments have the order of ``segments_info``. Crowd segments,
    and those that ``void_ids`` lists, become void. The map is turned as the image was, see
    :func:`mmpanseg.structures.exif_orientation.annotation_orientation`.

    Samples without ``seg_map_path`` (plain images at inference) are not changed. A
    ``seg_map_path`` of None means that the image has no ground truth: all pixels are void.

    Args:
        backend_args: arguments of mmengine's file backend; None for the file system.

    Raises:
        ValueError: the PNG cannot be decoded, has other than 3 channels of 8 bits, another size
            than the image, ids that are not listed, or no pixel of a listed segment; the image has
            an EXIF orientation and was not loaded before.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        if 'seg_map_path' not in results:
            return results
        path = results['seg_map_path']
        # a test pipeline resizes the image first; evaluation is at the original size
        shape = results.get('ori_shape') or (results['height'], results['width'])
        if path is None:
            index_map = np.full(shape, VOID, np.int32)
            labels: list[int] = []
        else:
            check_orientation_known(results, self.backend_args)
            ids = orient_annotation(read_panoptic_png(path, self.backend_args), results)
            if ids.shape != tuple(shape):
                raise ValueError(
                    f'{path} is {ids.shape[1]}x{ids.shape[0]}, its image '
                    f'{results.get("img_path", "")} is {shape[1]}x{shape[0]}: both must have the '
                    'same size')
            segments = results['segments_info']
            void = [dict(id=i, iscrowd=1) for i in results.get('void_ids', ())]
            index_map = index_segments(ids, segments + void, path)
            labels = [s['category'] for s in segments if not s.get('iscrowd')]
        add_map(results, index_map, labels)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(backend_args={self.backend_args})'


def index_segments(ids: np.ndarray, segments: list[dict], path: str) -> np.ndarray:
    """Convert a map of segment ids to an index map.

    Args:
        ids: id of the segment of each pixel, int32 [H, W], 0 = void.
        segments: dicts with ``id`` and optionally ``iscrowd``.
        path: path of the file, for error texts.

    Returns:
        index among the segments that are no crowds, int32 [H, W], -1 = void.

    Raises:
        ValueError: an id is repeated, not listed, or listed without a pixel.
    """
    # table of known ids; entry 0 is void
    known = np.asarray([0] + [s['id'] for s in segments], dtype=np.int64)
    counted = np.asarray([False] + [not s.get('iscrowd') for s in segments])
    index = np.where(counted, counted.cumsum() - 1, VOID).astype(np.int32)
    order = np.argsort(known, kind='stable')
    in_order = known[order]
    if (in_order[1:] == in_order[:-1]).any():
        twice = int(in_order[1:][in_order[1:] == in_order[:-1]][0])
        raise ValueError(f'{path}: segment id {twice} is listed twice (0 stands for void)')

    # Segments consist of long horizontal runs of one id: look up one value per run.
    flat = ids.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    values = flat[starts]
    lengths = np.diff(starts, append=flat.size)
    place = np.searchsorted(in_order, values).clip(max=len(known) - 1)
    unknown = in_order[place] != values
    if unknown.any():
        bad = int(values[unknown][0])
        pixels = int(lengths[values == bad].sum())
        raise ValueError(
            f'{path}: {pixels} pixels have id {bad}, which segments_info does not list; add the '
            'segment, or set the pixels to 0 (void)')
    row = order[place]
    absent = np.bincount(row, minlength=len(known))[1:] == 0
    if absent.any():
        bad = segments[int(absent.argmax())]['id']
        raise ValueError(
            f'{path}: segment {bad} is in segments_info but has no pixel in the map; remove it '
            'from the annotation, or write the map that belongs to it')
    return np.repeat(index[row], lengths).reshape(ids.shape)


@MMDET_TRANSFORMS.register_module(force=True)
class LoadPanopticAnnotations(mmdet_transforms.LoadPanopticAnnotations):
    """mmdet's loader without panopticapi, which mmdet's own imports to decode colors.

    Args:
        with_bbox: load boxes.
        with_label: load labels of instances.
        with_mask: load masks of instances.
        with_seg: load the semantic map.
        kwargs: ``box_type``, ``imdecode_backend`` and ``backend_args`` of mmdet's loader.
    """

    def __init__(self, with_bbox: bool = True, with_label: bool = True, with_mask: bool = True,
                 with_seg: bool = True, **kwargs) -> None:
        # skips the constructor of mmdet's class, which raises without panopticapi
        super(mmdet_transforms.LoadPanopticAnnotations, self).__init__(
            with_bbox=with_bbox, with_label=with_label, with_mask=with_mask, with_seg=with_seg,
            with_keypoints=False, **kwargs)
        self.rgb2id = rgb2id
