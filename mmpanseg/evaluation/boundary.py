"""Boundaries of segments (Cheng et al., "Boundary IoU", CVPR 2021, section 4).

The boundary of a mask contains its pixels within a distance d of its contour: the mask minus its
erosion by a square of side 2 d + 1. The area outside of the image is outside of the mask. Shapes:
H, W image size.
"""
import math

import cv2
import numpy as np

# Share of the image diagonal in published results.
PUBLISHED_WIDTH = 0.02


def check_boundary_width(width: float) -> None:
    """Check that the boundary width is a share of the image diagonal.

    Args:
        width: share of the image diagonal.

    Raises:
        ValueError: it is not between 0 and 1.
    """
    if not 0 < width < 1:
        raise ValueError(f'boundary_width={width} must be between 0 and 1: it is a share of the '
                         f'image diagonal, {PUBLISHED_WIDTH} in published results')


def boundary_distance(shape: tuple[int, int], width: float) -> int:
    """Convert a boundary width to pixels.

    Args:
        shape: (H, W) of the image.
        width: share of the image diagonal, in 0 .. 1.

    Returns:
        the distance d, at least 1.
    """
    return max(1, round(width * math.hypot(*shape)))


def mask_boundary(mask: np.ndarray, distance: int) -> np.ndarray:
    """Compute the boundary of one mask.

    The erosion is a threshold on the chessboard distance to the nearest pixel outside, whose cost
    does not depend on ``distance``. It is computed inside the bounding box only.

    Args:
        mask: bool [H, W].
        distance: d in pixels.

    Returns:
        bool [H, W].
    """
    boundary = np.zeros(mask.shape, bool)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return boundary
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    padded = np.pad(mask[box].astype(np.uint8), 1)
    to_outside = cv2.distanceTransform(padded, cv2.DIST_C, cv2.DIST_MASK_3)[1:-1, 1:-1]
    boundary[box] = mask[box] & (to_outside <= distance)
    return boundary


def map_boundary(segment_map: np.ndarray, distance: int) -> np.ndarray:
    """Compute the boundaries of all segments of a map, including void.

    The nearest pixel of another segment is one pixel further away than the nearest pixel that
    touches another segment. One distance transform is therefore sufficient for all segments.

    Args:
        segment_map: integer [H, W].
        distance: d in pixels.

    Returns:
        bool [H, W].
    """
    touches = np.zeros(segment_map.shape, bool)
    touches[0] = touches[-1] = touches[:, 0] = touches[:, -1] = True
    here, before, after = slice(None), slice(None, -1), slice(1, None)
    for first, second in (((before, here), (after, here)), ((here, before), (here, after)),
                          ((before, before), (after, after)), ((before, after), (after, before))):
        differ = segment_map[first] != segment_map[second]
        touches[first] |= differ
        touches[second] |= differ
    to_touching = cv2.distanceTransform((~touches).view(np.uint8), cv2.DIST_C, cv2.DIST_MASK_3)
    return to_touching < distance
