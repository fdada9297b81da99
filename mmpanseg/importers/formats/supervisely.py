"""Supervisely: a project with meta.json and DATASET/img and DATASET/ann, as polygons and bitmaps.

Later objects cover earlier ones. Whole-numbered coordinates are pixels, as in Supervisely's SDK.
"""
import re
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmpanseg.importers.image_folder import list_files
from mmpanseg.importers.reader import Reader, ReadOptions
from mmpanseg.importers.shapes import box_polygon, to_number, to_points
from mmpanseg.importers.source_files import (
    ImageFinder,
    decode_base64,
    decode_mask_png,
    paste_mask,
    read_json,
    upright_size,
)
from mmpanseg.importers.source_image import (
    ImageContent,
    LeftOut,
    SourceClass,
    SourceError,
    SourceImage,
    SourceObject,
)
from mmpanseg.importers.split import known_split
from mmpanseg.structures.polygons import polygons_to_mask

# shapes of classes that never have an area
_WITHOUT_AREA = ('point', 'line', 'graph', 'cuboid', 'cuboid_3d')
# the mask of one object may not need more memory than an image
_MAX_BITMAP_BYTES = 1 << 30


class SuperviselyReader(Reader):
    """Reads the folder of a project; a data set named train, val or test is that split."""

    options = ('images', )
    ordered = True
    upright = True

    def __init__(self, src: Path, options: ReadOptions) -> None:
        super().__init__(src, options)
        self._meta = src / 'meta.json'
        if not self._meta.is_file():
            raise SourceError(f'{self._meta} does not exist; give the folder of the project, which '
                              'has meta.json and a folder for each data set')
        meta = read_json(self._meta)
        found = meta.get('classes') if isinstance(meta, dict) else None
        if not isinstance(found, list) or not all(
                isinstance(item, dict) and isinstance(item.get('title'), str)
                for item in found):
            raise SourceError(f'{self._meta}: "classes" must be a list with a "title" in each')
        self._found: list[dict] = found

    def list_images(self) -> list[SourceImage]:
        images = []
        folders = sorted(path for path in self.src.rglob('ann') if path.is_dir())
        for folder in folders:
            data_set = folder.parent.relative_to(self.src)
            finder = ImageFinder(filter(None, (
                folder.parent / 'img', self.read_options.images)))
            for file in list_files(folder, ('.json', )):
                # a.jpg.json, in old exports a.json
                name = file.relative_to(folder).with_suffix('').as_posix()
                path = finder.locate(name, str(file))
                split = next((split for part in data_set.parts if (split := known_split(part))), '')
                # the split has the name of the data set already
                place = Path(*(part for part in data_set.parts
                               if part != 'datasets' and not known_split(part)))
                images.append(SourceImage((place / Path(name).parent / path.name).as_posix(),
                                          path, split=split, data=file))
        if not images:
            raise SourceError(f'{self.src}: no annotation in a folder "ann"; give the folder of '
                              'the project')
        return images

    def list_classes(self) -> list[SourceClass]:
        return [SourceClass(item['title'], color=_color(item)) for item in self._found
                if item.get('shape') not in _WITHOUT_AREA]

    def read_image(self, image: SourceImage) -> ImageContent:
        content = read_json(image.data)
        size, objects = _parts(content, image.data)
        found = upright_size(image.path)
        if sorted(size) != sorted(found):
            raise SourceError(f'{image.path} is {found[1]}x{found[0]}, its annotation {image.data} '
                              f'is for {size[1]}x{size[0]}; give the images that were annotated')
        result = ImageContent([], None, [])
        for number, item in enumerate(objects, 1):
            where = f'{image.data}, object {number}'
            if not isinstance(item, dict) or not isinstance(item.get('classTitle'), str):
                raise SourceError(f'{where}: it has no classTitle')
            where += f' ({item["classTitle"]})'
            mask = self._mask(item, size, where, result.left_out)
            if mask is not None:
                result.objects.append(SourceObject(item['classTitle'], mask=mask,
                                                   name=f'object {number}'))
        return result

    def _mask(self, item: dict, size: tuple[int, int], where: str,
              left_out: list[LeftOut]) -> np.ndarray | None:
        kind = item.get('geometryType') or next(
            (entry.get('shape') for entry in self._found if entry['title'] == item['classTitle']),
            None)
        if kind == 'any':
            kind = 'bitmap' if item.get('bitmap') else 'polygon'
        if kind == 'bitmap':
            return _bitmap(item.get('bitmap'), size, where)
        if kind not in ('polygon', 'rectangle'):
            left_out.append(LeftOut(f'object of type {kind}, which has no area here', where))
            return None
        points = item.get('points')
        if not isinstance(points, dict):
            raise SourceError(f'{where}: it has no points')
        outer = to_points(points.get('exterior'), where)
        if kind == 'rectangle':
            if len(outer) != 2:
                raise SourceError(f'{where}: a rectangle has 2 points, not {len(outer)}')
            outer = box_polygon(*outer[0], *outer[1])
        elif len(outer) < 3:
            left_out.append(LeftOut('polygon of fewer than 3 points', where))
            return None
        rings = points.get('interior') or []
        if not isinstance(rings, list):
            raise SourceError(f'{where}: its interior must be a list of holes')
        holes = [to_points(ring, f'{where}, hole {number}') for number, ring in enumerate(rings, 1)]
        return _fill(outer, [ring for ring in holes if len(ring)], size)


