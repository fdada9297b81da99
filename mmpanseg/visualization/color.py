"""Class colors and instance shades in OKLCh, a perceptually uniform color space.

Colors are RGB, 0-255. The OKLab matrices are those of B. Ottosson, "A perceptual color space for
image processing" (2020); lightness is in 0..1, chroma in 0..0.4, hue in turns.
"""
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

Color = tuple[int, int, int]

GOLDEN = (5 ** 0.5 - 1) / 2

_RGB_TO_LMS = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                        [0.2119034982, 0.6806995451, 0.1073969566],
                        [0.0883024619, 0.2817188376, 0.6299787005]])
_LMS_TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                        [1.9779984951, -2.4285922050, 0.4505937099],
                        [0.0259040371, 0.7827717662, -0.8086757660]])
_LAB_TO_LMS = np.linalg.inv(_LMS_TO_LAB)
_LMS_TO_RGB = np.linalg.inv(_RGB_TO_LMS)


def rgb_to_oklch(color: Sequence[int]) -> tuple[float, float, float]:
    """Convert an sRGB color, 0-255, to lightness, chroma and hue (turns)."""
    srgb = np.asarray(color, dtype=np.float64) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    lightness, a, b = _LMS_TO_LAB @ np.cbrt(_RGB_TO_LMS @ linear)
    return float(lightness), float(np.hypot(a, b)), float(np.arctan2(b, a) / (2 * np.pi)) % 1


def oklch_to_rgb(lightness: float, chroma: float, hue: float) -> Color:
    """Convert to an sRGB color; chroma is reduced until the color is inside the sRGB gamut.

    Args:
        lightness: 0..1.
        chroma: 0..0.4.
        hue: in turns.
    """
    direction = np.array([np.cos(2 * np.pi * hue), np.sin(2 * np.pi * hue)])
    for shrink in np.linspace(1, 0, 21):
        lab = np.array([lightness, *(chroma * shrink * direction)])
        linear = _LMS_TO_RGB @ (_LAB_TO_LMS @ lab) ** 3
        if -1e-4 <= linear.min() and linear.max() <= 1 + 1e-4:
            break
    linear = linear.clip(0, 1)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    r, g, b = (int(round(255 * float(v))) for v in srgb)
    return r, g, b


@lru_cache
def _candidates() -> tuple[list[Color], np.ndarray]:
    """Colors of medium lightness, and their OKLab coordinates [N, 3]."""
    colors = sorted({oklch_to_rgb(lightness, chroma, hue / 36)
                     for lightness in (0.50, 0.60, 0.70, 0.80, 0.88)
                     for chroma in (0.05, 0.10, 0.15) for hue in range(36)})
    places = [(lightness, chroma * np.cos(2 * np.pi * hue), chroma * np.sin(2 * np.pi * hue))
              for lightness, chroma, hue in map(rgb_to_oklch, colors)]
    return colors, np.array(places)


def generate_palette(num_classes: int) -> list[Color]:
    """Generate distinct colors for classes without a palette; the same on every call.

    Each color is the candidate with the largest distance from the colors before it, so few classes
    get very different colors, and the first colors do not depend on the number of classes.

    Args:
        num_classes: number of colors.
    """
    colors, places = _candidates()
    # overlays are transparent, and the picture below changes their lightness more than their hue
    places = places * (0.7, 1, 1)
    chosen = [int(np.linalg.norm(places - (0.45, 0.05, -0.13), axis=1).argmin())]
    gap = np.full(len(places), np.inf)
    while len(chosen) < num_classes:
        gap = np.minimum(gap, np.linalg.norm(places - places[chosen[-1]], axis=1))
        chosen.append(int(gap.argmax()))
    return [colors[k] for k in chosen[:num_classes]]


def _halving(index: int) -> float:
    """Divide 0..1 evenly, however many there are: 0, 1/2, 1/4, 3/4, 1/8, 5/8, ..."""
    place, part = 0.0, 0.5
    while index:
        place += part * (index & 1)
        index, part = index >> 1, part / 2
    return place


def instance_shade(color: Sequence[int], index: int, keep_hue: bool = False) -> Color:
    """Color of an instance: the class color for the first one, similar colors for the next ones.

    Hue and lightness differ by at most 20 degrees and 0.15, so the class remains recognizable. With
    ``keep_hue`` lightness, which everybody sees, differs by up to 0.5 and hue not at all. Any two
    of the first four instances then differ by an eighth or more in lightness, whatever the color.

    Args:
        color: RGB color of the class.
        index: number of the instance in its class, from 0.
        keep_hue: vary the lightness only.
    """
    if index == 0:
        return int(color[0]), int(color[1]), int(color[2])
    lightness, chroma, hue = rgb_to_oklch(color)
    if keep_hue:
        # a range around the class color, moved to where colors are visible: limits applied to each
        # lightness would make instances of dark and of light classes equal
        span = 0.5
        low = min(max(lightness - span / 2, 0.30), 0.95 - span)
        start = min(max((lightness - low) / span, 0), 1)
        return oklch_to_rgb(low + span * ((start + _halving(index)) % 1), chroma, hue)
    step = (index * GOLDEN) % 1
    lightness += 0.30 * (step - 0.5)
    hue += 0.11 * ((index * GOLDEN * GOLDEN + 0.5) % 1 - 0.5)
    return oklch_to_rgb(min(max(lightness, 0.38), 0.92), chroma, hue)
