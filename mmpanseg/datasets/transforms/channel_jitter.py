"""Brightness and contrast of images with any number of channels."""
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmpanseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ChannelJitter(BaseTransform):
    """Change contrast and brightness of each channel at random, for any number of channels.

    A channel x becomes m + contrast (x - m) + brightness s, where m and s are the mean and the
    standard deviation of the channel in this image. Integers are rounded and clipped to the range
    of their type. So the strength does not depend on the range of the values.

    Args:
        prob: probability of a change.
        contrast: range of the factor.
        brightness: largest shift, in standard deviations of the channel.
        per_channel: choose anew for each channel. False: all channels change alike, which keeps
            their ratios (indices of vegetation, hues).
    """

    def __init__(self, prob: float = 0.5, contrast: tuple[float, float] = (0.75, 1.25),
                 brightness: float = 0.5, per_channel: bool = False) -> None:
        if not 0 < contrast[0] <= contrast[1] or brightness < 0 or not 0 <= prob <= 1:
            raise ValueError(f'ChannelJitter: contrast={tuple(contrast)} must be positive and '
                             f'ascending, brightness={brightness} not negative, prob={prob} in '
                             '0..1')
        self.prob, self.contrast = prob, (float(contrast[0]), float(contrast[1]))
        self.brightness, self.per_channel = brightness, per_channel

    @cache_randomness
    def _draw(self, count: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Sample factors and shifts [C]; None for no change."""
        if np.random.rand() >= self.prob:
            return None
        number = count if self.per_channel else 1
        low, high = self.contrast
        return (np.random.uniform(low, high, number).astype(np.float32),
                np.random.uniform(-self.brightness, self.brightness, number).astype(np.float32))

    def transform(self, results: dict) -> dict:
        image = results['img']
        drawn = self._draw(image.shape[2] if image.ndim == 3 else 1)
        if drawn is None:
            return results
        factor, shift = drawn
        values = image.astype(np.float32)
        mean, std = values.mean((0, 1)), values.std((0, 1))
        values = mean + factor * (values - mean) + shift * std
        if image.dtype.kind in 'iu':
            limits = np.iinfo(image.dtype)
            values = values.round().clip(limits.min, limits.max)
        results['img'] = values.reshape(image.shape).astype(image.dtype)
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(prob={self.prob}, contrast={self.contrast}, '
                f'brightness={self.brightness}, per_channel={self.per_channel})')
