"""Objects of an image -> one map without overlaps -> PNG and entries of the JSONs.

H, W: height and width of an image in pixels.
"""
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as rle_tools
from scipy import ndimage

from mmpanseg.datasets.converters.common import encode_segments
from mmpanseg.importers.source_image import ImageContent, SourceError, SourceObject
from mmpanseg.structures.encoded_masks import encode_mask, encode_segmentation
from mmpanseg.structures.exif_orientation import apply_orientation
from mmpanseg.structures.label_image import IGNORE_INDEX, distinct_values
from mmpanseg.structures.map_segments import read_counts
from mmpanseg.structures.panoptic_png import write_panoptic_png
from mmpanseg.utils.atomic_files import result_file


class Layer(NamedTuple):
    """An object with its mask.

    Args:
        category: class name.
        rle: compressed run lengths of its mask, with a pixel at least; dense masks of many objects
            would need gigabytes.
        is_crowd: a group of objects.
        order: see :class:`SourceObject`.
        polygons: COCO's ``segmentation`` where the mask is exactly these polygons, else None.
    """

    category: str
    rle: dict
    is_crowd: bool
    order: int
    polygons: list[list[float]] | None


class FlatSegment(NamedTuple):
    """A segment of the map: class name, and whether it is a crowd."""

    category: str
    is_crowd: bool


class Flat(NamedTuple):
    """An image without overlaps.

    Args:
        index_map: index of the segment of each pixel, int32 [H, W], 0 = unlabeled.
        segments: the segments 1, 2, ...
        hidden: number of objects of which no pixel is visible.
    """

    index_map: np.ndarray
    segments: list[FlatSegment]
    hidden: int


def object_layers(content: ImageContent, size: tuple[int, int],
                  names: Mapping[str, str | None],
                  where: str, orientation: int = 1) -> tuple[list[Layer], int]:
    """Make the masks of all objects; parts with one ``instance`` key become one object.

    Args:
        content: see :class:`ImageContent`.
        size: (H, W) of the annotation.
        names: name in the source -> name in the result, None for classes that are left out.
        where: file of the annotation, for error texts.
        orientation: EXIF orientation to apply to masks, 1 .. 8.

    Returns:
        layers in the order of the file, and the number of objects without a pixel in the image.

    Raises:
        SourceError: an object has an unknown class or an invalid mask.
    """
    groups: dict[Hashable, list[SourceObject]] = {}
    for number, item in enumerate(content.objects):
        if item.category not in names:
            raise SourceError(f'{where}: {item.name or f"object {number + 1}"} has the class '
                              f'{item.category!r}, which the list of classes lacks')
        if names[item.category] is not None:
            key = (('alone', number) if item.instance is None else
                   ('grouped', names[item.category], item.is_crowd, item.instance))
            groups.setdefault(key, []).append(item)
    layers, outside = [], 0
    for items in groups.values():
        first = items[0]
        rle = rle_tools.merge([_encode(item, size, where) for item in items])
        if not rle_tools.area(rle):
            outside += 1
            continue
        polygons = None
        if orientation == 1 and all(item.polygons is not None for item in items):
            polygons = [np.asarray(part, float).ravel().tolist()
                        for item in items for part in item.polygons or () if len(part) > 2]
        if orientation != 1:
            rle = encode_mask(apply_orientation(rle_tools.decode(rle), orientation))
        layers.append(Layer(str(names[first.category]), rle, first.is_crowd,
                            max(item.order for item in items), polygons))
    return layers, outside


