"""The eight EXIF orientations: how the pixels stored in a file become an upright picture."""
from collections.abc import Mapping

import numpy as np

# orientation -> (swap rows and columns, then reverse rows, then reverse columns)
_STEPS = {1: (False, False, False), 2: (False, False, True), 3: (False, True, True),
          4: (False, True, False), 5: (True, False, False), 6: (True, False, True),
          7: (True, True, True), 8: (True, True, False)}
ORIENTATIONS = tuple(_STEPS)


def inverse_orientation(orientation: int) -> int:
    """The orientation that undoes another one."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def apply_orientation(array: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels [H, W, ...] -> upright ones, contiguous in memory."""
    swap, rows, columns = _STEPS[orientation]
    if swap:
        array = array.swapaxes(0, 1)
    return np.ascontiguousarray(array[::-1 if rows else 1, ::-1 if columns else 1])


def oriented_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(H, W) of the upright picture; of the stored one for an upright size."""
    height, width = size
    return (width, height) if _STEPS[orientation][0] else (height, width)


def orient_points(points: np.ndarray, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """Points of the stored pixels -> points of the upright ones.

    Args:
        points: [..., 2], x and y; pixel (0, 0) covers 0 .. 1.
        orientation: 1 .. 8.
        size: (H, W) of the stored pixels.
    """
    swap, rows, columns = _STEPS[orientation]
    height, width = oriented_size(size, orientation)
    x, y = (points[..., k] for k in ((1, 0) if swap else (0, 1)))
    return np.stack([width - x if columns else x, height - y if rows else y], axis=-1)


def orient_boxes(boxes: np.ndarray, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes [n, 4] (x1, y1, x2, y2) of the stored pixels -> boxes of the upright ones.

    ``size`` is (H, W) of the stored pixels.
    """
    corners = orient_points(boxes.reshape(-1, 2, 2), orientation, size)
    return np.concatenate([corners.min(1), corners.max(1)], axis=1)


def annotation_orientation(shape: tuple[int, ...], sample: Mapping) -> int:
    """The orientation by which an annotation is turned to lie as its image.

    Annotations belong to the pixels as stored in the image's file, unless only the upright size
    fits them, or ``LoadImageFromFile(upright_annotations=True)`` says that they are upright.

    Args:
        shape: (H, W, ...) of the annotation.
        sample: with ``img_orientation`` (by which the image was turned; not turned if absent),
            ``ann_orientation`` (by which annotations of both sizes are) and ``ori_shape``.

    Returns:
        1 where the annotation stays as it is.
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
    """An annotation [H, W, ...] as its image lies, see :func:`annotation_orientation`."""
    orientation = annotation_orientation(array.shape, sample)
    return array if orientation == 1 else apply_orientation(array, orientation)
