"""Checks of the objects of an instance JSON. H, W: image size, n: number of points."""
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle_tools

from mmpanseg.doctor.lists.json_file import short
from mmpanseg.doctor.pixels.image_problems import ImageProblems
from mmpanseg.doctor.pixels.object_geometry import (
    BOX_TOLERANCE,
    crosses_itself,
    is_number,
    is_wrong,
    polygon_area,
)
from mmpanseg.doctor.pixels.pieces import FarPieces, far_parts, far_pieces
from mmpanseg.doctor.pixels.segment_checks import CROWD_SHARE, MapStatistics
from mmpanseg.doctor.problem import Severity
from mmpanseg.structures.map_segments import read_counts

Size = tuple[int, int]
# polygons that exceed the image by more than its longer side times this are not drawn
_DRAWN = 16


def check_objects(size: Size, found: ImageProblems) -> MapStatistics:
    """Check the masks, areas and boxes of all objects of an image.

    Args:
        size: (H, W) of the annotations.
        found: receives the problems.

    Returns:
        pixels and segments by category.
    """
    pixels: Counter[int] = Counter()
    segments: Counter[int] = Counter()
    seen: dict[tuple[Any, bytes], int | None] = {}
    crowds: list[dict] = []
    for annotation in found.record.annotations:
        number = annotation.get('id')
        number = number if type(number) is int else None
        crowd = annotation.get('iscrowd') in (1, True)
        rle = _check_object(annotation, crowd, _Object(number, size, found))
        if rle is None:
            continue
        category, area = annotation.get('category_id'), int(rle_tools.area(rle))
        key = (category if isinstance(category, (int, str)) else None, bytes(rle['counts']))
        if area and key in seen:
            found.add('PAN313', f'annotations {seen[key]} and {number} have the same mask and '
                      'category', segment_id=number)
        seen.setdefault(key, number)
        if crowd:
            crowds.append(rle)
        if annotation.get('ignore', False) and not crowd:
            found.add('PAN317', f'annotation {number} has "ignore"', segment_id=number)
        elif isinstance(category, int):
            pixels[category] += area
            segments[category] += not crowd
    share = int(rle_tools.area(rle_tools.merge(crowds))) / (size[0] * size[1]) if crowds else 0.
    if share > CROWD_SHARE:
        found.add('PAN319', f'{share:.0%} of the pixels are crowd')
    return MapStatistics(dict(pixels), {key: count for key, count in segments.items() if count},
                         None, None, sum(segments.values()))


class _Object(NamedTuple):
    """An object whose mask is checked.

    Attributes:
        number: its id; None if it has none.
        size: (H, W) of the annotations.
        found: receives the problems.
    """

    number: int | None
    size: Size
    found: ImageProblems

    @property
    def name(self) -> str:
        return f'annotation {self.number}'

    def add(self, check: str, text: str, severity: Severity | None = None) -> None:
        self.found.add(check, text, segment_id=self.number, severity=severity)


def _check_object(annotation: dict, crowd: bool, one: _Object) -> dict | None:
    """Check an object; its mask as compressed run lengths, None if it has no valid one."""
    segmentation = annotation.get('segmentation')
    if not segmentation:
        one.add('PAN301', f'{one.name} has no segmentation')
        return None
    if isinstance(segmentation, dict):
        rle = _read_runs(segmentation, one)
        polygons: list[np.ndarray] = []
    elif isinstance(segmentation, list) and all(isinstance(p, list) for p in segmentation):
        read = _read_polygons(segmentation, one)
        if read is None:
            return None
        polygons = read
        rle = rle_tools.merge(rle_tools.frPyObjects(
            [polygon.ravel().tolist() for polygon in polygons], *one.size))
    else:
        one.add('PAN301', f'{one.name} has the segmentation {short(segmentation)}')
        return None
    if rle is None:
        return None
    if crowd and polygons:
        one.add('PAN314', f'crowd {one.number} has {len(polygons)} polygons')
    if not _check_extent(polygons, rle, one):
        return rle
    _check_area_and_box(annotation, rle, polygons, one)
    if not crowd:
        _check_parts(rle, polygons, one)
    return rle


def _read_polygons(segmentation: list[list], one: _Object) -> list[np.ndarray] | None:
    """Check polygons and return the usable ones, [n, 2] each; None without any."""
    name, size = one.name, one.size
    for part in segmentation:
        if len(part) % 2 or not all(map(_is_coordinate, part)):
            why = (f'{len(part)} coordinates, an odd number' if len(part) % 2 else
                   f'the coordinate {next(v for v in part if not _is_coordinate(v))!r}')
            one.add('PAN303', f'a polygon of {name} has {why}')
            return None
    polygons = [np.array(part, float).reshape(-1, 2) for part in segmentation if len(part) >= 6]
    few = len(segmentation) - len(polygons)
    if few:
        # training leaves such parts out, and refuses an object without another part
        one.add('PAN302', f'{few} of {len(segmentation)} polygons of {name} have fewer than 3 '
                'points', severity=Severity.WARNING if polygons else Severity.ERROR)
    if not polygons:
        return None
    corners = np.concatenate(polygons)
    low, high = corners.min(0), corners.max(0)
    if 0 <= low.min() and high.max() <= 1 and min(size) > 2:
        one.add('PAN312', f'all coordinates of {name} are in 0 .. 1')
        return None
    box = f'{name} is at {short([*low.tolist(), *high.tolist()])} (x1, y1, x2, y2)'
    limit = np.array(size[::-1])
    if (low >= limit).any() or (high <= 0).any():
        one.add('PAN305', f'{box}, outside of its image of {size[1]}x{size[0]}')
        return None
    if (low < -BOX_TOLERANCE).any() or (high > limit + BOX_TOLERANCE).any():
        one.add('PAN304', f'{box}, partly outside of its image of {size[1]}x{size[0]}')
        # pycocotools needs memory for every pixel of an outline, also outside of the image
        if max(high.max(), -low.min()) > _DRAWN * max(size):
            return None
    return polygons


