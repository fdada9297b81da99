"""Panoptic ground truth of a sample, for every metric that is scored against it."""

import numpy as np

from mmpanseg.evaluation.panoptic_quality import PanopticDataError, Segments
from mmpanseg.structures.exif_orientation import annotation_turn, inverse, turn, turn_annotation
from mmpanseg.structures.image_file import file_orientation
from mmpanseg.structures.panoptic_png import read_panoptic_png


def sample_name(sample: dict) -> str:
    """What error messages call a sample."""
    return f'image {sample.get("img_id")} ({sample.get("img_path")})'


def require_keys(sample: dict, keys: tuple[str, ...]) -> None:
    """Raise a PanopticDataError unless the sample's meta information has the keys."""
    for key in keys:
        if key not in sample:
            raise PanopticDataError(
                f'{sample_name(sample)}: the sample has no {key} in its metainfo; the test '
                f'pipeline must end with mmpanseg.PackPanopticInputs, with {key} among its '
                'meta_keys')


def orientation_of(sample: dict) -> dict:
    """What :func:`mmpanseg.structures.exif_orientation.annotation_turn` wants to know of a sample.

    Where the sample does not say how its image was turned, the file is asked.
    """
    if 'img_orientation' not in sample:
        sample = dict(sample, img_orientation=file_orientation(sample.get('img_path')))
    return sample


def turn_back(array: np.ndarray, sample: dict,
              backend_args: dict | None = None) -> np.ndarray:
    """A result [H, W, ...] of the upright image, as the annotation of the sample lies.

    It is that of the data set: of the ground truth PNG where the sample has one, else of the
    annotation file's height and width.
    """
    sample = orientation_of(sample)
    orientation = sample['img_orientation']
    if orientation == 1:
        return array
    path = sample.get('seg_map_path')
    if path is None:
        orientation = sample.get('ann_orientation', orientation)
    else:
        orientation = annotation_turn(read_panoptic_png(path, backend_args).shape, sample)
    return turn(array, inverse(orientation))


def read_ground_truth(sample: dict, dataset_meta: dict,
                      backend_args: dict | None = None) -> Segments | None:
    """Segments of the PNG at ``seg_map_path``, which ``segments_info`` describes.

    The ids of ``void_ids``, if the sample has them, are void. The map lies as the image does that
    the model saw.

    Returns:
        None where the image is not annotated (``seg_map_path`` is None).

    Raises:
        PanopticDataError: when a key is absent or a label is none of the data set's.
        FileNotFoundError, ValueError: when the PNG is missing or broken.
    """
    require_keys(sample, ('seg_map_path', 'segments_info'))
    path, infos = sample['seg_map_path'], sample['segments_info']
    if path is None:
        return None
    num_classes = len(dataset_meta['classes'])
    for info in infos:
        if not 0 <= info['category'] < num_classes:
            raise PanopticDataError(
                f'{sample_name(sample)}: segment {info["id"]} of {path} has label '
                f'{info["category"]}, but the data set has {num_classes} classes; labels are '
                f'0 .. {num_classes - 1}')
    ids = turn_annotation(read_panoptic_png(path, backend_args), orientation_of(sample))
    if sample.get('void_ids'):
        ids = np.where(np.isin(ids, sample['void_ids']), 0, ids)
    return Segments(ids,
                    [info['id'] for info in infos],
                    [info['category'] for info in infos],
                    [_is_crowd(info, dataset_meta) for info in infos], name=str(path))


def _is_crowd(info: dict, dataset_meta: dict) -> bool:
    if 'iscrowd' in info:
        return bool(info['iscrowd'])
    # mmdet's datasets mark a crowd as a segment of a thing class that is no thing.
    name = dataset_meta['classes'][info['category']]
    return name in dataset_meta['thing_classes'] and not info['is_thing']
