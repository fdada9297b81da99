"""Repairs of the objects of an instance JSON."""
from collections import Counter

import numpy as np
from pycocotools import mask as rle_tools

from mmpanseg.doctor.fixes.list_fixes import Repaired
from mmpanseg.doctor.pixels.object_geometry import is_number, is_wrong
from mmpanseg.structures.encoded_masks import encode_segmentation
from mmpanseg.structures.map_segments import read_counts


def fix_objects(content: dict) -> Repaired:
    """Repair polygons, areas and boxes of an instance JSON in place.

    Args:
        content: content of the JSON, with lists of dicts.

    Returns:
        number of repairs by id of the check.
    """
    repaired: Repaired = Counter()
    sizes: dict[object, tuple[int, int]] = {}
    for image in content['images']:
        height, width = image.get('height'), image.get('width')
        if isinstance(image.get('id'), (int, str)) and all(
                type(side) is int and side > 0 for side in (height, width)):
            sizes[image['id']] = height, width
    kept = []
    for annotation in content['annotations']:
        image_id = annotation.get('image_id')
        known = sizes.get(image_id) if isinstance(image_id, (int, str)) else None
        if known is None or _fix_object(annotation, known, repaired):
            kept.append(annotation)
    content['annotations'] = kept
    return repaired


def _fix_object(annotation: dict, size: tuple[int, int], repaired: Repaired) -> bool:
    """Repair an object; False if it has no mask and is removed."""
    segmentation = annotation.get('segmentation')
    if isinstance(segmentation, list):
        if not segmentation or not all(map(_is_polygon, segmentation)):
            return True
        usable = [part for part in segmentation if len(part) >= 6]
        repaired['PAN302'] += len(segmentation) - len(usable)
        if not usable:
            return False
        annotation['segmentation'] = segmentation = usable
    elif not isinstance(segmentation, dict) or segmentation.get('size') != list(size):
        return True
    rle = _encode(segmentation, size)
    if rle is None or isinstance(segmentation, list) and _is_unclear(segmentation, size):
        return True
    area, box = int(rle_tools.area(rle)), [int(value) for value in rle_tools.toBbox(rle)]
    if not area:
        repaired['PAN308'] += 1
        return False
    for key, value, check in (('area', area, 'PAN309'), ('bbox', box, 'PAN310')):
        given = annotation.get(key)
        if key not in annotation:
            check = 'PAN047'
        elif not (is_number(given) if key == 'area' else is_box(given)):
            check = 'PAN007'
        elif not is_wrong(key, given, value, segmentation):
            continue
        annotation[key] = value
        repaired[check] += 1
    if 'iscrowd' not in annotation:
        repaired['PAN047'] += 1
        annotation['iscrowd'] = 0
    return True


def is_box(value: object) -> bool:
    """Return whether a value is a list of four numbers."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def _is_unclear(polygons: list[list], size: tuple[int, int]) -> bool:
    """Return whether polygons are outside of the image, or narrower or lower than a pixel."""
    corners = np.concatenate([np.array(part, float).reshape(-1, 2) for part in polygons])
    low, high = corners.min(0), corners.max(0)
    outside = (low >= size[::-1]) | (high <= 0)
    return bool(outside.any() or (high - low < 1).any())


def _is_polygon(part: object) -> bool:
    return isinstance(part, list) and len(part) % 2 == 0 and all(
        is_number(value) and abs(value) < 1e9 for value in part)


def _encode(segmentation: list | dict, size: tuple[int, int]) -> dict | None:
    """Encode a mask as compressed run lengths; None if it is invalid."""
    if isinstance(segmentation, list):
        return encode_segmentation(segmentation, *size)
    counts = segmentation.get('counts')
    if isinstance(counts, list):
        valid = set(map(type, counts)) <= {int} and min(counts, default=0) >= 0 and (
            sum(counts) == size[0] * size[1])
        return encode_segmentation(segmentation, *size) if valid else None
    if not isinstance(counts, str):
        return None
    try:
        read_counts(counts, size)
    except (ValueError, TypeError, OverflowError):
        return None
    return dict(size=list(size), counts=counts.encode())