def _read_runs(segmentation: dict, one: _Object) -> dict | None:
    """Check run lengths and return them compressed; None if they are invalid."""
    name, size, counts = one.name, one.size, segmentation.get('counts')
    if segmentation.get('size') != list(size):
        one.add('PAN306', f'the run lengths of {name} have the size '
                f'{short(segmentation.get("size"))} (height, width), the image {list(size)}')
        return None
    try:
        if isinstance(counts, str):
            read_counts(counts, size)
            return dict(size=list(size), counts=counts.encode())
        if isinstance(counts, list) and set(map(type, counts)) <= {int} and (
                min(counts, default=0) >= 0):
            if sum(counts) == size[0] * size[1]:
                return rle_tools.frPyObjects(segmentation, *size)
            raise ValueError(f'they have {sum(counts)} pixels, the image {size[0] * size[1]}')
        raise ValueError('counts must be a text, or a list of integers')
    except (ValueError, TypeError, OverflowError) as error:
        one.add('PAN307', f'the run lengths of {name} are invalid: {error}')
    return None


def _check_extent(polygons: list[np.ndarray], rle: dict, one: _Object) -> bool:
    """Find masks that are empty or tiny; whether the mask has a pixel."""
    name, area = one.name, int(rle_tools.area(rle))
    if polygons:
        corners = np.concatenate(polygons)
        if ((corners.max(0) - corners.min(0)) < 1).any():
            one.add('PAN311', f'{name} is narrower or lower than a pixel')
            return False
    if not area:
        # training refuses run lengths without a pixel, and keeps such polygons as empty masks
        one.add('PAN308', f'{name} has no pixel', severity=Severity.WARNING if polygons
                else Severity.ERROR)
        return False
    return True


def _check_area_and_box(annotation: dict, rle: dict, polygons: list[np.ndarray],
                        one: _Object) -> None:
    """Compare area and box with the mask; values that are no numbers are problems of the JSON."""
    name, segmentation = one.name, annotation['segmentation']
    if polygons:
        segmentation = [polygon.ravel().tolist() for polygon in polygons]
    area, box = int(rle_tools.area(rle)), [int(value) for value in rle_tools.toBbox(rle)]
    given, given_box = annotation.get('area'), annotation.get('bbox')
    listed = [given_box] if isinstance(given_box, list) and len(given_box) == 4 and all(
        map(is_number, given_box)) else []
    if is_number(given) and is_wrong('area', given, area, segmentation):
        product = any(abs(given - w * h) <= 1 for _, _, w, h in (box, *listed))
        found_in = ', that of its box' if product else ''
        one.add('PAN309', f'{name} has "area" {given}{found_in}, its mask {area}')
    for given in listed:
        if not is_wrong('bbox', given, box, segmentation):
            continue
        corners = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
        why = (': it is [x1, y1, x2, y2]' if np.abs(np.subtract(given, corners)).max() <= 1
               else '')
        one.add('PAN310', f'{name} has "bbox" {given}, its mask {box}{why}')


def _check_parts(rle: dict, polygons: list[np.ndarray], one: _Object) -> None:
    """Find masks that are tiny, cross themselves or have parts far apart."""
    name, area, stride = one.name, int(rle_tools.area(rle)), one.found.source.stride
    if area < stride * stride:
        one.add('PAN316', f'{name} has {area} pixels, fewer than {stride}x{stride}')
    limit = np.array(one.size[::-1])
    for polygon in polygons:
        if (polygon < 0).any() or (polygon > limit).any():
            continue  # pixels outside of the image are not counted
        part = rle_tools.frPyObjects([polygon.ravel().tolist()], *one.size)[0]
        drawn = int(rle_tools.area(part))
        if crosses_itself(polygon, drawn):
            one.add('PAN318', f'a polygon of {name} crosses itself: its corners enclose '
                    f'{polygon_area(polygon):.0f} pixels, drawn it has {drawn}')
    far = _far_parts(rle, polygons, one.size)
    if far is not None:
        one.add('PAN315', f'{name} has {far.parts} parts, {far.distance:.0f} pixels apart')


def _far_parts(rle: dict, polygons: list[np.ndarray], size: Size) -> FarPieces | None:
    if len(polygons) == 1:
        return None
    if polygons:
        areas = np.array([polygon_area(polygon) for polygon in polygons])
        boxes = np.array([[*polygon.min(0), *polygon.max(0)] for polygon in polygons])
        return far_pieces(areas, boxes, size)
    x, y, width, height = (int(value) for value in rle_tools.toBbox(rle))
    mask = rle_tools.decode(rle)[y:y + height, x:x + width]
    return far_parts(np.ascontiguousarray(mask), size)


def _is_coordinate(value: Any) -> bool:
    return is_number(value) and abs(value) < 1e9
