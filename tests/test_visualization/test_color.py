"""Colors: published OKLab values, and what a palette must keep apart."""
import itertools

import numpy as np
import pytest

from mmpanseg.visualization.color import (
    generate_palette,
    instance_shade,
    oklch_to_rgb,
    rgb_to_oklch,
)


# L, a, b as given by CSS Color 4 for the sRGB primaries.
@pytest.mark.parametrize('color, lab', [((255, 255, 255), (1.0, 0.0, 0.0)),
                                        ((255, 0, 0), (0.62796, 0.22486, 0.12585)),
                                        ((0, 255, 0), (0.86644, -0.23389, 0.17950)),
                                        ((0, 0, 255), (0.45201, -0.03246, -0.31153))])
def test_oklch_of_primaries(color, lab):
    lightness, chroma, hue = rgb_to_oklch(color)
    found = (lightness, chroma * np.cos(2 * np.pi * hue), chroma * np.sin(2 * np.pi * hue))
    np.testing.assert_allclose(found, lab, atol=1e-4)


def test_oklch_round_trip():
    for color in itertools.product((0, 31, 128, 200, 255), repeat=3):
        np.testing.assert_allclose(oklch_to_rgb(*rgb_to_oklch(color)), color, atol=1)


def test_palette_is_distinct_and_stable():
    palette = generate_palette(24)
    assert palette[:10] == generate_palette(10)
    lab = [rgb_to_oklch(c) for c in palette]
    points = np.array([(light, c * np.cos(2 * np.pi * h), c * np.sin(2 * np.pi * h))
                       for light, c, h in lab])
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(24, 1)]
    # 0.02 is about what the eye just tells apart.
    assert gaps.min() > 0.04


@pytest.mark.parametrize('color', [(220, 20, 60), (64, 0, 128), (128, 128, 0)])
def test_instance_shades_keep_the_hue(color):
    shades = [instance_shade(color, index) for index in range(8)]
    assert shades[0] == color
    assert len(set(shades)) == 8
    hue = rgb_to_oklch(color)[2]
    for shade in shades:
        assert abs((rgb_to_oklch(shade)[2] - hue + 0.5) % 1 - 0.5) < 0.07
