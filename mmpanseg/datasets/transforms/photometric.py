"""Color augmentation."""
import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmpanseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SSDColorJitter(BaseTransform):
    """Change brightness, contrast, saturation and hue of an 8-bit BGR image at random.

    The color augmentation of SSD (Liu et al., ECCV 2016, section 2.2) in the form of Mask2Former's
    code for ADE20K, Cityscapes and Mapillary Vistas: each step with probability 1/2; brightness
    first; contrast before or after saturation and hue, with equal probability. After each step the
    image is clipped to 0 .. 255 and converted to 8 bits. (mmdet's ``PhotoMetricDistortion``
    computes in float without clipping and changes the hue half as much.)

    Args:
        brightness: largest value that is added or subtracted.
        contrast: range of the factor of all channels.
        saturation: range of the factor of the saturation.
        hue: largest rotation in OpenCV's units, of which 180 are the full circle.
    """

    def __init__(self,
                 brightness: int = 32,
                 contrast: tuple[float, float] = (0.5, 1.5),
                 saturation: tuple[float, float] = (0.5, 1.5),
                 hue: int = 18) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue

    @cache_randomness
    def _draw(self) -> tuple[bool, list]:
        """Sample whether contrast is first, and the strength of each step, None for no change."""
        strengths = [np.random.uniform(-self.brightness, self.brightness),
                     np.random.uniform(*self.contrast),
                     np.random.uniform(*self.saturation),
                     int(np.random.randint(-self.hue, self.hue + 1))]
        contrast_first, *chosen = np.random.randint(2, size=5).astype(bool)
        return contrast_first, [s if on else None for s, on in zip(strengths, chosen)]

    def transform(self, results: dict) -> dict:
        image = results['img']
        if image.dtype != np.uint8:
            raise ValueError(f'SSDColorJitter needs an 8-bit image, got {image.dtype}; leave '
                             'to_float32 of LoadImageFromFile off')
        if image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f'SSDColorJitter needs 3 colors, got an image of shape '
                             f'{list(image.shape)}: use mmpanseg.ChannelJitter')
        contrast_first, (brightness, contrast, saturation, hue) = self._draw()
        if brightness is not None:
            image = _linear(image, 1, brightness)
        if contrast is not None and contrast_first:
            image = _linear(image, contrast)
        if saturation is not None or hue is not None:
            hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
            if saturation is not None:
                hsv[..., 1] = _linear(hsv[..., 1], saturation)
            if hue is not None:
                hsv[..., 0] = (hsv[..., 0].astype(np.int16) + hue) % 180
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        if contrast is not None and not contrast_first:
            image = _linear(image, contrast)
        results['img'] = image
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast}, '
                f'saturation={self.saturation}, hue={self.hue})')


def _linear(values: np.ndarray, factor: float, offset: float = 0) -> np.ndarray:
    """Compute factor * values + offset, clipped and truncated to uint8."""
    table = np.arange(256, dtype=np.float32) * factor + offset
    return cv2.LUT(values, table.clip(0, 255).astype(np.uint8))
