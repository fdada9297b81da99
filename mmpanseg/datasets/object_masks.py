"""Checks, boxes and encoding of the masks in a COCO instance JSON, polygons or run lengths.

N: number of annotations.
"""
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from pycocotools import mask as rle_tools

from mmpanseg.datasets.annotation_file import FLAG, check_kind
from mmpanseg.structures.encoded_masks import encode_segmentation

# number of annotations whose coordinates are converted to arrays together
CHUNK = 20000


def read_boxes(path: str, annotations: Sequence[dict], images: Mapping) -> np.ndarray:
    """Compute the boxes of all masks and check them.

    Polygons of fewer than three points enclose no area and are omitted, here and by
    :func:`outline`. ``bbox`` and ``area`` of the JSON are not read.

    Args:
        path: path of the JSON, for error texts.
        annotations: N annotations with image_id, category_id, segmentation and optionally iscrowd.
        images: images by id, with height and width.

    Returns:
        boxes (x1, y1, x2, y2) in pixels, float64 [N, 4].

    Raises:
        ValueError: a mask is absent or empty, neither polygons nor run lengths, of another size
            than its image or completely outside of it; ``iscrowd`` is neither 0 nor 1; all
            annotations are crowds. The text names file and annotation.
    """
    crowd = [a.get('iscrowd', 0) for a in annotations]
    check_kind(path, 'annotation', annotations, 'iscrowd', FLAG, crowd)
    if annotations and all(crowd):
        raise ValueError(
            f'{path}: all {len(annotations)} annotations are crowds, which count neither for nor '
            'against; write "iscrowd": 0 for single objects, whatever the form of their masks')
    boxes = np.zeros((len(annotations), 4))
    for start in range(0, len(annotations), CHUNK):
        part = slice(start, start + CHUNK)
        _fill_boxes(path, annotations[part], images, boxes[part])
    return boxes


def outline(segmentation: list | dict) -> list[np.ndarray] | dict:
    """Convert a mask for transforms: polygons float64 [2 n] with n >= 3 points, or run lengths."""
    if isinstance(segmentation, dict):
        return segmentation
    return [np.asarray(part, np.float64) for part in segmentation if len(part) >= 6]


def encode_annotation(annotation: dict, height: int, width: int) -> dict:
    """Encode the mask of an annotation that :func:`read_boxes` accepted as run lengths."""
    segmentation = annotation['segmentation']
    if isinstance(segmentation, list):
        segmentation = [part for part in segmentation if len(part) >= 6]
    return encode_segmentation(segmentation, height, width)


def _fill_boxes(path: str, annotations: Sequence[dict], images: Mapping,
                boxes: np.ndarray) -> None:
    """Fill in the boxes [n, 4] of n annotations."""
    parts, owners, encoded = [], [], []
    for number, annotation in enumerate(annotations):
        segmentation = annotation.get('segmentation')
        if not segmentation:
            raise _error(path, annotation, 'has no segmentation; write polygons [[x1, y1, x2, y2, '
                         '...], ...] or run lengths, or remove the annotation')
        if isinstance(segmentation, dict):
            encoded.append(number)
            continue
        usable = _polygons(path, annotation)
        parts += usable
        owners += [number] * len(usable)
    if parts:
        _polygon_boxes(path, annotations, parts, np.asarray(owners), boxes)
    for number in encoded:
        boxes[number] = _encoded_box(path, annotations[number],
                                     images[annotations[number]['image_id']])
    sizes = np.asarray([(images[a['image_id']]['width'], images[a['image_id']]['height'])
                        for a in annotations]).reshape(-1, 2)
    outside = (boxes[:, :2] >= sizes).any(1) | (boxes[:, 2:] <= 0).any(1)
    if outside.any():
        number = int(outside.argmax())
        raise _error(path, annotations[number], f'has its mask at {boxes[number].tolist()} (x1, '
                     f'y1, x2, y2), outside of its image of {sizes[number].tolist()} (width, '
                     'height); correct or remove it')


def _polygons(path: str, annotation: dict) -> list[list]:
    """Return the polygons of an annotation with three points or more."""
    segmentation = annotation['segmentation']
    if not isinstance(segmentation, list) or not all(
            isinstance(part, list) for part in segmentation):
        raise _error(path, annotation, f'has the segmentation {str(segmentation)[:60]}; it must be '
                     'a list of polygons [[x1, y1, x2, y2, ...], ...] or run lengths')
    lengths = [len(part) for part in segmentation]
    if any(length % 2 for length in lengths):
        raise _error(path, annotation, 'has a polygon in its segmentation with an odd number of '
                     'coordinates; write x and y of every point')
    usable = [part for part in segmentation if len(part) >= 6]
    if not usable:
        raise _error(path, annotation, 'has no polygon of three points or more in its '
                     'segmentation; correct or remove it')
    return usable


def _polygon_boxes(path: str, annotations: Sequence[dict], parts: list[list], owners: np.ndarray,
                   boxes: np.ndarray) -> None:
    """Fill in the boxes around all polygons of each annotation."""
    lengths = np.asarray([len(part) for part in parts])
    try:
        points = np.fromiter(chain.from_iterable(parts), np.float64, lengths.sum()).reshape(-1, 2)
    except (TypeError, ValueError):
        points = np.full((1, 2), np.nan)
    if not np.isfinite(points).all():
        number = next(number for number, part in zip(owners, parts) if not _all_numbers(part))
        raise _error(path, annotations[number], 'has a coordinate in its segmentation that is no '
                     'number; correct or remove it')
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    starts = (np.cumsum(lengths) - lengths)[first] // 2
    boxes[owners[first], :2] = np.minimum.reduceat(points, starts)
    boxes[owners[first], 2:] = np.maximum.reduceat(points, starts)


def _all_numbers(part: list) -> bool:
    return all(isinstance(value, (int, float)) and np.isfinite(value) for value in part)


def _encoded_box(path: str, annotation: dict, image: dict) -> np.ndarray:
    """Return the box around run lengths."""
    segmentation, size = annotation['segmentation'], (image['height'], image['width'])
    counts = segmentation.get('counts')
    if not isinstance(counts, (str, list)) or not isinstance(segmentation.get('size'), list):
        raise _error(path, annotation, 'has run lengths in its segmentation without "size" (height '
                     'and width, a list) or "counts" (a text or a list)')
    if tuple(segmentation['size']) != size:
        raise ValueError(
            f'{path}: the mask of annotation {annotation.get("id")} has (height, width) '
            f'{tuple(segmentation["size"])}, its image {size}; write the run lengths at the size '
            'of the image')
    if isinstance(counts, list) and not (
            set(map(type, counts)) <= {int} and min(counts, default=0) >= 0
            and sum(counts) == size[0] * size[1]):
        raise _error(path, annotation, 'has run lengths in its segmentation that are not '
                     f'{size[0]} x {size[1]} pixels together; correct or remove them')
    try:
        rle = encode_segmentation(segmentation, *size)
        if not rle_tools.area(rle):
            raise _error(path, annotation, 'has a segmentation without a pixel; remove it')
        x, y, width, height = rle_tools.toBbox(rle)
    except (TypeError, UnicodeError) as error:
        raise _error(path, annotation, f'has a segmentation that is no run lengths: {error}'
                     ) from error
    return np.asarray([x, y, x + width, y + height])


def _error(path: str, annotation: dict, text: str) -> ValueError:
    return ValueError(f'{path}: annotation {annotation.get("id")} of image '
                      f'{annotation["image_id"]} {text}')
