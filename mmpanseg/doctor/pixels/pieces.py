"""Things that consist of pieces far apart: probably several objects under one id. C pieces."""
from typing import NamedTuple

import cv2
import numpy as np
from scipy.sparse.csgraph import connected_components

# Parts of an occluded object are rarely farther apart than this many times their longer side.
# Of 929 objects of COCO, 0 are reported, of pairs of objects of one class and image every fourth.
_RATIO = 2.
# least distance, as a share of the longer side of the image
_DISTANCE = 0.1
# smaller pieces, as shares of the area, are specks; so much must lie apart from the largest part
_SPECK, _SHARE = 0.02, 0.2


class FarPieces(NamedTuple):
    """Parts of a segment that are far apart.

    Attributes:
        parts: number of parts.
        distance: smallest distance of the largest part to another one in pixels.
        share: share of the area outside of the largest part, 0 .. 1.
    """

    parts: int
    distance: float
    share: float


def far_parts(mask: np.ndarray, size: tuple[int, int]) -> FarPieces | None:
    """Find out whether the connected pieces of a mask are far apart; see :func:`far_pieces`.

    Args:
        mask: bool or uint8, cut to the box of the segment; pixels that share a corner are
            connected.
        size: (H, W) of the image.
    """
    height, width = mask.shape
    # parts that are far apart fill at most half of their box, and not across a small one
    if max(height, width) < _DISTANCE * max(size) or 2 * np.count_nonzero(mask) > mask.size:
        return None
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    # the first one is the background
    x, y, width, height, areas = stats[1:].T
    return far_pieces(areas, np.stack([x, y, x + width, y + height], 1), size)


def far_pieces(areas: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> FarPieces | None:
    """Find out whether pieces of a segment are far apart, compared with their sizes.

    Pieces whose boxes are closer than twice the longer side of one of them are joined, and joined
    parts again, so that fragments of one object behind others become one part.

    Args:
        areas: numbers of pixels [C].
        boxes: (x1, y1, x2, y2) in pixels [C, 4].
        size: (H, W) of the image.

    Returns:
        None if they are near.
    """
    kept = areas >= _SPECK * areas.sum()
    if kept.sum() < 2:
        return None
    areas, boxes = areas[kept].astype(float), boxes[kept].astype(float)
    while len(areas) > 1:
        gaps = _gaps(boxes)
        sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
        limit = np.maximum(_RATIO * np.maximum(sides[:, None], sides), _DISTANCE * max(size))
        count, part = connected_components(gaps < limit, directed=False)
        if count == len(areas):
            largest = int(areas.argmax())
            share = 1 - areas[largest] / areas.sum()
            if share < _SHARE:
                return None
            return FarPieces(count, float(np.delete(gaps[largest], largest).min()), float(share))
        areas = np.bincount(part, areas)
        boxes = np.stack([
            np.r_[boxes[part == k, :2].min(0), boxes[part == k, 2:].max(0)] for k in range(count)])
    return None


def _gaps(boxes: np.ndarray) -> np.ndarray:
    """Distances between boxes, [C, C]; 0 where they touch."""
    apart = np.maximum(boxes[:, None, :2] - boxes[None, :, 2:],
                       boxes[None, :, :2] - boxes[:, None, 2:])
    return np.hypot(*np.moveaxis(apart.clip(min=0), -1, 0))
