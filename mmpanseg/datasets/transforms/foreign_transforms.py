"""Transforms of other packages, applied to both the image and its index map, or refused.

Other packages treat ``gt_seg_map`` as a map of labels, where 255 is void. In an index map 255 is a
segment and -1 is void.
"""
from collections.abc import Iterator, Mapping
from typing import Any

import mmengine.dataset
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import Albu, LoadAnnotations

from mmpanseg.datasets.transforms.channel_groups import adapt_to_channels, loads_channels
from mmpanseg.datasets.transforms.following import check_following, mask_kind
from mmpanseg.datasets.transforms.loading_channels import LoadChannels
from mmpanseg.datasets.transforms.loading_panoptic import LoadPanopticMap
from mmpanseg.datasets.transforms.loading_semantic import LoadSemanticMap
from mmpanseg.structures import VOID

# Transforms that move the pixels of the image but not those of the map, or that require boxes, and
# what replaces them.
REFUSED = {
    'CachedMixUp': 'mmpanseg.PanopticCopyPaste',
    'CachedMosaic': 'mmpanseg.PanopticCopyPaste',
    'CopyPaste': 'mmpanseg.PanopticCopyPaste',
    'CutOut': 'RandomErasing, whose area becomes void',
    'FixScaleResize': 'Resize; it rounds the sizes of image and map differently',
    'InstaBoost': 'mmpanseg.PanopticCopyPaste',
    'MinIoURandomCrop': 'RandomCrop',
    'MixUp': 'mmpanseg.PanopticCopyPaste',
    'Mosaic': 'mmpanseg.PanopticCopyPaste',
    'RandomAffine': 'Rotate, ShearX, ShearY, TranslateX and RandomResize',
    'RandomCenterCropPad': 'RandomCrop and Pad',
    'RandomMosaic': 'mmpanseg.PanopticCopyPaste',
    'RandomShift': 'TranslateX and TranslateY',
    'SegRescale': 'nothing: the losses sample the map at the size of the masks'}

# The same for masks of instances, which some of them move. Those that raise an error are here, too.
REFUSED_WITH_MASKS = {
    'CutOut': 'RandomErasing behind LoadAnnotations(with_bbox=True, with_mask=True)',
    'FixScaleResize': 'Resize; it rounds the sizes of image and masks differently',
    'MixUp': 'CachedMixUp',
    'Mosaic': 'CachedMosaic',
    'RandomAffine': 'Rotate, ShearX, ShearY, TranslateX and RandomResize',
    'RandomCenterCropPad': 'RandomCrop and Pad',
    'RandomMosaic': 'CachedMosaic',
    'RandomShift': 'TranslateX and TranslateY'}
# They need masks as pixels.
_BITMAPS_ONLY = ('Albu', 'CopyPaste', 'Expand', 'RandomErasing')
_WITH_PIXELS = "mmdet's LoadAnnotations(with_bbox=True, with_mask=True)"

_CONTAINERS = (BaseTransform, mmengine.dataset.Compose)


def adapt_pipeline(steps: Any, loading: Any) -> Any:
    """Adapt the transforms of a data set to its ground truth and to the channels of its images.

    Args:
        steps: built transforms: ``Compose``, or a list of them.
        loading: the transforms that load the images, which may be the same.

    Returns:
        the transforms; ``Compose`` is changed in place.

    Raises:
        ValueError: a transform cannot be applied to the ground truth, or moves only the image; the
            text names it and the fix.
    """
    channels = probe_channels(loading)
    if loads_index_map(loading):
        steps = adapt_transforms(steps)
        check_following(steps, channels)
    else:
        loader = mask_loader(loading)
        if loader is not None:
            refuse_with_masks(steps, loader)
            check_following(steps, channels, mask_kind(loader), 'gt_masks')
    return adapt_to_channels(steps, always=True) if loads_channels(loading) else steps


def check_mmdet_pipeline(steps: Any) -> None:
    """Check the pipeline of a data set of mmdet, whose semantic maps have 255 for void.

    Args:
        steps: built transforms.

    Raises:
        ValueError: a transform moves the image and not its map or its masks; the text names it and
            the fix.
    """
    loader = mask_loader(steps)
    if any(getattr(step, 'with_seg', False) for step in leaves(steps)):
        for step in leaves(steps):
            _refuse(step, {name: instead for name, instead in REFUSED.items() if name not in (
                'MinIoURandomCrop', 'SegRescale')} | dict(Albu="mmpanseg.PanopticDataset, whose "
                        'map of segments it transforms'), 'gt_seg_map, the map of labels')
        check_following(steps)
    if loader is not None:
        refuse_with_masks(steps, loader)
        check_following(steps, masks=mask_kind(loader), label='gt_masks')


def refuse_with_masks(steps: Any, loader: Any) -> None:
    """Refuse the transforms that leave the masks of instances behind.

    Args:
        steps: built transforms.
        loader: the loader of masks.

    Raises:
        ValueError: there is one; the text names it and a replacement.
    """
    for step in leaves(steps):
        _refuse(step, REFUSED_WITH_MASKS, 'gt_masks')
        name = next((kind.__name__ for kind in type(step).__mro__
                     if kind.__name__ in _BITMAPS_ONLY), None)
        if name and not getattr(loader, 'poly2mask', False):
            raise ValueError(f'{name} needs the pixels of masks, which '
                             f'{type(loader).__name__} does not make: load annotations with '
                             f'{_WITH_PIXELS}')
        size = getattr(step, 'img_scale', None)
        if type(step).__name__ == 'CachedMosaic' and size is not None and len(set(size)) > 1:
            raise ValueError(f'CachedMosaic(img_scale={tuple(size)}) exchanges height and width '
                             f'of gt_masks: use a square, img_scale={(max(size), ) * 2}')


