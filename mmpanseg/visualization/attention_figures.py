"""Pictures of attention maps, one row per segment."""
from functools import lru_cache

import cv2
import numpy as np

from mmpanseg.visualization.color import Color, oklch_to_rgb
from mmpanseg.visualization.panoptic import DrawnSegment, draw_panoptic, side_by_side


def draw_attention(image: np.ndarray, inside: np.ndarray, color: Color, heads: np.ndarray,
                   mask: np.ndarray, title: str, width: int = 240) -> np.ndarray:
    """Draw one row: the image with the segment, the map of each attention head, the mask.

    Args:
        image: uint8 RGB [H, W, 3].
        inside: bool [H, W], pixels of the segment.
        color: RGB color of the segment.
        heads: float [h, H', W'], any range; each map is normalized separately.
        mask: float [H', W'], drawn from 0 to 1.
        title: caption of the first picture.
        width: of each picture in pixels.

    Returns:
        uint8 RGB [H'', W'', 3].
    """
    size = (width, max(1, round(width * image.shape[0] / image.shape[1])))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    pan_map = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    panels = [(title, draw_panoptic(
        small, pan_map.astype(int), [DrawnSegment(1, 0, False)], palette=[color], min_side=1,
        with_labels=False))]
    panels += [(f'head {number}', heat_map(stretch(values), size))
               for number, values in enumerate(heads, 1)]
    panels.append(('mask', heat_map(mask, size)))
    return side_by_side(panels)


def heat_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Color values 0..1 from dark to light.

    Args:
        values: [H, W].
        size: (width, height) of the picture.

    Returns:
        uint8 RGB [height, width, 3].
    """
    values = cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return _ramp()[(255 * values.clip(0, 1)).round().astype(int)]


def stretch(values: np.ndarray) -> np.ndarray:
    """Scale values so that their 1st and 99th percentile become 0 and 1."""
    low, high = np.percentile(values, (1, 99))
    return (values - low) / max(high - low, 1e-12)


@lru_cache
def _ramp() -> np.ndarray:
    """256 colors, uint8 [256, 3], with lightness increasing in equal steps."""
    steps = np.linspace(0, 1, 18)
    stops = np.array([oklch_to_rgb(0.16 + 0.80 * t, 0.13, 0.80 - 0.50 * t) for t in steps])
    places = np.linspace(0, 1, 256)
    return np.stack([np.interp(places, steps, channel) for channel in stops.T], 1).astype(np.uint8)
