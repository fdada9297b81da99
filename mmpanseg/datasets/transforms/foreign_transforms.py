"""Transforms of other packages, applied to both the image and its index map, or refused.

Other packages treat ``gt_seg_map`` as a map of labels, where 255 is void. In an index map 255 is a
segment and -1 is void.
"""
from typing import Any

import mmengine.dataset
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import Albu

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
    'InstaBoost': 'mmpanseg.PanopticCopyPaste',
    'MinIoURandomCrop': 'RandomCrop',
    'MixUp': 'mmpanseg.PanopticCopyPaste',
    'Mosaic': 'mmpanseg.PanopticCopyPaste',
    'RandomAffine': 'Rotate, ShearX, ShearY, TranslateX and RandomResize',
    'RandomCenterCropPad': 'RandomCrop and Pad',
    'RandomMosaic': 'mmpanseg.PanopticCopyPaste',
    'RandomShift': 'TranslateX and TranslateY',
    'SegRescale': 'nothing: the losses sample the map at the size of the masks'}

_CONTAINERS = (BaseTransform, mmengine.dataset.Compose)


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
    for kind in type(transform).__mro__:
        if kind.__name__ in REFUSED and not kind.__module__.startswith('mmpanseg.'):
            raise ValueError(
                f'{kind.__name__} moves the pixels of the image but not those of gt_seg_map, the '
                'map of segments: remove it from the pipeline; instead use '
                f'{REFUSED[kind.__name__]}')
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
