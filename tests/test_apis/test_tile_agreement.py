"""Agreement of tiled and whole results on hand-made maps."""
import numpy as np
import pytest

from mmpanseg.analysis.tile_agreement import compare_tiled
from mmpanseg.models.inference.tile_grid import tile_grid

# 4 x 12 pixels in two tiles, decided left and right of column 6; 3 classes, 0 is a thing
TILES = tile_grid((4, 12), (4, 8), 4)


def whole_map():
    values = np.full((4, 12), 1)
    values[3] = 3  # void
    values[:2, 2:10] = 1000  # crosses
    values[:2, 11] = 2000  # does not
    return values


def test_equal_up_to_numbers():
    tiled = whole_map()
    tiled[tiled == 1000] = 7000
    assert compare_tiled(whole_map(), tiled, TILES) == (1.0, 1.0, 1, 1)


def test_cut_at_the_border():
    tiled = whole_map()
    tiled[:2, 6:10] = 3000
    # each half covers half of the thing, so neither is matched
    assert compare_tiled(whole_map(), tiled, TILES) == (32 / 48, 1.0, 1, 0)


def test_a_smaller_part_cut_off_is_seen():
    tiled = whole_map()
    tiled[:2, 7:10] = 3000
    found = compare_tiled(whole_map(), tiled, TILES)
    assert found.pixels == pytest.approx(42 / 48)
    assert (found.crossing, found.kept_whole) == (1, 0)


def test_shown_as_something_else():
    tiled = whole_map()
    tiled[:2, 2:10] = 1
    found = compare_tiled(whole_map(), tiled, TILES)
    assert found.pixels == found.labels == pytest.approx(32 / 48)
    assert (found.crossing, found.kept_whole) == (1, 0)


def test_a_few_pixels_beyond_the_border_do_not_count():
    whole = np.full((4, 12), 1)
    whole[:, :6] = 1000
    whole[0, 6] = 1000  # 1 of 25 pixels
    assert compare_tiled(whole, whole, TILES).crossing == 1
    wide = tile_grid((20, 12), (20, 8), 4)
    whole = np.full((20, 12), 1)
    whole[:, :6] = 1000
    whole[0, 6] = 1000  # 1 of 121
    assert compare_tiled(whole, whole, wide) == (1.0, 1.0, 0, 0)
