"""Overlaps and merged segments of tiles against plain definitions."""
import random

from scipy.cluster.hierarchy import DisjointSet

from mmpanseg.models.inference.overlap_pairs import (
    OverlapFinder,
    match_greedily,
    sorted_subsets,
)
from mmpanseg.models.inference.tile_grid import tile_grid


def test_every_overlap_is_found_once():
    tiles = tile_grid((50, 70), (20, 20), 12)
    finder = OverlapFinder()
    for number, tile in enumerate(tiles):
        expected = [(earlier, *tiles[earlier].overlap(tile)) for earlier in range(number)
                    if tiles[earlier].overlap(tile) is not None]
        assert finder.add(tile, number) == expected


def test_pairs_in_decreasing_order_of_iou():
    pairs = [(0.5, 0, 0), (0.9, 1, 0), (0.6, 1, 1), (0.4, 0, 1), (0.7, 2, 2), (0.3, 3, 3)]
    assert match_greedily(pairs, 0.4) == [(1, 0), (2, 2), (0, 1)]
    assert match_greedily(pairs, 0.95) == [] == match_greedily([], 0.1)


def test_subsets_are_those_of_a_flood_fill():
    generator = random.Random(0)
    edges = [(generator.randrange(60), generator.randrange(60)) for _ in range(35)]
    sets = DisjointSet(range(60))
    for a, b in edges:
        sets.merge(a, b)
    expected, visited = [], set()
    for number in range(60):
        if number in visited:
            continue
        reached, frontier = {number}, [number]
        while frontier:
            current = frontier.pop()
            near = {b for a, b in edges if a == current} | {a for a, b in edges if b == current}
            frontier += near - reached
            reached |= near
        visited |= reached
        expected.append(sorted(reached))
    assert sorted_subsets(sets) == expected
    assert sorted_subsets(DisjointSet()) == []