def flatten(layers: list[Layer], base: tuple[np.ndarray, list[FlatSegment]] | None,
            size: tuple[int, int], things: frozenset[str], ordered: bool) -> Flat:
    """Resolve all overlaps.

    From the bottom to the top: the base map, stuff, crowds of things, things. Within each of these
    the later in ``order`` covers the earlier if ``ordered``, else the smaller mask covers the
    larger; of equal ones the later in the file covers the earlier. All parts of a stuff class are
    one segment, and so are its parts in the base map.

    Args:
        layers: the objects in the order of the file.
        base: index of each pixel, integer [H, W], 0 = unlabeled, and the segments 1, 2, ...
        size: (H, W) in pixels.
        things: names of classes that are things.
        ordered: whether the format has an order of layers.
    """
    segments: list[FlatSegment] = []
    index = np.zeros(size, np.int32)
    stuff: dict[str, int] = {}

    def number_of(segment: FlatSegment) -> int:
        if segment.category in things:
            segments.append(segment)
            return len(segments)
        if segment.category not in stuff:
            segments.append(FlatSegment(segment.category, False))
            stuff[segment.category] = len(segments)
        return stuff[segment.category]

    if base is not None:
        table = np.array([0, *map(number_of, base[1])], np.int32)
        index = table[base[0]]

    def height(layer: Layer) -> tuple[int, int]:
        level = 0 if layer.category not in things else 1 if layer.is_crowd else 2
        return level, layer.order if ordered else -int(rle_tools.area(layer.rle))

    for layer in sorted(layers, key=height):
        number = number_of(FlatSegment(layer.category, layer.is_crowd))
        index[rle_tools.decode(layer.rle).astype(bool)] = number
    areas = np.bincount(index.ravel(), minlength=len(segments) + 1)
    kept = [number for number in range(1, len(segments) + 1) if areas[number]]
    table = np.zeros(len(segments) + 1, np.int32)
    table[kept] = np.arange(1, len(kept) + 1)
    hidden = sum(segment.category in things for segment in segments) - sum(
        segments[number - 1].category in things for number in kept)
    return Flat(table[index], [segments[number - 1] for number in kept], hidden)


def add_background(flat: Flat, name: str) -> Flat:
    """Make all unlabeled pixels a segment of the stuff class ``name``."""
    void = flat.index_map == 0
    if not void.any():
        return flat
    segments = list(flat.segments)
    number = next((k for k, segment in enumerate(segments, 1) if segment.category == name), 0)
    if not number:
        segments.append(FlatSegment(name, False))
        number = len(segments)
    index_map = np.where(void, np.int32(number), flat.index_map)
    return flat._replace(index_map=index_map, segments=segments)


def write_segments(flat: Flat, path: Path, ids: Mapping[str, int]) -> list[dict]:
    """Write the panoptic PNG and return its ``segments_info``.

    Args:
        flat: the map.
        path: the PNG.
        ids: category id by class name.
    """
    write_panoptic_png(path, flat.index_map)
    areas = np.bincount(flat.index_map.ravel(), minlength=len(flat.segments) + 1)
    boxes = ndimage.find_objects(flat.index_map, max_label=len(flat.segments))
    return [dict(id=number, category_id=ids[segment.category], iscrowd=int(segment.is_crowd),
                 area=int(areas[number]), bbox=[
                     box[1].start, box[0].start, box[1].stop - box[1].start,
                     box[0].stop - box[0].start])
            for number, (segment, box) in enumerate(zip(flat.segments, boxes), 1)]


def instance_entries(layers: list[Layer], base: tuple[np.ndarray, list[FlatSegment]] | None,
                     things: frozenset[str], ids: Mapping[str, int]) -> list[dict]:
    """Return the entries of the instance JSON, whose objects keep their overlaps.

    Polygons stay polygons. ``id`` and ``image_id`` are added later.

    Args:
        layers: the objects.
        base: see :func:`flatten`; its things are instances too.
        things: names of classes that are things.
        ids: category id by class name.
    """
    if base is not None:
        masks = encode_segments(base[0], len(base[1]))
        layers = [Layer(segment.category, rle, segment.is_crowd, 0, None)
                  for segment, rle in zip(base[1], masks)] + layers
    entries = []
    for layer in layers:
        if layer.category not in things:
            continue
        rle = layer.rle
        # mmdet reads a crowd only as run lengths
        polygons = None if layer.is_crowd else layer.polygons
        entries.append(dict(
            category_id=ids[layer.category], iscrowd=int(layer.is_crowd),
            area=int(rle_tools.area(rle)), bbox=rle_tools.toBbox(rle).tolist(),
            segmentation=polygons or dict(size=[int(side) for side in rle['size']],
                                          counts=_text(rle['counts']))))
    return entries


