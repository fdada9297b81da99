"""Loading of panoptic ground truth as one index map. H, W image size; N segments."""

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
    """Panoptic PNG -> map of segment indices, and the segments' labels.

    Reads ``seg_map_path`` and ``segments_info`` (as made by
    :class:`mmpanseg.datasets.PanopticDataset`). Adds ``gt_seg_map``, int32 [H, W], pixel -> index
    of its segment, -1 = void, and ``gt_segment_labels``, int64 [N]. Segments keep the order of
    ``segments_info``. Crowd segments, and those that ``void_ids`` lists, become void: they count
    neither for nor against. The map is turned as the image was, see
    :func:`mmpanseg.structures.exif_orientation.annotation_orientation`.

    Without ``seg_map_path`` (a plain image at inference) nothing happens. A ``seg_map_path`` of
    None means that the image has no ground truth: everything is void.

    Args:
        backend_args: mmengine file backend, see :func:`mmengine.fileio.get`.

    Raises:
        ValueError: when the PNG cannot be decoded, is not 8 bit with 3 channels, has another size
            than the image, has ids that no segment lists, or lacks the id of a listed segment;
            when the image has an EXIF orientation and was not loaded before.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        if 'seg_map_path' not in results:
            return results
        path = results['seg_map_path']
        # of the file: a test pipeline resizes the image first and scores at its original size
        shape = results.get('ori_shape') or (results['height'], results['width'])
        if path is None:
            index_map = np.full(shape, VOID, np.int32)
            labels = []
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
    """Index map int32 [H, W] of an id map: index among the non-crowd segments, -1 = void.

    Args:
        ids: int32 [H, W], 0 = void.
        segments: dicts with ``id`` and optionally ``iscrowd``.
        path: for error messages.
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

    # Segments are made of long horizontal runs of one id: look up one value per run.
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
