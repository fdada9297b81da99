"""Areas, boxes and run lengths of all segments of a map of ids, without their masks; and back.

A map is read once as runs of equal ids, of which there are few: its cost does not depend on the
number of segments or on the size of the ids. Shapes: H, W image size, N segments, R runs.
"""
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle_tools


class MapSegments(NamedTuple):
    """Segments of a map.

    Attributes:
        ids: int64 [N], the values of the map in rising order.
        areas: int64 [N], numbers of pixels.
        boxes: int64 [N, 4], (x1, y1, x2, y2) in pixels, ``x2`` and ``y2`` one past the last pixel.
    """

    ids: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray


def find_segments(ids: np.ndarray) -> MapSegments:
    """Find the values of a map with their areas and boxes.

    Args:
        ids: integers [H, W].
    """
    height, width = ids.shape
    starts, stops = _runs(np.ascontiguousarray(ids))
    values, index = np.unique(ids.ravel()[starts], return_inverse=True)
    order = np.argsort(index, kind='stable')
    starts, stops = starts[order], stops[order]
    # runs of each value, side by side
    first = np.searchsorted(index[order], np.arange(len(values)))
    if not len(values):
        return MapSegments(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4), np.int64))
    rows = starts // width
    boxes = np.stack([np.minimum.reduceat(starts - rows * width, first),
                      np.minimum.reduceat(rows, first),
                      np.maximum.reduceat(stops - rows * width, first),
                      np.maximum.reduceat(rows, first) + 1], 1)
    return MapSegments(values.astype(np.int64), np.add.reduceat(stops - starts, first), boxes)


def index_segments(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the values of a map, as ``np.unique(ids, return_inverse=True)`` without sorting it.

    Args:
        ids: integers [H, W].

    Returns:
        the values in rising order [N]; and for each pixel the position of its value, [H, W] of the
        smallest unsigned type.
    """
    starts, stops = _runs(np.ascontiguousarray(ids))
    values, index = np.unique(ids.ravel()[starts], return_inverse=True)
    kind = np.min_scalar_type(max(0, len(values) - 1))
    return values, np.repeat(index.astype(kind), stops - starts).reshape(ids.shape)


def encode_segments(ids: np.ndarray) -> dict[int, dict]:
    """Encode the mask of each value of a map as COCO's compressed run lengths.

    Args:
        ids: integers [H, W].

    Returns:
        value -> dict(size, counts).
    """
    height, width = ids.shape
    # COCO's order is column by column; a run may continue in the next column
    turned = np.ascontiguousarray(ids.T)
    starts, stops = _runs(turned, across_lines=True)
    values, index = np.unique(turned.ravel()[starts], return_inverse=True)
    order = np.argsort(index, kind='stable')
    starts, stops = starts[order], stops[order]
    first = np.searchsorted(index[order], np.arange(len(values) + 1))
    encoded = {}
    for value, begin, end in zip(values.tolist(), first[:-1], first[1:]):
        # pixels before, in and after the runs, alternating
        borders = np.stack([starts[begin:end], stops[begin:end]], 1).ravel()
        counts = np.diff(borders, prepend=0, append=height * width).tolist()
        # no empty run at the end, as pycocotools encodes a mask
        encoded[value] = rle_tools.frPyObjects(dict(
            size=[height, width], counts=counts if counts[-1] else counts[:-1]), height, width)
    return encoded


def decode_segments(rles: Mapping[int, dict], size: tuple[int, int]) -> np.ndarray:
    """Create the map whose segments have these masks, the inverse of :func:`encode_segments`.

    Args:
        rles: value -> compressed run lengths.
        size: (H, W).

    Returns:
        int32 [H, W], 0 where no mask is.

    Raises:
        ValueError: run lengths are invalid (see :func:`read_counts`), or two masks overlap.
    """
    # start, length and value of each run
    runs = [np.zeros((3, 0), np.int64)]
    for number, rle in rles.items():
        counts = read_counts(rle['counts'], size)
        inside = counts[1::2]
        begin = np.cumsum(counts)[0::2][:len(inside)]
        runs.append(np.stack([begin, inside, np.full(len(inside), number)]))
    start, length, value = np.concatenate(runs, 1)
    order = np.argsort(start, kind='stable')
    start, length, value = start[order], length[order], value[order]
    gaps = np.append(start, size[0] * size[1]) - np.insert(start + length, 0, 0)
    if (gaps < 0).any():
        raise ValueError('two masks of a map overlap')
    # a gap, a run, a gap, ...
    pattern = np.zeros(2 * len(value) + 1, np.int32)
    repeats = np.zeros(len(pattern), np.int64)
    pattern[1::2], repeats[0::2], repeats[1::2] = value, gaps, length
    return np.ascontiguousarray(np.repeat(pattern, repeats).reshape(size[1], size[0]).T)


def read_counts(counts: str | bytes, size: tuple[int, int]) -> np.ndarray:
    """Decode the counts of COCO's compressed run lengths, which pycocotools does not check.

    Args:
        counts: numbers in groups of five bits, from the third on as differences to the last but
            one.
        size: (H, W) of the mask.

    Returns:
        int64 [R], pixels outside and inside of the mask, alternating.

    Raises:
        ValueError: they are not the run lengths of a mask of this size.
    """
    data = counts.encode('latin-1', 'replace') if isinstance(counts, str) else counts
    digits = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    is_last = digits & 32 == 0
    valid = (digits >= 0).all() and (digits < 64).all() and is_last[-1:].all()
    last = np.flatnonzero(is_last)
    first = np.insert(last[:-1] + 1, 0, 0) if len(last) else last
    place = np.arange(len(digits)) - np.repeat(first, np.diff(np.append(first, len(digits)))) if (
        valid) else digits
    if not valid or place.max(initial=0) > 6:
        raise ValueError('counts are no compressed run lengths')
    numbers = (np.add.reduceat((digits & 31) << 5 * place, first) if len(first)
               else np.zeros(0, np.int64))
    negative = digits[last] & 16 != 0
    numbers -= np.where(negative, np.int64(1) << 5 * (place[last] + 1), 0)
    numbers[1::2], numbers[2::2] = np.cumsum(numbers[1::2]), np.cumsum(numbers[2::2])
    total = int(numbers.sum())
    if (numbers < 0).any() or total != size[0] * size[1]:
        raise ValueError(f'run lengths have {total} pixels, a mask of {size[0]} x {size[1]} has '
                         f'{size[0] * size[1]}')
    return numbers


def _runs(lines: np.ndarray, across_lines: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Find the runs of equal values in an array [L, length], in flat order.

    Args:
        lines: C-contiguous.
        across_lines: whether a run may continue in the next line.

    Returns:
        first index and last index + 1 of each run, int64 [R] each.
    """
    flat = lines.ravel()
    if not flat.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    changed = np.empty(flat.shape, bool)
    changed[0] = True
    np.not_equal(flat[1:], flat[:-1], out=changed[1:])
    if not across_lines:
        changed.reshape(lines.shape)[:, 0] = True
    starts = np.flatnonzero(changed)
    return starts, np.append(starts[1:], flat.size)
