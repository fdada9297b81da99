"""COCO instance JSONs: their images, classes and objects; also used by exports of other tools."""
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmpanseg.datasets.annotation_file import (
    FLAG,
    check_kind,
    check_listed,
    read_annotation_file,
    read_categories,
    read_images,
)
from mmpanseg.importers.source_files import ImageFinder, portable
from mmpanseg.importers.source_image import SourceClass, SourceError, SourceImage, SourceObject

_SPLIT = re.compile(r'(?:^|[^a-z])(training|train|validation|valid|val|testing|test)(?:[^a-z]|$)')


def split_of_name(name: str) -> str:
    """Return the split in the name of a file (``instances_train2017.json``), '' if it has none."""
    match = _SPLIT.search(name.lower())
    return match[1] if match else ''


def find_image(finder: ImageFinder, name: str, where: str) -> Path:
    """Return an image that an annotation names; where it is missing, the path where it should be.

    Raises:
        SourceError: several files fit, or no folder exists; the text names the annotation.
    """
    for root in finder.roots:
        # the name itself, before others that differ in case or folder
        path = root / portable(name)
        if path.is_file():
            return path
    try:
        found = finder.find(name)
    except SourceError as error:
        raise SourceError(f'{where}: {error}') from error
    if found is None and not finder.roots:
        raise SourceError(f'{where}: the folder of {name} does not exist; give --images')
    return found or finder.roots[0] / portable(name)


def read_coco_json(path: Path, finder: ImageFinder, split: str = '',
                   kind: Callable[[dict], bool | None] = lambda category: None,
                   prepare: Callable[[dict], object] = lambda content: None,
                   ) -> tuple[list[SourceClass], list[SourceImage]]:
    """Read an instance JSON.

    Args:
        path: the file.
        finder: finds images by their ``file_name``.
        split: split of its images.
        kind: returns whether a category is a thing, None if unknown, where it has no ``isthing``.
        prepare: changes the content of the file before it is checked.

    Returns:
        classes in the order of the file, and images, whose ``data`` is the path of the file and
        their annotations, for :func:`coco_objects`.

    Raises:
        ValueError: the file is broken, or an entry is wrong; the text names file and entry.
    """
    content = read_annotation_file(str(path), ['images', 'annotations', 'categories'], 'instance')
    prepare(content)
    images = read_images(str(path), content['images'])
    names = read_categories(str(path), content['categories'])
    annotations = content['annotations']
    check_listed(str(path), annotations, 'image_id', images, 'images')
    check_listed(str(path), annotations, 'category_id', names, 'categories')
    check_kind(str(path), 'annotation', annotations, 'iscrowd', FLAG,
               [item.get('iscrowd', 0) for item in annotations])
    by_image: dict[Any, list[dict]] = defaultdict(list)
    for item in annotations:
        kept = {key: item[key] for key in ('id', 'segmentation', 'iscrowd') if key in item}
        by_image[item['image_id']].append(dict(kept, category=names[item['category_id']]))
    classes = [SourceClass(item['name'], _is_thing(item, kind), _color(item))
               for item in content['categories']]
    found = []
    for number, image in images.items():
        file = find_image(finder, image['file_name'], f'{path}, image {number!r}')
        found.append(SourceImage(image['file_name'], file, (image['height'], image['width']), split,
                                 data=(path, by_image[number])))
    return classes, found


def coco_objects(image: SourceImage) -> list[SourceObject]:
    """Return the objects of an image of :func:`read_coco_json`.

    Raises:
        SourceError: an annotation has no valid mask.
    """
    path, annotations = image.data
    objects = []
    for item in annotations:
        name = f'annotation {item.get("id")} of image {image.name}'
        segmentation = item.get('segmentation')
        if not segmentation:
            raise SourceError(f'{path}: {name} has no segmentation, only a box; draw masks, or '
                              'remove the annotation')
        if isinstance(segmentation, dict):
            if not {'size', 'counts'} <= set(segmentation) or not isinstance(
                    segmentation['size'], list):
                raise SourceError(f'{path}: {name} has run lengths without "size" or "counts"')
            mask: dict = dict(rle=segmentation)
        else:
            mask = dict(polygons=_polygons(segmentation, f'{path}: {name}'))
        objects.append(SourceObject(item['category'], is_crowd=bool(item.get('iscrowd', 0)),
                                    name=name, **mask))
    return objects


def merge_classes(lists: list[list[SourceClass]]) -> list[SourceClass]:
    """Return the classes of several files, each name once."""
    merged: dict[str, SourceClass] = {}
    for one in lists:
        for item in one:
            merged.setdefault(item.name, item)
    return list(merged.values())


def _polygons(segmentation: Any, where: str) -> list[np.ndarray]:
    try:
        parts = [np.asarray(part, np.float64) for part in segmentation]
    except (TypeError, ValueError) as error:
        raise SourceError(f'{where} has a segmentation that is neither polygons [[x1, y1, x2, y2, '
                          '...], ...] nor run lengths') from error
    if any(part.ndim != 1 or part.size % 2 for part in parts):
        raise SourceError(f'{where} has a polygon that is no list of x1, y1, x2, y2, ...; write x '
                          'and y of every point')
    return [part.reshape(-1, 2) for part in parts]


def _is_thing(category: dict, kind: Callable[[dict], bool | None]) -> bool | None:
    return bool(category['isthing']) if category.get('isthing') in (0, 1) else kind(category)


def _color(category: dict) -> tuple[int, int, int] | None:
    color = category.get('color')
    if isinstance(color, list) and len(color) == 3 and all(
            type(part) is int and 0 <= part <= 255 for part in color):
        return color[0], color[1], color[2]
    return None