def write_labels(flat: Flat, path: Path, ids: Mapping[str, int]) -> dict[int, int]:
    """Write a label map: category id - 1 of each pixel, 255 = void (with 255 classes, 65535).

    Returns:
        number of pixels by category id.
    """
    void = void_label(len(ids))
    table = np.array([void, *(ids[segment.category] - 1 for segment in flat.segments)])
    labels = table.astype(np.uint8 if void == IGNORE_INDEX else np.uint16)[flat.index_map]
    with result_file(path) as part:
        Image.fromarray(labels).save(part)
    areas = np.bincount(flat.index_map.ravel(), minlength=len(flat.segments) + 1)
    return {ids[segment.category]: int(areas[number])
            for number, segment in enumerate(flat.segments, 1)}


def void_label(num_classes: int) -> int:
    """Return the value of unlabeled pixels in label maps."""
    return IGNORE_INDEX if num_classes <= IGNORE_INDEX else 65535


def map_segments(content: ImageContent, size: tuple[int, int], names: Mapping[str, str | None],
                 where: str, orientation: int = 1) -> tuple[np.ndarray, list[FlatSegment]] | None:
    """Return the base map as index of each pixel, 0 = unlabeled, and the segments 1, 2, ...

    Raises:
        SourceError: the map has another size, or a class is unknown.
    """
    if content.base is None:
        return None
    ids, described = content.base
    if ids.shape != size:
        raise SourceError(f'{where} is {ids.shape[1]}x{ids.shape[0]}, its image is '
                          f'{size[1]}x{size[0]}: both must have the same size')
    present = distinct_values(ids)
    index = np.zeros(len(present), np.int32)
    segments: list[FlatSegment] = []
    for place, value in enumerate(present.tolist()):
        segment = described.get(value)
        if segment is None:
            continue
        if segment.category not in names:
            raise SourceError(f'{where}: value {value} has the class {segment.category!r}, which '
                              'the list of classes lacks')
        name = names[segment.category]
        if name is not None:
            segments.append(FlatSegment(name, segment.is_crowd))
            index[place] = len(segments)
    result = index[np.searchsorted(present, ids)]
    return (result if orientation == 1 else apply_orientation(result, orientation)), segments


def _text(counts: str | bytes) -> str:
    return counts if isinstance(counts, str) else counts.decode()


def _encode(item: SourceObject, size: tuple[int, int], where: str) -> dict:
    """Return the mask of an object as compressed run lengths."""
    what = f'{where}: {item.name or f"an object of class {item.category}"}'
    if item.mask is not None:
        if item.mask.shape != size:
            raise SourceError(f'{what} has a mask of (height, width) {item.mask.shape}, its image '
                              f'has {size}')
        return encode_mask(item.mask.astype(bool))
    if item.rle is not None:
        if tuple(item.rle.get('size', ())) != size:
            raise SourceError(f'{what} has run lengths of (height, width) '
                              f'{tuple(item.rle.get("size", ()))}, its image has {size}')
        counts = item.rle.get('counts')
        if isinstance(counts, list) and (
                not all(isinstance(count, int) and count >= 0 for count in counts)
                or sum(counts) != size[0] * size[1]):
            raise SourceError(f'{what} has run lengths that are not {size[0]} x {size[1]} pixels '
                              'together; correct or remove it')
        try:
            rle = encode_segmentation(item.rle, *size)
            read_counts(rle['counts'], size)
            return rle
        except (TypeError, ValueError, UnicodeError, AttributeError) as error:
            raise SourceError(f'{what} has a mask that is no run lengths: {error}') from error
    parts = [np.asarray(part, np.float64) for part in item.polygons or ()]
    if any(part.ndim != 2 or part.shape[1] != 2 or not np.isfinite(part).all() for part in parts):
        raise SourceError(f'{what} has a polygon whose points are not pairs of finite numbers; '
                          'correct or remove it')
    usable = [part.ravel().tolist() for part in parts if len(part) > 2]
    if not usable:
        raise SourceError(f'{what} has no polygon of three points or more; correct or remove it')
    return encode_segmentation(usable, *size)
