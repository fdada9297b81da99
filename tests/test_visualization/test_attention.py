"""Pictures of attention maps."""
import numpy as np

from mmpanseg.visualization import draw_attention
from mmpanseg.visualization.attention_figures import heat_map
from mmpanseg.visualization.color import rgb_to_oklch


def test_colors_grow_lighter_in_equal_steps():
    colors = heat_map(np.linspace(0, 1, 21)[None], (21, 1))[0]
    lightness = np.array([rgb_to_oklch(color)[0] for color in colors])
    steps = np.diff(lightness)
    assert steps.min() > 0.02 and steps.max() < 0.06


def test_values_beyond_the_range_are_cut():
    colors = heat_map(np.array([[-3.0, 0.0, 1.0, 7.0]]), (4, 1))[0]
    assert (colors[0] == colors[1]).all() and (colors[2] == colors[3]).all()


def test_a_row_of_pictures():
    image = np.full((60, 80, 3), 120, np.uint8)
    inside = np.zeros((60, 80), bool)
    inside[:30] = True
    heads = np.stack([np.linspace(-9, 40, 48).reshape(6, 8), np.zeros((6, 8))])
    row = draw_attention(image, inside, (255, 0, 0), heads, heads[0] > 0, 'a segment', width=40)
    assert row.dtype == np.uint8
    # segment, two heads, mask, with gutters between
    gutter = (row.shape[1] - 4 * 40) // 3
    assert row.shape[1] == 4 * 40 + 3 * gutter and gutter > 0
    first, second = row[:30, :40], row[:30, 40 + gutter:80 + gutter]
    assert first[3, 20, 0] > first[27, 20, 0] + 20  # tinted red above
    assert second[0, 0].sum() < second[-1, -1].sum()  # stretched over the colors
