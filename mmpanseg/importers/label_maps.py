"""Maps of labels or instances in PNGs: gray, with a palette, or color-coded; objects in them.

H, W: height and width of an image in pixels.
"""
import itertools
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mmpanseg.importers.class_table import TableClass, find_class_table, read_class_table
from mmpanseg.importers.source_image import MapSegment, SourceError, SourceMap
from mmpanseg.structures.label_image import distinct_values

# maps whose values are listed where names of classes are missing
_LISTED_MAPS = 20


def read_values(path: Path, table: Sequence[TableClass] = ()) -> np.ndarray:
    """Read the values of a map.

    A color-coded map, or one whose palette has the colors of the table, gives the values of the
    classes of these colors.

    Args:
        path: an image without loss: PNG, BMP, TIFF.
        table: classes with their values and, for color-coded maps, colors.

    Returns:
        integer [H, W].

    Raises:
        SourceError: the file is missing or no image, or has colors that no class has.
    """
    try:
        with Image.open(path) as image:
            if image.format == 'JPEG':
                raise SourceError(f'{path} is a JPEG file, whose compression changes values; '
                                  'export the maps as PNG')
            by_color = {row.color: row.value for row in table if row.color is not None}
            if image.mode == '1':
                return np.asarray(image).astype(np.uint8)
            if image.mode == 'P':
                if by_color and _has_palette_of(image, by_color):
                    return _from_colors(np.asarray(image.convert('RGB')), by_color, path)
                return np.asarray(image)
            if image.mode in ('RGB', 'RGBA', 'LA', 'PA'):
                colors = np.asarray(image.convert('RGB'))
                if by_color:
                    return _from_colors(colors, by_color, path)
                if (colors[..., :1] == colors).all():
                    return colors[..., 0]
                raise SourceError(f'{path} is color-coded; give the color of each class with '
                                  '--classes FILE (lines "R G B name")')
            values = np.asarray(image)
    except FileNotFoundError:
        raise SourceError(f'{path} does not exist') from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise SourceError(f'{path} is no readable image; write it again') from error
    if values.ndim != 2 or values.dtype.kind not in 'iu' or values.min(initial=0) < 0:
        raise SourceError(f'{path} has values of the type {values.dtype}; a map of labels has '
                          'integers of 8 or 16 bits')
    return values


def _has_palette_of(image: Image.Image, by_color: Collection[tuple[int, int, int]]) -> bool:
    """Return whether every color that an image with a palette uses is one of the table."""
    palette = np.array(image.getpalette('RGB') or [], np.uint8).reshape(-1, 3)
    used = distinct_values(np.asarray(image))
    return used[-1] < len(palette) and all(
        tuple(palette[value].tolist()) in by_color for value in used.tolist())


def _from_colors(colors: np.ndarray, by_color: dict[tuple[int, int, int], int],
                 path: Path) -> np.ndarray:
    codes = colors.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    known = np.array([r << 16 | g << 8 | b for r, g, b in by_color], np.int32)
    order = np.argsort(known)
    place = np.searchsorted(known[order], codes).clip(max=len(known) - 1)
    wrong = known[order][place] != codes
    if wrong.any():
        y, x = np.argwhere(wrong)[0].tolist()
        raise SourceError(
            f'{path}: {int(wrong.sum())} pixels have colors of no class, the first is '
            f'{colors[y, x].tolist()} at x={x}, y={y}; add it to the file of classes, or export '
            'the map without smoothing and compression')
    return np.array([*by_color.values()], np.int32)[order][place]


def class_table(src: Path, given: Path | None, maps: Iterable[Path],
                folders: Iterable[Path] = ()) -> list[TableClass]:
    """Read the file of classes of a source.

    Args:
        src: folder of the source, where the file is searched.
        given: file that the user gave, or None.
        maps: label maps, some of which are read where the file is missing.
        folders: further folders to search.

    Raises:
        SourceError: there is no file; the text has the values in the maps.
    """
    path = given or next(filter(None, map(find_class_table, (src, *folders))), None)
    if path is not None:
        return read_class_table(path)
    values: set[int] = set()
    for map_path in itertools.islice(maps, _LISTED_MAPS):
        values |= set(distinct_values(read_values(map_path)).tolist())
    listed = ', '.join(map(str, sorted(values)[:40]))
    raise SourceError(f'{src} has no file of class names (classes.txt); give one with --classes: '
                      f'lines "value name" for the values {listed}')


def label_names(values: np.ndarray, table: Sequence[TableClass], ignore: Collection[int],
                path: Path) -> dict[int, str]:
    """Return the class name of each value that is present, without ignored values.

    Args:
        values: distinct values.
        table: the classes; what it lists is not ignored.
        ignore: values of unlabeled pixels.
        path: the map, for error texts.

    Raises:
        SourceError: a value is no class.
    """
    names = {row.value: row.name for row in table}
    unknown = [value for value in values.tolist() if value not in names and value not in ignore]
    if unknown:
        raise SourceError(f'{path} has the value(s) {", ".join(map(str, unknown[:8]))}, which are '
                          'no class of the file of classes; add them, or make them unlabeled with '
                          f'--ignore {unknown[0]}')
    return {value: names[value] for value in values.tolist() if value in names}


def component_map(values: np.ndarray, names: dict[int, str],
                  things: Collection[str]) -> SourceMap:
    """Make a map whose things are 8-connected components, and whose stuff are whole classes.

    Objects of a class that touch are one object.

    Args:
        values: value of each pixel, integer [H, W].
        names: class name of each value; other values are unlabeled.
        things: names of thing classes.
    """
    if not any(name in things for name in names.values()):
        return SourceMap(values, {value: MapSegment(name) for value, name in names.items()})
    ids = np.zeros(values.shape, np.int32)
    segments: dict[int, MapSegment] = {}
    for value, name in names.items():
        mask = (values == value).astype(np.uint8)
        count, parts = (cv2.connectedComponents(mask, connectivity=8) if name in things
                        else (2, mask))
        first = len(segments)
        np.add(parts, first, out=ids, where=mask > 0, casting='unsafe')
        segments.update({first + part: MapSegment(name) for part in range(1, count)})
    return SourceMap(ids, segments)
