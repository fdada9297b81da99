"""Panoptic ground truth of a sample, read from its PNG."""
import numpy as np

from mmpanseg.evaluation.metric_base import require_keys, sample_name
from mmpanseg.evaluation.panoptic_quality import PanopticDataError, PanopticMap
from mmpanseg.structures.exif_orientation import (
    annotation_orientation,
    apply_orientation,
    inverse_orientation,
    orient_annotation,
)
from mmpanseg.structures.image_file import file_orientation
from mmpanseg.structures.panoptic_png import read_panoptic_png


def read_ground_truth(sample: dict, dataset_meta: dict,
                      backend_args: dict | None = None) -> PanopticMap | None:
    """Read the PNG at ``seg_map_path``, whose segments ``segments_info`` describes.

    The map is oriented like the input image of the model.

    Args:
        sample: with ``seg_map_path`` and ``segments_info``. Ids in ``void_ids``, if that key
            exists, become void.
        dataset_meta: metainfo of the dataset, with ``classes`` and ``thing_classes``.
        backend_args: arguments of mmengine's file backend.

    Returns:
        None where the image has no annotation (``seg_map_path`` is None).

    Raises:
        PanopticDataError: a key is missing, or a label is outside the classes of the dataset.
        FileNotFoundError: the PNG does not exist.
        ValueError: the PNG is damaged.
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
                f'{info["category"]}, but the dataset has {num_classes} classes; labels are '
                f'0 .. {num_classes - 1}')
    ids = orient_annotation(read_panoptic_png(path, backend_args), with_image_orientation(sample))
    if sample.get('void_ids'):
        ids = np.where(np.isin(ids, sample['void_ids']), 0, ids)
    return PanopticMap(ids,
                       [info['id'] for info in infos],
                       [info['category'] for info in infos],
                       [_is_crowd(info, dataset_meta) for info in infos], name=str(path))


def with_image_orientation(sample: dict) -> dict:
    """Add ``img_orientation`` to a sample that lacks it.

    Args:
        sample: with ``img_path``, from whose EXIF header the orientation is read.

    Returns:
        the sample as :func:`mmpanseg.structures.exif_orientation.annotation_orientation` needs it;
        the argument stays unchanged.
    """
    if 'img_orientation' not in sample:
        sample = dict(sample, img_orientation=file_orientation(sample.get('img_path')))
    return sample


def to_stored_orientation(array: np.ndarray, sample: dict,
                          backend_args: dict | None = None) -> np.ndarray:
    """Undo the EXIF orientation of a result, so that its pixels match the annotation file.

    The annotation is the ground truth PNG where the sample has one, otherwise the height and width
    in the annotation file.

    Args:
        array: result [H, W, ...] of the upright image.
        sample: with ``img_path``, and ``seg_map_path`` if a PNG exists.
        backend_args: arguments of mmengine's file backend, for the PNG.
    """
    sample = with_image_orientation(sample)
    orientation = sample['img_orientation']
    if orientation == 1:
        return array
    path = sample.get('seg_map_path')
    if path is None:
        orientation = sample.get('ann_orientation', orientation)
    else:
        orientation = annotation_orientation(read_panoptic_png(path, backend_args).shape, sample)
    return apply_orientation(array, inverse_orientation(orientation))


def _is_crowd(info: dict, dataset_meta: dict) -> bool:
    if 'iscrowd' in info:
        return bool(info['iscrowd'])
    # mmdet's datasets mark a crowd by isthing=False on a segment of a thing class.
    name = dataset_meta['classes'][info['category']]
    return name in dataset_meta['thing_classes'] and not info['is_thing']
