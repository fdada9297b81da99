"""What an image looks like: as its files define it, and as the loader yields it.

Shapes: H, W image size, C channels, N segments.
"""
import copy
from dataclasses import dataclass
from typing import Any

import mmcv.transforms
import numpy as np
import torch
from mmdet.datasets import BaseDetDataset
from mmdet.datasets.transforms import PackDetInputs
from mmdet.structures import DetDataSample

from mmpanseg.browse.sources import Classes, kind_of
from mmpanseg.datasets.transforms import (
    LoadChannels,
    LoadInstanceMasks,
    LoadPanopticMap,
    LoadSemanticMap,
)
from mmpanseg.datasets.transforms.loading_panoptic import index_segments
from mmpanseg.structures import VOID, SegmentMap
from mmpanseg.structures.encoded_masks import encode_masks, segments_from_rles
from mmpanseg.structures.exif_orientation import orient_annotation
from mmpanseg.structures.label_image import (
    IGNORE_INDEX,
    distinct_values,
    label_table,
    read_label_image,
)
from mmpanseg.structures.mmdet_samples import segments_from_sample
from mmpanseg.structures.panoptic_png import read_panoptic_png

_MAP_LOADERS = (LoadPanopticMap, LoadSemanticMap, mmcv.transforms.LoadAnnotations)


@dataclass(frozen=True)
class View:
    """An image with its segments.

    Args:
        image: [H, W, C] or [H, W], as it was loaded.
        segments: None without ground truth.
        crowds: indices of the segments that are crowds.
    """

    image: np.ndarray
    segments: SegmentMap | None = None
    crowds: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Annotation:
    """The segments of an image as its files define them.

    Args:
        segments: with crowds.
        crowds: indices of the segments that are crowds.
    """

    segments: SegmentMap
    crowds: frozenset[int] = frozenset()


def read_image(dataset: BaseDetDataset, inner: int) -> dict:
    """Load an image by the transforms of the pipeline that load images.

    Args:
        dataset: data set without wrappers.
        inner: index in it.

    Returns:
        the sample with ``img``.

    Raises:
        ValueError: the pipeline loads no image.
        Exception: the image cannot be read.
    """
    results: dict | None = copy.deepcopy(dataset.get_data_info(inner))
    for step in dataset.pipeline.transforms:
        if type(step).__name__.startswith('Load') and not isinstance(step, _MAP_LOADERS):
            results = step(results)
            if results is None:
                raise ValueError(f'{type(step).__name__} rejects the image')
    assert results is not None
    if not isinstance(results.get('img'), np.ndarray):
        raise ValueError('no transform of the pipeline loads the image (LoadImageFromFile)')
    return results


def shown_channels(dataset: BaseDetDataset, image: np.ndarray) -> tuple[int, ...]:
    """Return the channels that pictures show by the config; () where OpenCV's order is known.

    Args:
        dataset: data set without wrappers.
        image: one of its images, [H, W, C] or [H, W].
    """
    for step in dataset.pipeline.transforms:
        if isinstance(step, LoadChannels):
            if step.display is not None:
                return tuple(step.display)
            # its colors have the order red, green, blue
            return (0, 1, 2) if image.ndim == 3 and image.shape[2] >= 3 else (0, )
    return ()


def read_annotation(dataset: BaseDetDataset, results: dict) -> Annotation:
    """Read the segments of an image, crowds too, without augmentation.

    Args:
        dataset: data set without wrappers.
        results: the sample of :func:`read_image`, or that of ``get_data_info``: the annotation then
            has the orientation of its file, and its size is not compared with that of the image.

    Raises:
        Exception: the annotation cannot be read or does not fit the image.
    """
    kind = kind_of(dataset)
    if kind == 'instance' and 'instances' in results:
        return _instances(results)
    if kind == 'semantic':
        return _semantic(dataset, results)
    if kind in ('panoptic', 'instance'):
        return _panoptic(dataset, results)
    return _by_pipeline(dataset, results)


def _loader(dataset: BaseDetDataset, kind: type) -> Any:
    """Return the transform of a class in the pipeline, else a new one."""
    found = (step for step in dataset.pipeline.transforms if isinstance(step, kind))
    return next(found, None) or kind()


def _compare_size(path: str, found: tuple[int, ...], results: dict) -> None:
    size = results.get('ori_shape')
    if size is not None and tuple(size) != tuple(found):
        raise ValueError(f'{path} is {found[1]}x{found[0]}, its image {results["img_path"]} is '
                         f'{size[1]}x{size[0]}: both must have the same size')


