"""The eight EXIF orientations, which map the stored pixels of a file to the upright image.

Shapes: H, W image size, N boxes.
"""
from collections.abc import Mapping

import numpy as np

# orientation -> (transpose, then reverse the rows, then reverse the columns)
_STEPS = {1: (False, False, False), 2: (False, False, True), 3: (False, True, True),
          4: (False, True, False), 5: (True, False, False), 6: (True, False, True),
          7: (True, True, True), 8: (True, True, False)}
ORIENTATIONS = tuple(_STEPS)


def inverse_orientation(orientation: int) -> int:
    """Return the orientation that reverts ``orientation``, 1 .. 8."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def apply_orientation(array: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and flip stored pixels to the upright image.

    Args:
        array: stored pixels [H, W, ...].
        orientation: 1 .. 8.

    Returns:
        upright pixels, contiguous in memory.
    """
    swap, rows, columns = _STEPS[orientation]
    if swap:
        array = array.swapaxes(0, 1)
    return np.ascontiguousarray(array[::-1 if rows else 1, ::-1 if columns else 1])


def oriented_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Compute the size of the upright image.

    Args:
        size: (H, W) of the stored image; for the upright size the result is the stored one.
        orientation: 1 .. 8.
    """
    height, width = size
    return (width, height) if _STEPS[orientation][0] else (height, width)


def orient_points(points: np.ndarray, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """Map points of the stored image to the upright image.

    Args:
        points: [..., 2], (x, y) in pixels; pixel (0, 0) covers 0 .. 1.
        orientation: 1 .. 8.
        size: (H, W) of the stored image.

    Returns:
        [..., 2].
    """
    swap, rows, columns = _STEPS[orientation]
    height, width = oriented_size(size, orientation)
    x, y = (points[..., k] for k in ((1, 0) if swap else (0, 1)))
    return np.stack([width - x if columns else x, height - y if rows else y], axis=-1)


def orient_boxes(boxes: np.ndarray, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """Map boxes of the stored image to the upright image.

    Args:
        boxes: [N, 4], (x1, y1, x2, y2) in pixels.
        orientation: 1 .. 8.
        size: (H, W) of the stored image.

    Returns:
        [N, 4].
    """
    corners = orient_points(boxes.reshape(-1, 2, 2), orientation, size)
    return np.concatenate([corners.min(1), corners.max(1)], axis=1)


def annotation_orientation(shape: tuple[int, ...], sample: Mapping) -> int:
    """Find the orientation that aligns an annotation with its image.

    An annotation refers to the stored pixels of the image file, unless it has the upright size
    only, or ``LoadImageFromFile(upright_annotations=True)`` declares annotations upright.

    Args:
        shape: (H, W, ...) of the annotation.
        sample: with ``img_orientation`` (the orientation applied to the image; 1 if absent),
            ``ann_orientation`` (the one for annotations if both sizes are equal) and ``ori_shape``.

    Returns:
        1 .. 8; 1 leaves the annotation unchanged.
    """
    orientation = sample.get('img_orientation', 1)
    if orientation == 1:
        return 1
    upright = tuple(sample['ori_shape'][:2])
    stored = oriented_size(upright, orientation)
    if stored == upright:
        return sample.get('ann_orientation', orientation)
    return orientation if tuple(shape[:2]) == stored else 1


def orient_annotation(array: np.ndarray, sample: Mapping) -> np.ndarray:
    """Align an annotation with its image.

    Args:
        array: annotation [H, W, ...].
        sample: see :func:`annotation_orientation`.
    """
    orientation = annotation_orientation(array.shape, sample)
    return array if orientation == 1 else apply_orientation(array, orientation)
