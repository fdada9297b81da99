"""Transforms of mmcv and mmdet on images with other than three channels of 8 bits.

Transforms that move pixels see three channels at a time and repeat the same random choices.
Transforms that compute with colors are refused by name.
"""
import copy
import random
from collections.abc import Callable
from typing import Any

import mmcv.transforms
import mmengine.dataset
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import LoadMultiChannelImageFromFiles

from mmpanseg.datasets.transforms.loading_channels import LoadChannels

# They fail for more than 4 channels, or for gray images, or fill only some of the channels.
MOVE_PIXELS = {
    'CenterCrop', 'CutOut', 'Expand', 'FixShapeResize', 'MinIoURandomCrop', 'Pad', 'RandomAffine',
    'RandomErasing', 'RandomShift', 'Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY'}
# They compute with the three colors of 8 bits, or make pictures of three channels.
COLORS = {
    'AutoContrast', 'Brightness', 'CachedMixUp', 'CachedMosaic', 'Color', 'ColorTransform',
    'Contrast', 'Equalize', 'InstaBoost', 'Invert', 'MixUp', 'Mosaic', 'Normalize',
    'PhotoMetricDistortion', 'Posterize', 'RandomCenterCropPad', 'RandomGrayscale', 'RandomMosaic',
    'Sharpness', 'Solarize', 'SolarizeAdd', 'SSDColorJitter', 'YOLOXHSVRandomAug'}
INSTEAD = dict(
    Normalize='mean and std of mmpanseg.ChannelDataPreprocessor',
    CachedMixUp='mmpanseg.PanopticCopyPaste', CachedMosaic='mmpanseg.PanopticCopyPaste',
    MixUp='mmpanseg.PanopticCopyPaste', Mosaic='mmpanseg.PanopticCopyPaste',
    RandomMosaic='mmpanseg.PanopticCopyPaste', InstaBoost='mmpanseg.PanopticCopyPaste',
    RandomCenterCropPad='RandomCrop and Pad')
# entries that may have a value for each channel
_FILLS = ('pad_val', 'mean', 'img_border_value', 'fill_in', 'border_val')
_GROUP = 3
_CONTAINERS = (BaseTransform, mmengine.dataset.Compose)


def loads_channels(transform: object) -> bool:
    """Return whether a transform, or one nested in it, loads images that may not be 8-bit color."""
    if isinstance(transform, (list, tuple)):
        return any(map(loads_channels, transform))
    if isinstance(transform, (LoadChannels, LoadMultiChannelImageFromFiles)):
        return True
    if isinstance(transform, mmcv.transforms.LoadImageFromFile):
        return not transform.color_type.startswith('color')
    if hasattr(transform, 'from_file'):
        return loads_channels(transform.from_file)
    return isinstance(transform, _CONTAINERS) and any(
        loads_channels(value) for value in vars(transform).values()
        if isinstance(value, (list, tuple, *_CONTAINERS)))


def adapt_to_channels(transforms: Any, always: bool = False) -> Any:
    """Adapt the transforms of a pipeline to images with any number of channels.

    Args:
        transforms: built transforms in a list, tuple, dict, ``Compose`` or other container, which
            is changed in place.
        always: also where the pipeline loads 8-bit color images, as a further part of one.

    Returns:
        the same, or a new list, tuple or dict; unchanged where images are 8-bit color.
    """
    if not always and not loads_channels(transforms):
        return transforms
    return _adapted(transforms)


def _adapted(item: Any) -> Any:
    if type(item) in (list, tuple):
        return type(item)(map(_adapted, item))
    if type(item) is dict:
        return {key: _adapted(value) for key, value in item.items()}
    if not isinstance(item, _CONTAINERS) or isinstance(item, (ByChannelGroups, ColorsOnly)):
        return item
    names = [kind.__name__ for kind in type(item).__mro__]
    if not MOVE_PIXELS.isdisjoint(names):
        return ByChannelGroups(item)
    if name := next((name for name in names if name in COLORS), None):
        return ColorsOnly(item, name)
    for key, value in list(vars(item).items()):
        if isinstance(value, (list, tuple, dict, *_CONTAINERS)):
            setattr(item, key, _adapted(value))
    return item


