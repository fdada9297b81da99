"""Runs of equal values in the rows of a map: areas, boxes and blended seams of its segments.

A map is read once; every question is answered from its runs, of which there are few, without a
mask per segment. Shapes: H, W map size, R runs, N values.
"""
from functools import cached_property

import numpy as np

# longest run in pixels that can be the seam of an interpolated boundary
SEAM = 3


class MapRuns:
    """Runs of a map.

    Args:
        ids: integers [H, W], H and W at least 1.

    Attributes:
        ids: the map.
        size: (H, W).
        values: distinct values of the map in rising order, int64 [N].
        areas: number of pixels of each value, int64 [N].
        index: index of the value of each run, int64 [R].
    """

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids = np.ascontiguousarray(ids)
        self.size = (ids.shape[0], ids.shape[1])
        changed = np.empty(ids.shape, bool)
        changed[:, 0] = True
        np.not_equal(ids[:, 1:], ids[:, :-1], out=changed[:, 1:])
        starts = np.flatnonzero(changed)
        self.lengths = np.diff(starts, append=ids.size)
        self.row = starts // ids.shape[1]
        self.column = starts - self.row * ids.shape[1]
        self.run_values = ids.ravel()[starts].astype(np.int64)
        self.values, self.index = np.unique(self.run_values, return_inverse=True)
        self.areas = np.bincount(self.index, self.lengths).astype(np.int64)

    @cached_property
    def boxes(self) -> np.ndarray:
        """(x1, y1, x2, y2) of each value, one past the last pixel, int64 [N, 4]."""
        order = np.argsort(self.index, kind='stable')
        first = np.searchsorted(self.index[order], np.arange(len(self.values)))
        x, y = self.column[order], self.row[order]
        return np.stack([np.minimum.reduceat(x, first), np.minimum.reduceat(y, first),
                         np.maximum.reduceat(x + self.lengths[order], first),
                         np.maximum.reduceat(y, first) + 1], 1)

    @cached_property
    def blended(self) -> np.ndarray:
        """Whether a run looks interpolated, bool [R].

        Such a run has at most ``SEAM`` pixels, and each byte of its value is between those of the
        two runs beside it in its row.
        """
        blended = np.zeros(len(self.lengths), bool)
        if len(blended) < 3:
            return blended
        before, value, after = (self.run_values[k:len(blended) - 2 + k] for k in range(3))
        found = (self.lengths[1:-1] <= SEAM) & (before != after)
        found &= (self.row[:-2] == self.row[1:-1]) & (self.row[2:] == self.row[1:-1])
        for shift in (0, 8, 16):
            a, b, c = (v >> shift & 255 for v in (before, value, after))
            found &= (np.minimum(a, c) <= b) & (b <= np.maximum(a, c))
        blended[1:-1] = found
        return blended

    def blended_share(self) -> tuple[float, int]:
        """Measure how many boundaries between segments look interpolated.

        Returns:
            share of boundaries in 0 .. 1, and the number of boundaries.
        """
        blended = self.blended
        inner = self.column[1:] > 0
        sharp = int((inner & ~blended[1:] & ~blended[:-1]).sum())
        # the runs of a ramp are one boundary
        ramps = int((blended & ~np.append(False, blended[:-1])).sum())
        return ramps / max(sharp + ramps, 1), sharp + ramps
