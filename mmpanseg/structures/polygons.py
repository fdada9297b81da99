"""Masks as polygons of pixel corners, and back, without loss.

Coordinates are (x, y) in pixels with 0 at the upper left corner of the image: pixel (column, row)
covers [column, column + 1] x [row, row + 1], so that corners of masks are integers and a polygon's
area is that of its mask. Shapes: H, W image size, n corners, R runs.

A run is a maximal straight line between two pixels of which one is in the mask. Traversed with the
mask on its right, runs form rings: clockwise around a part, counterclockwise around a hole.
"""
from collections.abc import Iterable, Iterator, Sequence

import numpy as np


def mask_to_polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Trace the outlines of a mask; :func:`polygons_to_mask` restores it exactly.

    COCO's polygons cannot have holes. A hole is therefore joined with the outline around it by a
    horizontal cut without width, which is part of the polygon in both directions: area and pixels
    are exact, in pycocotools too.

    Args:
        mask: bool or integers [H, W]; not 0 = inside.

    Returns:
        one polygon for each part, float64 [n, 2] with n >= 4, clockwise on the screen, without a
        repeated last point. Parts are 4-connected: pixels that share only a corner belong to two.
        No polygons for an empty mask.
    """
    mask = np.asarray(mask) != 0
    if mask.ndim != 2:
        raise ValueError(f'a mask must have the shape [H, W], got {list(mask.shape)}')
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    padded = np.pad(mask[top:rows[-1] + 1, left:columns[-1] + 1], 1)
    # the first pixel of the padded mask is outside
    return [polygon + (left - 1, top - 1) for polygon in _Outlines(padded).polygons()]


def polygons_to_mask(polygons: Iterable[np.ndarray | Sequence], size: tuple[int, int]
                     ) -> np.ndarray:
    """Fill polygons: the union of all, each by the even-odd rule at the centers of pixels.

    Args:
        polygons: corners [n, 2] or [2 n] as in COCO's files, integers or floats; they may exceed
            the image.
        size: (H, W).

    Returns:
        bool [H, W].

    Raises:
        ValueError: a polygon is not a list of (x, y), or a corner is not finite.
    """
    height, width = size
    mask = np.zeros((height, width), bool)
    for number, polygon in enumerate(polygons):
        corners = np.asarray(polygon, np.float64)
        if corners.ndim == 1 and len(corners) % 2 == 0:
            corners = corners.reshape(-1, 2)
        if corners.ndim != 2 or corners.shape[1:] != (2, ) or not np.isfinite(corners).all():
            raise ValueError(f'polygon {number} must be finite corners [n, 2] or [2 n], got '
                             f'the shape {list(corners.shape)}')
        if len(corners):
            _fill(mask, corners)
    return mask


def _fill(mask: np.ndarray, corners: np.ndarray) -> None:
    """Add one polygon [n, 2] to a mask, in place."""
    height, width = mask.shape
    # pixels whose centers are in the box of the polygon
    low, high = np.ceil(corners.min(0) - 0.5), np.ceil(corners.max(0) - 0.5)
    (x1, y1), (x2, y2) = (np.clip(corner, 0, (width, height)).astype(int) for corner in (low, high))
    if x1 >= x2 or y1 >= y2:
        return
    start, end = corners, np.roll(corners, -1, 0)
    # rows whose centers an edge crosses: first .. last - 1
    first, last = (np.clip(np.ceil(value - 0.5), y1, y2).astype(int)
                   for value in (np.minimum(start[:, 1], end[:, 1]),
                                 np.maximum(start[:, 1], end[:, 1])))
    count = last - first
    edge = np.repeat(np.arange(len(start)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    (ax, ay), (bx, by) = start[edge].T, end[edge].T
    # the parts of the edge before and after the crossing: exact where the edge is vertical
    part = (row + 0.5 - ay) / (by - ay)
    crossing = np.where(ax == bx, ax, ax + part * (bx - ax))
    column = np.clip(np.ceil(crossing - 0.5), x1, x2).astype(int)
    span = x2 - x1 + 1
    toggles = np.bincount((row - y1) * span + column - x1, minlength=(y2 - y1) * span)
    inside = np.cumsum(toggles.reshape(y2 - y1, span), 1) % 2 == 1
    mask[y1:y2, x1:x2] |= inside[:, :-1]


class _Outlines:
    """Runs and rings of a mask, bool [H, W], whose outer pixels are False.

    Horizontal run k goes from ``corners[k]`` to ``turns[k]``, where the vertical run
    ``vertical[k]`` begins, which ends at the first corner of the run ``following[k]``.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask
        # keys of corners: row x stride + column
        self.stride = stride = max(mask.shape) + 1
        line, starts, stops, right = _runs(mask[1:].view(np.int8) - mask[:-1].view(np.int8))
        line = line + 1
        begin, end = (line * stride + np.where(right, a, b)
                      for a, b in ((starts, stops), (stops, starts)))
        self.corners, self.turns = (np.stack([key % stride, key // stride], 1)
                                    for key in (begin, end))

        turned = np.ascontiguousarray(mask.T)
        column, tops, bottoms, up = _runs(turned[1:].view(np.int8) - turned[:-1].view(np.int8))
        column = column + 1
        # up: the mask is right of the run
        v_begin, v_end = (np.where(up, a, b) * stride + column
                          for a, b in ((bottoms, tops), (tops, bottoms)))
        # two runs begin at a corner where two pixels touch: there a ring turns right, around its
        # own pixel: right -> down, left -> up, down -> left, up -> right
        self.vertical = _next(end, right, v_begin, ~up)
        self.following = _next(v_end, up, begin, right)[self.vertical]
        # where the vertical runs with the mask on the right side are, to find them by place
        self._upward = np.flatnonzero(up)
        self._upward_place = column[up] * stride + tops[up]
        self._run_before = np.empty(len(begin), np.int64)
        self._run_before[self.vertical] = np.arange(len(begin))

    def polygons(self) -> list[np.ndarray]:
        """Outlines of all parts, from top to bottom, with their holes."""
        rings = list(self._rings())
        cuts: dict[int, list[tuple[int, np.ndarray, list[int]]]] = {}
        outer, holes = [], []
        for ring in rings:
            (x1, y1), (x2, y2) = self.corners[ring].T, self.turns[ring].T
            # twice the area; horizontal runs suffice
            area = int(((x1 - x2) * y1).sum())
            if area > 0:
                outer.append(ring)
                continue
            # the upper run that is farthest left ends at the hole's corner
            last = min(range(len(ring)), key=lambda k: (y2[k], x2[k]))
            holes.append(ring[last + 1:] + ring[:last + 1])
        for ring in holes:
            x, y = (int(value) for value in self.turns[ring[-1]])
            # to the left, along the line between two rows, as far as both are in the mask
            free = self.mask[y - 1, :x] & self.mask[y, :x]
            place = x - int(free[::-1].argmin())
            row = y if not self.mask[y, place - 1] else y - 1
            run = self._upward[np.searchsorted(
                self._upward_place, place * self.stride + row, 'right') - 1]
            cuts.setdefault(int(self._run_before[run]), []).append(
                (y, np.array([place, y]), ring))
        return [self._joined(ring, cuts) for ring in outer]

    def _rings(self) -> Iterator[list[int]]:
        """Numbers of the horizontal runs of each ring."""
        following = self.following.tolist()
        seen = bytearray(len(following))
        for first in range(len(following)):
            if seen[first]:
                continue
            ring, run = [], first
            while not seen[run]:
                seen[run] = 1
                ring.append(run)
                run = following[run]
            yield ring

    def _joined(self, ring: list[int], cuts: dict) -> np.ndarray:
        """Polygon of an outline and of the holes that are joined with it."""
        if not cuts:
            return np.stack([self.corners[ring], self.turns[ring]], 1).reshape(-1, 2).astype(float)
        points: list[np.ndarray] = []
        # what remains to be added, last first: runs or points
        rest: list[int | np.ndarray] = [*reversed(ring)]
        while rest:
            item = rest.pop()
            if isinstance(item, np.ndarray):
                points.append(item)
                continue
            points += [self.corners[item], self.turns[item]]
            # the run goes up: the lowest cut comes first, and lies last on the stack
            for _, place, hole in sorted(cuts.get(item, ()), key=lambda cut: cut[0]):
                rest += [place, *reversed(hole), self.turns[hole[-1]], place]
        found = np.array(points, float)
        return found[(found != np.roll(found, 1, 0)).any(1)]


def _runs(step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find runs of equal values other than 0 in each line.

    Args:
        step: int8 [L, length] of -1, 0, 1, with 0 at both ends of each line.

    Returns:
        line, first position, last position + 1, and whether the value is 1; [R] each, by line and
        position.
    """
    flat = step.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    inside = flat[changes] != 0
    starts = changes[inside]
    # each run ends at the next change
    stops = changes[1:][inside[:-1]]
    line = starts // step.shape[1]
    offset = line * step.shape[1]
    return line, starts - offset, stops - offset, flat[starts] > 0


def _next(end: np.ndarray, second: np.ndarray, begin: np.ndarray, is_second: np.ndarray
          ) -> np.ndarray:
    """Find the run that begins where each run ends.

    Args:
        end: keys of corners [R], where runs end.
        second: whether such a run continues, of two runs, with the second one, bool [R].
        begin: keys of corners [R], where runs of the other direction begin.
        is_second: which of these are the second ones, bool [R].

    Returns:
        indices [R] into ``begin``.
    """
    order = np.lexsort((is_second, begin))
    sorted_begin = begin[order]
    left = np.searchsorted(sorted_begin, end)
    right = np.searchsorted(sorted_begin, end, 'right')
    return order[np.where((right - left == 2) & second, left + 1, left)]
