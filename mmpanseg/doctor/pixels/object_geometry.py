"""Areas, boxes and crossings of the polygons of an object. n: number of points of a polygon."""
from collections.abc import Sequence
from typing import Any

import numpy as np

# A box may be off by this many pixels at each side: COCO's crowds count from pixel to pixel, other
# boxes from edge to edge, and polygons are rounded to pixels.
BOX_TOLERANCE = 1.
# Areas of COCO's objects are those of polygons, without rounding to pixels.
_AREA_TOLERANCE = 0.02
# share of a polygon that may be counted twice or not at all
_CROSSED_SHARE = 0.1
# number of edges that are compared with all others together
_CHUNK = 256


def is_wrong(key: str, value: Any, exact: Any, segmentation: list | dict) -> bool:
    """Return whether ``area`` or ``bbox`` of an object disagrees with its mask.

    The area of polygons is that of their pixels or of their corners, or between the two; the area
    of run lengths is exact. A box fits pixels or corners, with a tolerance of one pixel.

    Args:
        key: 'area' or 'bbox'.
        value: its value.
        exact: number of pixels, or [x, y, width, height] of the pixels.
        segmentation: polygons, each [x1, y1, x2, y2, ...] with three points or more, or run
            lengths.
    """
    polygons = [] if isinstance(segmentation, dict) else [
        np.asarray(part, float).reshape(-1, 2) for part in segmentation]
    if key == 'area':
        if not is_number(value):
            return True
        areas = [float(exact), *([sum(map(polygon_area, polygons))] if polygons else ())]
        slack = 0.5 if not polygons else max(1., _AREA_TOLERANCE * max(areas))
        return not min(areas) - slack <= value <= max(areas) + slack
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_number, value)):
        return True
    boxes = [exact]
    if polygons:
        corners = np.concatenate(polygons)
        boxes.append([*corners.min(0), *(corners.max(0) - corners.min(0))])
    return not any(_near(value, box) for box in boxes)


def is_number(value: Any) -> bool:
    """Return whether a value of a JSON is a number; true and false are none."""
    return type(value) in (int, float)


def polygon_area(corners: np.ndarray) -> float:
    """Area of a polygon [n, 2] by the shoelace formula; parts of opposite direction cancel."""
    x, y = (corners - corners[0]).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def crosses_itself(corners: np.ndarray, pixels: int) -> bool:
    """Return whether a polygon crosses itself, and its area is noticeably other than its pixels.

    Loops of opposite direction cancel in the shoelace formula, and a loop inside of another one is
    not drawn. Small loops, as in many polygons of COCO, do not count.

    Args:
        corners: [n, 2], inside the image.
        pixels: number of pixels inside.
    """
    area = polygon_area(corners)
    ends = np.roll(corners, -1, 0)
    perimeter = float(np.hypot(*(ends - corners).T).sum())
    # drawing moves every edge by at most half a pixel
    if abs(area - pixels) <= max(_CROSSED_SHARE * max(area, pixels), perimeter / 2 + 2):
        return False
    # edges there and back join two outlines; as they have no width, they may cross others
    edges = {(*start, *end) for start, end in zip(corners.tolist(), ends.tolist())}
    single = [(edge[2:] + edge[:2]) not in edges
              for edge in map(tuple, np.hstack([corners, ends]).tolist())]
    starts, ends = corners[single], ends[single]
    return any(_crossed(starts[k:k + _CHUNK], ends[k:k + _CHUNK], starts, ends)
               for k in range(0, len(starts), _CHUNK))


def _crossed(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    """Return whether an edge a-b [m, 2] and an edge c-d [n, 2] cross between their ends."""
    a, b, c, d = a[:, None], b[:, None], c[None], d[None]
    return bool(((_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0))
                .any())


def _side(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Side of a line on which points are: -1, 0, 1."""
    (x, y), (u, v) = (np.moveaxis(other - start, -1, 0) for other in (end, point))
    value = x * v - y * u
    return np.where(np.abs(value) < 1e-6, 0, np.sign(value))


def _near(box: Sequence[float], other: Sequence[float]) -> bool:
    edges, expected = (np.array([x, y, x + w, y + h], float) for x, y, w, h in (box, other))
    return bool((np.abs(edges - expected) <= BOX_TOLERANCE + 1e-6).all())
