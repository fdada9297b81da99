"""What holds an image and its index map together, between loading and packing."""

import numpy as np

from mmpanseg.structures import VOID
from mmpanseg.structures.image_file import file_orientation


def check_orientation_known(results: dict, backend_args: dict | None = None) -> None:
    """Refuse to load the annotation of a turned image that lies nobody knows how.

    Raises:
        ValueError: the image's file has an EXIF orientation, and ``img_orientation`` is absent.
    """
    if 'img_orientation' in results:
        return
    path = results.get('img_path')
    orientation = file_orientation(path, backend_args)
    if orientation != 1:
        raise ValueError(
            f'{path} has EXIF orientation {orientation}, and its loader does not say whether it '
            "turned the image; load it with dict(type='LoadImageFromFile'), before its "
            'annotations')


def add_map(results: dict, index_map: np.ndarray, labels: np.ndarray) -> None:
    """Add a map that was just loaded, int32 [H, W], and the labels [N] of its segments."""
    results.update(
        gt_seg_map=index_map, gt_segment_labels=np.asarray(labels, dtype=np.int64),
        annotations_turned=True,
        # tells a map of segments from a map of labels
        ignore_index=VOID,
        # what transforms of mmsegmentation take along
        seg_fields=['gt_seg_map'],
        # a test pipeline resizes the image first, and scores at the size of the file
        map_of_file='img' in results and results['img'].shape[:2] != index_map.shape)


def check_map(results: dict) -> None:
    """Refuse a map that does not belong to its image any more.

    Raises:
        ValueError: a transform gave the map another size than the image, or values that are no
            segment.
    """
    index_map, count = results['gt_seg_map'], len(results['gt_segment_labels'])
    path = results.get('img_path')
    size = (results['ori_shape'] if results.get('map_of_file') else results['img'].shape)[:2]
    if index_map.shape != tuple(size):
        raise ValueError(
            f'{path}: after the transforms the image has {size[1]}x{size[0]} pixels and its map of '
            f'segments (gt_seg_map) {index_map.shape[1]}x{index_map.shape[0]}: a transform in the '
            'pipeline changes only one of them')
    if index_map.size and not (VOID <= index_map.min() and index_map.max() < count):
        wrong = int(index_map.max() if index_map.max() >= count else index_map.min())
        raise ValueError(
            f'{path}: after the transforms its map of segments (gt_seg_map) has the value {wrong}, '
            f'but there are {count} segments and -1 is void: a transform in the pipeline fills its '
            'border with that value; set its seg_ignore_label, pad_val=dict(seg=...) or fill_mask '
            'to void (-1, of albumentations 0)')

