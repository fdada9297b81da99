"""Tiles along an axis against their definition."""
import numpy as np
import pytest

from mmpanseg.models.inference.tile_grid import spans, tile_grid


@pytest.mark.parametrize('length, tile, overlap', [
    (100, 32, 8), (33, 32, 8), (32, 32, 8), (5, 32, 8), (6000, 1024, 128), (101, 10, 9)])
def test_tiles_along_an_axis(length, tile, overlap):
    found = spans(length, tile, overlap)
    assert {s.stop - s.start for s in found} == {min(tile, length)}
    assert found[0].start == 0 and found[-1].stop == length
    assert all(a.stop - b.start >= overlap for a, b in zip(found, found[1:]))
    # as few as possible
    assert len(found) == 1 or (len(found) - 1) * (tile - overlap) + overlap < length
    owner = [k for k, s in enumerate(found) for _ in range(s.core_start, s.core_stop)]
    assert len(owner) == length
    centers = np.array([(s.start + s.stop) / 2 for s in found])
    distance = np.abs(np.arange(length)[:, None] + 0.5 - centers)
    assert (distance[np.arange(length), owner] <= distance.min(1) + 0.5).all()


def test_overlap_of_two_tiles():
    tiles = tile_grid((30, 50), (20, 20), 6)
    for tile in tiles:
        for other in tiles:
            shared = np.zeros((30, 50), dtype=int)
            shared[tile.window] += 1
            shared[other.window] += 1
            areas = tile.overlap(other)
            assert (areas is None) == (shared.max() < 2)
            if areas is not None:
                np.testing.assert_array_equal(shared[tile.window][areas[0]], 2)
                np.testing.assert_array_equal(shared[other.window][areas[1]], 2)
                assert shared[tile.window][areas[0]].size == (shared == 2).sum()
