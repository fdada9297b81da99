"""Semantic annotations: images of one channel with the class of each pixel."""
import io

import numpy as np
from mmengine import fileio
from PIL import Image, UnidentifiedImageError

IGNORE_INDEX = 255


def read_label_image(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Pixel values of an image of one channel (8 or 16 bit, or palette indices), integer [H, W].

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when it is no image or has several channels.
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
                         'with the class of each pixel (for panoptic PNGs: source=\'panoptic\')')
    return values if values.dtype.kind in 'iu' else values.astype(np.int64)


def distinct_values(values: np.ndarray) -> np.ndarray:
    """Sorted distinct values of a map [H, W]; looks at the first pixel of each horizontal run."""
    flat = values.ravel()
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return np.unique(np.append(flat[:1], flat[starts]))


def label_table(present: np.ndarray,
                num_classes: int,
                path: str,
                label_map: dict[int, int] | None = None,
                ignore_index: int = IGNORE_INDEX,
                reduce_zero_label: bool = False) -> np.ndarray:
    """Table value in the file -> label, -1 = ignored; ``table[values]`` is the map of labels.

    Args:
        present: the distinct values of the file.
        num_classes: C, labels are 0 .. C - 1.
        path: for error messages.
        label_map: value -> label or ``ignore_index``; other values stay as they are.
        ignore_index: value of pixels that do not count, unless ``label_map`` names it.
        reduce_zero_label: 0 in the file does not count and every other value is a label + 1;
            applied before ``label_map``.

    Returns:
        int32 [V], longer than every value present.

    Raises:
        ValueError: when a value present becomes none of the C labels.
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
            f'the {num_classes} classes and not ignore_index={ignore_index}; give a label_map '
            'or the right ignore_index')
    return labels
