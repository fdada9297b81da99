"""Entries and checks that keep an image and its index map consistent in a pipeline."""

from collections.abc import Sequence

import numpy as np

from mmpanseg.structures import VOID
from mmpanseg.structures.image_file import file_orientation


def check_orientation_known(results: dict, backend_args: dict | None = None) -> None:
    """Check that the loader of an image with an EXIF orientation recorded whether it turned it.

    Args:
        results: the sample.
        backend_args: arguments of mmengine's file backend; None for the file system.

    Raises:
        ValueError: the image file has an EXIF orientation, and ``img_orientation`` is absent.
    """
    if 'img_orientation' in results:
        return
    path = results.get('img_path')
    orientation = file_orientation(path, backend_args)
    if orientation != 1:
        raise ValueError(
            f'{path} has EXIF orientation {orientation}, and its loader does not record whether it '
            "turned the image; load it with dict(type='LoadImageFromFile'), before its "
            'annotations')


def add_map(results: dict, index_map: np.ndarray, labels: Sequence[int] | np.ndarray) -> None:
    """Add an index map to a sample.

    Args:
        results: the sample.
        index_map: int32 [H, W], index of the segment of each pixel, -1 = void.
        labels: labels of the N segments.
    """
    results.update(
        gt_seg_map=index_map, gt_segment_labels=np.asarray(labels, dtype=np.int64),
        annotations_turned=True,
        # distinguishes a map of segments from a map of labels
        ignore_index=VOID,
        # maps that transforms of mmsegmentation process
        seg_fields=['gt_seg_map'],
        # a test pipeline resizes the image first; evaluation is at the size of the file
        map_of_file='img' in results and results['img'].shape[:2] != index_map.shape)


def check_map(results: dict) -> None:
    """Check that the transforms of a pipeline kept image and index map consistent.

    Raises:
        ValueError: the map has another size than the image, or values that are no segment.
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