class ByChannelGroups(BaseTransform):
    """A transform of mmcv or mmdet, called for three channels at a time with equal random choices.

    Each call receives a copy of the whole sample, so that all choose the same; only the image is
    taken from the later ones. A fill value may be a number, or have a value for each channel.

    Args:
        inner: the transform.

    Raises:
        ValueError: a fill value has another length than the image has channels.
    """

    def __init__(self, inner: BaseTransform) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        # get_indexes of transforms that mix samples
        if name == 'inner' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def transform(self, results: dict) -> dict | None:
        image = results.get('img')
        if image is None or image.ndim == 3 and image.shape[2] == _GROUP:
            return self.inner(results)
        planes = image.reshape(*image.shape[:2], -1)
        count = planes.shape[2]
        groups = [[min(k, count - 1) for k in range(start, start + _GROUP)]
                  for start in range(0, count, _GROUP)]
        others = [copy.deepcopy({key: value for key, value in results.items() if key != 'img'})
                  for _ in groups[1:]]
        states = _random_states()
        done = self._call(results, planes, groups[0], count)
        if done is None:
            return None
        after, parts = _random_states(), [done['img']]
        for other, group in zip(others, groups[1:]):
            _restore(states)
            again = self._call(other, planes, group, count)
            if again is None or again['img'].shape != parts[0].shape:
                raise ValueError(f'{type(self.inner).__name__} chooses differently for each group '
                                 'of channels: remove it from the pipeline')
            parts.append(again['img'])
        _restore(after)
        done['img'] = np.ascontiguousarray(np.concatenate(parts, axis=2)[..., :count])
        return done

    def _call(self, results: dict, planes: np.ndarray, group: list[int],
              count: int) -> dict | None:
        results['img'] = np.ascontiguousarray(planes[..., group])
        inner = self.inner
        for name in _FILLS:
            value = getattr(inner, name, None)
            chosen = self._chosen(value, group, count)
            if chosen is not value:
                inner = copy.copy(inner)
                setattr(inner, name, chosen)
        return inner(results)

    def _chosen(self, value: Any, group: list[int], count: int) -> Any:
        """Select the fill values of a group of channels."""
        if isinstance(value, dict) and 'img' in value:
            chosen = self._chosen(value['img'], group, count)
            return value if chosen is value['img'] else dict(value, img=chosen)
        if not isinstance(value, (list, tuple, np.ndarray)):
            return value
        if len(set(map(float, value))) == 1:
            return type(value)([value[0]] * _GROUP) if type(value) in (list, tuple) else value
        if len(value) != count:
            raise ValueError(
                f'{type(self.inner).__name__} has {len(value)} fill values '
                f'({", ".join(map(str, value))}) and the image {count} channels: give one for each '
                'channel, or a single number')
        chosen = [value[k] for k in group]
        return np.asarray(chosen) if isinstance(value, np.ndarray) else type(value)(chosen)

    def __repr__(self) -> str:
        return repr(self.inner)


class ColorsOnly(BaseTransform):
    """A transform that computes with colors, which refuses images that are no 8-bit colors.

    Args:
        inner: the transform.
        name: its name in error texts.

    Raises:
        ValueError: the image has another number of channels than 3, or more bits.
    """

    def __init__(self, inner: BaseTransform, name: str) -> None:
        self.inner, self.name = inner, name

    def __getattr__(self, name: str) -> Any:
        if name == 'inner' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def transform(self, results: dict) -> dict | None:
        image = results['img']
        count = image.shape[2] if image.ndim == 3 else 1
        # colors as float32 in 0 .. 255 come from to_float32
        if count != _GROUP or image.dtype not in (np.uint8, np.float32):
            raise ValueError(
                f'{results.get("img_path")} has {count} channels of {image.dtype}, and '
                f'{self.name} computes with 3 colors of 8 bits: remove it from the pipeline; '
                f'instead use {INSTEAD.get(self.name, "mmpanseg.ChannelJitter")}')
        return self.inner(results)

    def __repr__(self) -> str:
        return repr(self.inner)


def _random_states() -> tuple:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _restore(states: tuple) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def by_groups(function: Callable[[np.ndarray], np.ndarray], image: np.ndarray,
              size: int = 4) -> np.ndarray:
    """Call a function of OpenCV for at most 4 channels at a time, which many are limited to.

    Args:
        function: maps [H, W, c] to [h, w, c], or to [h, w] for one channel.
        image: [H, W, C].
        size: largest c.

    Returns:
        [h, w, C].
    """
    parts = [function(np.ascontiguousarray(image[..., start:start + size]))
             for start in range(0, image.shape[2], size)]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=2)
