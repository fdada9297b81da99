"""Images of any channels and bits as RGB pictures."""
from typing import NamedTuple

import cv2
import numpy as np

from mmpanseg.engine.command_line import UsageError

# values below and above these percentiles are drawn black and white
_PERCENTILES = (0.5, 99.5)
# pixels from which percentiles are computed
_SAMPLED = 1 << 20


class Tones(NamedTuple):
    """How values become colors.

    Attributes:
        channels: three channels, drawn red, green and blue.
        limits: (lowest, highest) value of each; None: values are 0 .. 255.
    """

    channels: tuple[int, int, int]
    limits: tuple[tuple[float, float], ...] | None = None


def choose_tones(image: np.ndarray, channels: tuple[int, ...] = (),
                 is_8_bit: bool = False) -> Tones:
    """Choose channels, and the range that is stretched to black and white.

    8-bit images of 1, 3 or 4 channels are drawn as they are. The channels of others are stretched,
    each for itself.

    Args:
        image: [H, W, C] or [H, W].
        channels: one or three channels to draw. By default 3 and 4 channels are blue, green, red
            (and alpha), as OpenCV loads them, and of more channels the first three are drawn red,
            green and blue.
        is_8_bit: values of another type than uint8 are in 0 .. 255 all the same.

    Raises:
        UsageError: the image has no such channel.
    """
    count = 1 if image.ndim == 2 else image.shape[2]
    wrong = [channel for channel in channels if not 0 <= channel < count]
    if wrong:
        has = 'channel, number 0' if count == 1 else f'channels, numbered 0 .. {count - 1}'
        raise UsageError(f'--channels {wrong[0]}: the images have {count} {has}')
    if channels:
        drawn = (channels[0], ) * 3 if len(channels) == 1 else channels[:3]
    elif count < 3:
        drawn = (0, ) * 3
    else:
        drawn = (2, 1, 0) if count <= 4 else (0, 1, 2)
    red, green, blue = drawn
    tones = Tones((red, green, blue))
    if (image.dtype == np.uint8 or is_8_bit) and count in (1, 3, 4):
        return tones
    return tones._replace(limits=stretch_limits(image, tones.channels))


def stretch_limits(image: np.ndarray,
                   channels: tuple[int, int, int]) -> tuple[tuple[float, float], ...]:
    """Compute the range of each drawn channel, without its outliers."""
    planes = image[..., None] if image.ndim == 2 else image
    step = max(1, int((planes.shape[0] * planes.shape[1] / _SAMPLED) ** 0.5))
    limits = []
    for channel in channels:
        values = planes[::step, ::step, channel].astype(np.float64)
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, _PERCENTILES) if values.size else (0.0, 1.0)
        limits.append((float(low), float(high)))
    return tuple(limits)


def to_rgb(image: np.ndarray, tones: Tones) -> np.ndarray:
    """Convert an image.

    Args:
        image: [H, W, C] or [H, W] of any type; values that are not finite are drawn black.
        tones: see :func:`choose_tones`.

    Returns:
        uint8 RGB [H, W, 3].
    """
    planes = image[..., None] if image.ndim == 2 else image
    picture = np.empty((*planes.shape[:2], 3), np.uint8)
    for place, channel in enumerate(tones.channels):
        plane = planes[..., min(channel, planes.shape[2] - 1)]
        if tones.limits is None and plane.dtype == np.uint8:
            picture[..., place] = plane
            continue
        low, high = (0.0, 255.0) if tones.limits is None else tones.limits[place]
        values = np.nan_to_num(plane.astype(np.float32), nan=low, posinf=high, neginf=low)
        values = (values - low) * (255 / max(high - low, 1e-12))
        picture[..., place] = values.round().clip(0, 255)
    return picture


def shrink(picture: np.ndarray, max_side: int) -> np.ndarray:
    """Resize a picture whose longer side exceeds a number of pixels.

    Args:
        picture: uint8 RGB [H, W, 3].
        max_side: in pixels.
    """
    factor = max_side / max(picture.shape[:2])
    if factor >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
