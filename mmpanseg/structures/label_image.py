"""Semantic annotations: single-channel images that store the class of each pixel.

Shapes: H, W image size, C classes, V values of a lookup table.
"""
import io

import numpy as np
from mmengine import fileio
from PIL import Image, UnidentifiedImageError

# Default value of unlabeled pixels, as in mmdet.
IGNORE_INDEX = 255


def read_label_image(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Read the pixel values of a single-channel image.

    Args:
        path: image of 8 or 16 bits, or with a palette, whose indices are returned.
        backend_args: arguments of mmengine's file backend.

    Returns:
        integer [H, W].

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no image, too large, or has several channels.
    """
    try:
        data = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'label map {path} does not exist; check the folder of the segmentation '
            'maps') from error
    try:
        # OpenCV would replace palette indices by their colors
        values = np.asarray(Image.open(io.BytesIO(data)))
    except Image.DecompressionBombError as error:
        raise ValueError(f'label map {path}: {error}; set PIL.Image.MAX_IMAGE_PIXELS to the '
                         'number of its pixels') from error
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f'label map {path} is no readable image; write or download it '
                         'again') from error
    if values.ndim != 2:
        raise ValueError(f'label map {path} has {values.shape[-1]} channels; it must have one, '
                         'the class of each pixel (for panoptic PNGs set source=\'panoptic\')')
    return values if values.dtype.kind in 'iu' else values.astype(np.int64)


def distinct_values(values: np.ndarray) -> np.ndarray:
    """Find the distinct values of a map.

    Only the first pixel of each horizontal run is compared, which is faster than ``np.unique``.

    Args:
        values: integer [H, W].

    Returns:
        sorted values [n].
    """
    flat = values.ravel()
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return np.unique(np.append(flat[:1], flat[starts]))


def label_table(present: np.ndarray,
                num_classes: int,
                path: str,
                label_map: dict[int, int] | None = None,
                ignore_index: int = IGNORE_INDEX,
                reduce_zero_label: bool = False) -> np.ndarray:
    """Create the lookup table from values in a file to labels; ``table[values]`` is the label map.

    Args:
        present: distinct values of the file, integer [n].
        num_classes: C; labels are 0 .. C - 1.
        path: path of the file, for error texts.
        label_map: value -> label or ``ignore_index``; other values are labels themselves.
        ignore_index: value of ignored pixels, unless ``label_map`` contains it.
        reduce_zero_label: ignore the value 0 and subtract 1 from every other value, before
            ``label_map`` is applied.

    Returns:
        int32 [V] with V above every value present; -1 = ignored.

    Raises:
        ValueError: a value present maps to no label.
    """
    table = np.arange(max(int(present.max(initial=0)), ignore_index) + 1, dtype=np.int32)
    kept = table - 1 if reduce_zero_label else table
    labels = kept.copy()
    labels[ignore_index] = -1
    for value, label in (label_map or {}).items():
        labels[kept == value] = -1 if label == ignore_index else label
    unknown = present[labels[present] >= num_classes]
    if unknown.size:
        raise ValueError(
            f'{path} has the value(s) {unknown[:10].tolist()}, which are no labels of '
            f'the {num_classes} classes and not ignore_index={ignore_index}; set label_map or the '
            'correct ignore_index')
    return labels