def _parts(content: Any, path: Path) -> tuple[tuple[int, int], list]:
    """Return (H, W) and objects of an annotation."""
    size = content.get('size') if isinstance(content, dict) else None
    if not isinstance(size, dict) or not isinstance(content.get('objects'), list):
        raise SourceError(f'{path}: no annotation of Supervisely, which has "size" and "objects"')
    return ((int(to_number(size.get('height'), f'{path}: size.height')),
             int(to_number(size.get('width'), f'{path}: size.width'))), content['objects'])


def _color(item: dict) -> tuple[int, int, int] | None:
    color = re.fullmatch('#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})',
                         str(item.get('color', '')).strip().lower())
    return None if color is None else (int(color[1], 16), int(color[2], 16), int(color[3], 16))


def _fill(outer: np.ndarray, holes: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Fill a polygon with holes, bool [H, W].

    Whole numbers are pixels: those on the outline belong to the polygon, those on the outline of a
    hole to the hole. Other numbers are places, 0 is the edge of the image.
    """
    rings = [outer, *holes]
    if not all((ring == np.round(ring)).all() for ring in rings):
        mask = polygons_to_mask([outer], size)
        return mask & ~polygons_to_mask(holes, size) if holes else mask
    canvas = np.zeros(size, np.uint8)
    cv2.fillPoly(canvas, [outer.astype(np.int32)], 1)
    for ring in holes:
        cv2.fillPoly(canvas, [ring.astype(np.int32)], 0)
    return canvas.astype(bool)


def _bitmap(bitmap: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """Decode a bitmap: an image, compressed by zlib, in base64, at its origin (x, y)."""
    if not isinstance(bitmap, dict) or not isinstance(bitmap.get('data'), str):
        raise SourceError(f'{where}: its bitmap has no "data"')
    origin = to_points([bitmap.get('origin')], f'{where}: origin')
    if len(origin) != 1:
        raise SourceError(f'{where}: its bitmap has no origin (x, y)')
    try:
        data = zlib.decompressobj().decompress(
            decode_base64(bitmap['data'], f'{where}: its bitmap'), _MAX_BITMAP_BYTES)
    except zlib.error as error:
        raise SourceError(f'{where}: its bitmap is damaged ({error}); export it again') from None
    mask = decode_mask_png(data, f'{where}: its bitmap')
    left, top = np.floor(origin[0]).astype(int).tolist()
    return paste_mask(mask, left, top, size)


READER = SuperviselyReader
