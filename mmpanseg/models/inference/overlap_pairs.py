"""Tiles that overlap, and pairs of segments of two tiles that are parts of one segment."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from mmpanseg.models.inference.tile_grid import Area, Tile

if TYPE_CHECKING:
    from scipy.cluster.hierarchy import DisjointSet

Content = TypeVar('Content')


class OverlapFinder(Generic[Content]):
    """Finds the earlier tiles that a tile overlaps.

    Tiles are added row by row, so a tile is dropped as soon as a later one starts below it.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Tile, Content]] = []

    def add(self, tile: Tile, content: Content) -> list[tuple[Content, Area, Area]]:
        """Add a tile.

        Args:
            tile: not above any tile added before.
            content: predictions for the tile, kept for later overlaps.

        Returns:
            for each earlier tile that overlaps: its content, the overlap relative to its corner,
            and the overlap relative to the corner of ``tile``.
        """
        self._kept = [(other, kept) for other, kept in self._kept
                      if other.rows.stop > tile.rows.start]
        found = []
        for other, kept in self._kept:
            areas = other.overlap(tile)
            if areas is not None:
                found.append((kept, *areas))
        self._kept.append((tile, content))
        return found


def match_greedily(pairs: Sequence[tuple[float, int, int]],
                   min_iou: float) -> list[tuple[int, int]]:
    """Select one-to-one pairs in decreasing order of IoU.

    Args:
        pairs: (IoU, a, b) of segments a of one tile and b of another.
        min_iou: pairs with a lower IoU are not selected.

    Returns:
        the selected (a, b).
    """
    chosen: list[tuple[int, int]] = []
    taken_a, taken_b = set(), set()
    for iou, a, b in sorted(pairs, key=lambda pair: -pair[0]):
        if iou >= min_iou and a not in taken_a and b not in taken_b:
            chosen.append((a, b))
            taken_a.add(a)
            taken_b.add(b)
    return chosen


def sorted_subsets(sets: DisjointSet) -> list[list[int]]:
    """Subsets of a disjoint set of 0, 1, 2, ..., each ascending, in order of their smallest."""
    return sorted(sorted(subset) for subset in sets.subsets())
