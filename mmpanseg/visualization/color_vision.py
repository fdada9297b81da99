"""How different colors look, also to people who see fewer of them.

Colors are RGB, 0-255. The simulations are the matrices of G. Machado, M. Oliveira and L. Fernandes,
"A physiologically-based model for simulation of color vision deficiency" (2009), for a missing type
of cones; the difference is CIEDE2000, as G. Sharma, W. Wu and E. Dalal, "The CIEDE2000
color-difference formula" (2005) give it. A difference of 1 is hardly seen, one of 10 at a glance.
"""
from collections.abc import Sequence

import numpy as np

from mmpanseg.visualization.color import Color

VISIONS: dict[str, np.ndarray] = {
    'normal': np.eye(3),
    'protanopia': np.array([[0.152286, 1.052583, -0.204868],
                            [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    'deuteranopia': np.array([[0.367322, 0.860646, -0.227968],
                              [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    'tritanopia': np.array([[1.255528, -0.076749, -0.178779],
                            [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]])}
_RGB_TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375],
                        [0.2126729, 0.7151522, 0.0721750],
                        [0.0193339, 0.1191920, 0.9503041]])
_WHITE = np.array([0.95047, 1.0, 1.08883])  # D65


def to_linear(colors: Sequence[Color] | np.ndarray) -> np.ndarray:
    """Convert sRGB colors [..., 3], 0-255, to linear light, 0..1."""
    srgb = np.asarray(colors, dtype=np.float64) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def simulate(colors: Sequence[Color] | np.ndarray, vision: str) -> np.ndarray:
    """Simulate how colors look to people without one type of cones.

    Args:
        colors: RGB [..., 3], 0-255, such as a picture.
        vision: one of :data:`VISIONS`.

    Returns:
        uint8 RGB [..., 3].
    """
    linear = (to_linear(colors) @ VISIONS[vision].T).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * srgb).round().astype(np.uint8)


def to_lab(colors: Sequence[Color] | np.ndarray, vision: str = 'normal') -> np.ndarray:
    """Convert colors as seen with a vision to CIELAB.

    Args:
        colors: RGB [..., 3], 0-255.
        vision: one of :data:`VISIONS`.

    Returns:
        L, a, b [..., 3]; L is in 0..100.
    """
    linear = (to_linear(colors) @ VISIONS[vision].T).clip(0, 1)
    share = linear @ _RGB_TO_XYZ.T / _WHITE
    root = np.where(share > (6 / 29) ** 3, np.cbrt(share), share * 841 / 108 + 4 / 29)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Compute the CIEDE2000 difference of colors in CIELAB.

    Args:
        one: L, a, b [..., 3].
        other: L, a, b [..., 3] that broadcast with it.

    Returns:
        differences [...], at least 0.
    """
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    mean7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    grow = 1.5 - 0.5 * np.sqrt(mean7 / (mean7 + 25.0 ** 7))
    c1, c2 = np.hypot(grow * a1, b1), np.hypot(grow * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, grow * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    gray = c1 * c2 == 0
    turn = (h2 - h1 + 180) % 360 - 180
    hue = np.where(gray, 0, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2))
    far = np.abs(h1 - h2) > 180
    middle = (h1 + h2) / 2 + np.where(far, np.where(h1 + h2 < 360, 180, -180), 0)
    middle = np.where(gray, h1 + h2, middle)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    wave = (1 - 0.17 * _cos(middle - 30) + 0.24 * _cos(2 * middle) + 0.32 * _cos(3 * middle + 6)
            - 0.20 * _cos(4 * middle - 63))
    scale_l = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    scale_c, scale_h = 1 + 0.045 * chroma, 1 + 0.015 * chroma * wave
    turned = np.radians(30 * np.exp(-((middle - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(chroma ** 7 / (chroma ** 7 + 25.0 ** 7)) * np.sin(2 * turned)
    dl, dc, dh = (l2 - l1) / scale_l, (c2 - c1) / scale_c, hue / scale_h
    return np.sqrt(np.maximum(dl ** 2 + dc ** 2 + dh ** 2 + rotation * dc * dh, 0))


def _cos(degrees: np.ndarray) -> np.ndarray:
    return np.cos(np.radians(degrees))


def least_difference(colors: Sequence[Color]) -> dict[str, float]:
    """Measure the two most similar colors of a palette with each vision.

    Args:
        colors: two or more RGB colors.

    Returns:
        vision -> CIEDE2000 difference.
    """
    first, second = np.triu_indices(len(colors), 1)
    return {vision: float(difference(lab[first], lab[second]).min())
            for vision, lab in ((name, to_lab(colors, name)) for name in VISIONS)}


def contrast(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> np.ndarray:
    """Compute the contrast ratio of two colors as WCAG 2 defines it.

    Args:
        one: RGB [..., 3], 0-255.
        other: RGB [..., 3], 0-255.

    Returns:
        ratios [...], 1 to 21.
    """
    light = [to_linear(np.asarray(color)) @ _RGB_TO_XYZ[1] + 0.05 for color in (one, other)]
    return np.maximum(*light) / np.minimum(*light)