def _empty(results: dict) -> Annotation:
    """Annotation of an image without one: all pixels are void."""
    size = results.get('ori_shape') or (results.get('height', 1), results.get('width', 1))
    return Annotation(SegmentMap(
        torch.zeros(0, dtype=torch.int64), map=torch.full(tuple(size), VOID, dtype=torch.int32)))


def _panoptic(dataset: BaseDetDataset, results: dict) -> Annotation:
    path = results['seg_map_path']
    if path is None:
        return _empty(results)
    backend = _loader(dataset, LoadPanopticMap).backend_args
    ids = orient_annotation(read_panoptic_png(path, backend), results)
    _compare_size(path, ids.shape, results)
    segments = results['segments_info']
    shown = [dict(segment, iscrowd=0) for segment in segments]
    void = [dict(id=number, iscrowd=1) for number in results.get('void_ids', ())]
    index = index_segments(ids, shown + void, path)
    labels = torch.tensor([segment['category'] for segment in segments], dtype=torch.int64)
    return Annotation(SegmentMap(labels, map=torch.from_numpy(index)), frozenset(
        number for number, segment in enumerate(segments) if segment.get('iscrowd')))


def _semantic(dataset: BaseDetDataset, results: dict) -> Annotation:
    path = results['seg_map_path']
    if path is None:
        return _empty(results)
    loader = _loader(dataset, LoadSemanticMap)
    values = orient_annotation(read_label_image(path, loader.backend_args), results)
    _compare_size(path, values.shape, results)
    present = distinct_values(values)
    ignored = loader.ignore_index
    table = label_table(
        present, results['num_classes'], path, loader.label_map or results.get('label_map'),
        results.get('ignore_index', IGNORE_INDEX) if ignored is None else ignored,
        loader.reduce_zero_label)
    labels = np.unique(table[present])
    labels = labels[labels >= 0]
    index = np.where(table < 0, VOID, np.searchsorted(labels, table)).astype(np.int32)
    return Annotation(SegmentMap(torch.from_numpy(labels.astype(np.int64)),
                                 map=torch.from_numpy(index[values])))


def _instances(results: dict) -> Annotation:
    size = results.get('ori_shape') or (results['height'], results['width'])
    # the loader leaves out the masks of crowds
    opened = dict(results, ori_shape=tuple(size), instances=[
        dict(instance, ignore_flag=0) for instance in results['instances']])
    loaded = LoadInstanceMasks()(opened)
    labels = torch.from_numpy(np.asarray(loaded['gt_bboxes_labels'], dtype=np.int64))
    masks = loaded['gt_masks']
    return Annotation(
        segments_from_rles(labels, encode_masks(masks), (masks.height, masks.width)),
        frozenset(number for number, instance in enumerate(results['instances'])
                  if instance['ignore_flag']))


def _by_pipeline(dataset: BaseDetDataset, results: dict) -> Annotation:
    """Read the annotation of a data set of mmdet by the transforms of its pipeline."""
    if 'img' not in results:
        results = read_image(dataset, results['sample_idx'])
    for step in dataset.pipeline.transforms:
        if isinstance(step, _MAP_LOADERS):
            results = step(results)
    sample = PackDetInputs(meta_keys=('img_path', ))(results)['data_samples']
    meta = dataset.metainfo
    count = len(meta['classes'])
    segments = _converted(sample, len(meta.get('thing_classes', meta['classes'])), count)
    return _empty(results) if segments is None else Annotation(segments)


def view_of_sample(packed: dict, classes: Classes) -> View:
    """Convert what a loader yields.

    Args:
        packed: dict of ``inputs``, a tensor [C, H, W], and ``data_samples``.
        classes: of the data set.

    Raises:
        ValueError: the pipeline packs nothing that can be drawn.
    """
    inputs, sample = packed.get('inputs'), packed.get('data_samples')
    if not isinstance(inputs, torch.Tensor) or not isinstance(sample, DetDataSample):
        raise ValueError('the pipeline does not end with mmpanseg.PackPanopticInputs or '
                         'PackDetInputs: no image and no segments come from it')
    image = np.ascontiguousarray(inputs.numpy().transpose(1, 2, 0))
    if 'gt_segments' in sample:
        return View(image, sample.gt_segments)
    return View(image, _converted(sample, classes.num_things, len(classes.names)))


def _converted(sample: DetDataSample, num_things: int, num_classes: int) -> SegmentMap | None:
    """Convert the ground truth of mmdet's samples; None without masks and maps."""
    has_masks = 'gt_instances' in sample and 'masks' in sample.gt_instances
    if not has_masks and 'gt_sem_seg' not in sample:
        return None
    # a sample may have only one of the two
    if not has_masks:
        return segments_from_sample(sample, 0, num_classes)
    return segments_from_sample(
        sample, num_things, num_classes if 'gt_sem_seg' in sample else num_things)