def leaves(item: Any) -> Iterator[BaseTransform]:
    """Iterate over all transforms in a pipeline, also over the containers themselves."""
    if isinstance(item, (list, tuple)):
        for part in item:
            yield from leaves(part)
    elif isinstance(item, dict):
        yield from leaves(list(item.values()))
    elif isinstance(item, _CONTAINERS):
        if isinstance(item, BaseTransform):
            yield item
        yield from leaves([value for value in vars(item).values()
                           if isinstance(value, (list, tuple, dict, *_CONTAINERS))])


def mask_loader(steps: Any) -> Any:
    """Return the transform of a pipeline that loads masks of instances, None without one."""
    return next((step for step in leaves(steps)
                 if isinstance(step, LoadAnnotations) and step.with_mask), None)


def probe_channels(steps: Any) -> int:
    """Return the number of channels that a pipeline loads, 3 where it is unknown."""
    loader = next((step for step in leaves(steps) if isinstance(step, LoadChannels)), None)
    if loader is None:
        return 3
    return loader.num_channels or (len(loader.channels) if loader.channels else 3)


def _refuse(step: BaseTransform, names: Mapping[str, str], what: str) -> None:
    for kind in type(step).__mro__:
        if kind.__name__ in names.values():
            return  # CachedMosaic is a Mosaic
        if kind.__name__ in names and not kind.__module__.startswith('mmpanseg.'):
            raise ValueError(
                f'{kind.__name__} moves the pixels of the image but not those of {what}: remove '
                f'it from the pipeline; instead use {names[kind.__name__]}')


def loads_index_map(transform: object) -> bool:
    """Return whether a transform, or one nested in it, loads an index map."""
    if isinstance(transform, (list, tuple)):
        return any(map(loads_index_map, transform))
    if isinstance(transform, dict):
        return any(map(loads_index_map, transform.values()))
    return isinstance(transform, (LoadPanopticMap, LoadSemanticMap)) or (
        isinstance(transform, _CONTAINERS) and loads_index_map(vars(transform)))


def adapt_transforms(transform: Any) -> Any:
    """Adapt transforms of other packages to index maps: borders that they fill become void.

    Nested transforms (in ``RandomApply``, ``RandomChoice``, ``Compose``, ...) are adapted too, in
    place. ``seg_ignore_label`` and the ``seg`` value of a ``pad_val`` become -1. Albumentations
    receive the map as their ``mask``.

    Args:
        transform: built transform, or a list, tuple or dict of transforms. Other objects are
            returned unchanged.

    Returns:
        the same transform; a new object only for albumentations and the containers around them.

    Raises:
        ValueError: a transform cannot be applied to the map; the text names it and a replacement.
    """
    if type(transform) in (list, tuple):
        items = [adapt_transforms(item) for item in transform]
        changed = any(new is not old for new, old in zip(items, transform))
        return type(transform)(items) if changed else transform
    if type(transform) is dict:
        entries = {key: adapt_transforms(item) for key, item in transform.items()}
        changed = any(entries[key] is not transform[key] for key in entries)
        return entries if changed else transform
    if not isinstance(transform, _CONTAINERS):
        return transform
    if isinstance(transform, Albu):
        return AlbuOnMap(transform)
    _refuse(transform, REFUSED, 'gt_seg_map, the map of segments')
    _fill_with_void(transform)
    for name, value in list(vars(transform).items()):
        adapted = adapt_transforms(value)
        if adapted is not value:
            setattr(transform, name, adapted)
    return transform


def _fill_with_void(transform: BaseTransform) -> None:
    """Set the fill values that a transform uses for maps to void, in place."""
    for name in ('seg_ignore_label', 'seg_pad_val'):
        if hasattr(transform, name):
            setattr(transform, name, VOID)
    if isinstance(getattr(transform, 'pad_val', None), dict):
        transform.pad_val = dict(transform.pad_val, seg=VOID)
    # CenterCrop builds its Pad when it is called
    config = getattr(transform, 'pad_cfg', None)
    if isinstance(config, dict):
        value = config.get('pad_val', 0)
        transform.pad_cfg = dict(config, pad_val=dict(
            value if isinstance(value, dict) else dict(img=value), seg=VOID))


class AlbuOnMap(BaseTransform):
    """mmdet's ``Albu``, which ignores the map, with the map as the ``mask`` of albumentations.

    In this mask 0 is void, the default fill value of albumentations.

    Args:
        albu: the built transform.
    """

    def __init__(self, albu: Albu) -> None:
        self.albu = albu
        if 'gt_seg_map' not in albu.keymap_to_albu:
            albu.keymap_to_albu = dict(albu.keymap_to_albu, gt_seg_map='mask')
            albu.keymap_back = {new: old for old, new in albu.keymap_to_albu.items()}

    def transform(self, results: dict) -> dict | None:
        index_map = results.get('gt_seg_map')
        if index_map is None:
            return self.albu(results)
        count = len(results['gt_segment_labels'])
        # albumentations do not support masks of 32 bits
        kind = np.uint8 if count < 255 else np.int16
        results['gt_seg_map'] = (index_map + 1).astype(kind)
        results = self.albu(results)
        if results is not None:
            results['gt_seg_map'] = np.asarray(results['gt_seg_map']).astype(np.int32) - 1
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.albu})'
