"""The XML of CVAT for images 1.1. A shape with a larger z_order covers one with a smaller."""
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from mmpanseg.importers.shapes import (
    box_polygon,
    ellipse_polygon,
    keep_area,
    rotate,
    to_number,
    to_points,
)
from mmpanseg.importers.source_files import paste_mask
from mmpanseg.importers.source_image import (
    ImageContent,
    LeftOut,
    SourceClass,
    SourceError,
    SourceObject,
)

# kinds of labels that never have an area
_KINDS_WITHOUT_AREA = ('tag', 'points', 'polyline', 'skeleton', 'cuboid')
_CROWD_ATTRIBUTES = ('iscrowd', 'is_crowd', 'crowd')


class Shape(NamedTuple):
    """A shape as it is in the file: its tag, its attributes in XML, and those of its label."""

    tag: str
    values: dict[str, str]
    attributes: dict[str, str]


class XmlImage(NamedTuple):
    """An image of the XML.

    Args:
        name: name of the image in CVAT.
        size: (H, W).
        subset: subset of the project, '' for none.
        file: the XML.
        shapes: its shapes.
    """

    name: str
    size: tuple[int, int]
    subset: str
    file: Path
    shapes: tuple[Shape, ...]


def read_xml(path: Path) -> tuple[list[XmlImage], list[SourceClass]] | None:
    """Read all images and labels of a file; None if it is an XML of another kind.

    Raises:
        SourceError: it is no XML, an export for video, or an image has no name or size.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise SourceError(f'{path} is no XML ({error}); export it again') from None
    if root.tag != 'annotations':
        return None
    if root.find('track') is not None:
        raise SourceError(f'{path} is an export of "CVAT for video"; export it as "CVAT for images '
                          '1.1"')
    return [_image(element, path) for element in root.iter('image')], list(_labels(root))


def read_shapes(image: XmlImage) -> ImageContent:
    """Convert the shapes of an image.

    Raises:
        SourceError: a value of a shape is missing or wrong.
    """
    result = ImageContent([], None, [])
    for number, shape in enumerate(image.shapes, 1):
        label = shape.values.get('label', '')
        where = f'{image.file}, image {image.name}, {shape.tag} {number}'
        if not label:
            raise SourceError(f'{where}: it has no label')
        where += f' ({label})'
        mask = _mask_of(shape, image, where, result.left_out)
        if mask is None:
            continue
        group = shape.values.get('group_id', '0')
        result.objects.append(SourceObject(
            label, **mask, name=f'{shape.tag} {number}',
            instance=None if group in ('', '0') else group,
            order=int(to_number(shape.values.get('z_order', 0), f'{where}: z_order')),
            is_crowd=any(shape.attributes.get(name, '').lower() in ('1', 'true')
                         for name in _CROWD_ATTRIBUTES)))
    return result


def _image(element: ElementTree.Element, path: Path) -> XmlImage:
    name = element.get('name')
    if not name:
        raise SourceError(f'{path}: the image with the id {element.get("id")} has no name')
    height, width = (int(to_number(element.get(key), f'{path}, image {name}: {key}'))
                     for key in ('height', 'width'))
    shapes = tuple(
        Shape(child.tag, dict(child.attrib),
              {item.get('name', '').lower(): (item.text or '').strip()
               for item in child.iter('attribute')})
        for child in element)
    return XmlImage(name, (height, width), element.get('subset') or '', path, shapes)


def _labels(root: ElementTree.Element) -> Iterator[SourceClass]:
    """Yield the labels of the task, or of the project."""
    for label in root.iter('label'):
        name, kind = (label.findtext('name') or '').strip(), label.findtext('type') or 'any'
        # parts of a skeleton have a parent
        if name and kind not in _KINDS_WITHOUT_AREA and not label.findtext('parent'):
            color = re.fullmatch('#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})',
                                 (label.findtext('color') or '').strip())
            yield SourceClass(name, color=None if color is None else (
                int(color[1], 16), int(color[2], 16), int(color[3], 16)))


def _mask_of(shape: Shape, image: XmlImage, where: str,
             left_out: list[LeftOut]) -> dict[str, Any] | None:
    """Return the mask of a shape as an argument of :class:`SourceObject`; None if it has none."""

    def value(key: str, default: float | None = None) -> float:
        return to_number(shape.values.get(key, default), f'{where}: {key}')

    if shape.tag == 'mask':
        return dict(mask=_bitmap(shape, image, where))
    if shape.tag == 'polygon':
        pairs = shape.values.get('points', '').strip().strip(';')
        points = to_points([pair.split(',') for pair in pairs.split(';')] if pairs else [], where)
    elif shape.tag == 'box':
        points = box_polygon(value('xtl'), value('ytl'), value('xbr'), value('ybr'))
        center = points.mean(0)
        points = rotate(points, value('rotation', 0), (center[0], center[1]))
    elif shape.tag == 'ellipse':
        points = ellipse_polygon(value('cx'), value('cy'), abs(value('rx')), abs(value('ry')),
                                 value('rotation', 0))
    else:
        left_out.append(LeftOut(f'{shape.tag}, which has no area', where))
        return None
    return dict(polygons=[points]) if keep_area(points, where, left_out.append) else None


def _bitmap(shape: Shape, image: XmlImage, where: str) -> np.ndarray:
    """Decode run lengths along the rows of a box; the first one is outside of the mask."""
    left, top, width, height = (int(to_number(shape.values.get(key), f'{where}: {key}'))
                                for key in ('left', 'top', 'width', 'height'))
    try:
        counts = np.array(shape.values.get('rle', '').replace(',', ' ').split(), np.int64)
    except (ValueError, OverflowError):
        raise SourceError(f'{where}: its rle must be whole numbers') from None
    if min(width, height) < 0 or (counts < 0).any() or counts.sum() != width * height:
        raise SourceError(f'{where}: its rle has {counts.sum()} pixels, its box {width}x{height} '
                          f'has {width * height}; export the annotation again')
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return paste_mask(inside.reshape(height, width), left, top, image.size)
