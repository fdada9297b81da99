"""What a reader yields: images of the source, their objects, and the classes.

H, W: height and width of an image in pixels.
"""
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class SourceError(ValueError):
    """The source cannot be imported; the text is one line with file, object and the fix."""


class SourceClass(NamedTuple):
    """A class of the source.

    Args:
        name: its name.
        is_thing: thing or stuff; None where the format does not know.
        color: red, green, blue, 0 .. 255; None: chosen by the writer.
    """

    name: str
    is_thing: bool | None = None
    color: tuple[int, int, int] | None = None


class SourceImage(NamedTuple):
    """An image of the source; it is sent to worker processes, so it must be picklable.

    Args:
        name: relative name in the source, also that of the result, unique within its split. Readers
            pass it as the source has it; the writer makes a safe file name of it.
        path: the image file.
        size: (H, W) of the annotation in pixels, to be compared with the file; None where the
            format does not store it.
        split: name of the source's own split (train, val, test), '' if it has none.
        group: images of one group stay in one split, e.g. frames of a video; '' for the image
            alone.
        data: what :meth:`Reader.read_image` needs, e.g. the annotations of this image or the path
            of their file.
    """

    name: str
    path: Path
    size: tuple[int, int] | None = None
    split: str = ''
    group: str = ''
    data: Any = None


class SourceObject(NamedTuple):
    """An annotated object: a thing, or a part of stuff. Exactly one kind of mask is given.

    Args:
        category: name of its class, one of :meth:`Reader.list_classes`.
        polygons: parts, each an array of points (x, y) [n, 2] in pixels; their union is the mask.
        rle: run lengths of COCO, compressed or not, of the size of the image.
        mask: bool [H, W].
        is_crowd: a group of objects, which is ignored in training.
        instance: objects of one class with the same key are one object; None: it stands alone.
        order: larger covers smaller where the reader is ``ordered``; equal orders: later covers
            earlier.
        name: description for error texts, e.g. ``annotation 17`` or ``shape 3``.
    """

    category: str
    polygons: list[np.ndarray] | None = None
    rle: dict | None = None
    mask: np.ndarray | None = None
    is_crowd: bool = False
    instance: Hashable | None = None
    order: int = 0
    name: str = ''


class MapSegment(NamedTuple):
    """A segment of a :class:`SourceMap`: name of its class, and whether it is a crowd."""

    category: str
    is_crowd: bool = False


class SourceMap(NamedTuple):
    """A map without overlaps, from PNGs of labels or instances.

    Args:
        ids: integer [H, W], at least 0.
        segments: segments by id; pixels with other ids are unlabeled.
    """

    ids: np.ndarray
    segments: Mapping[int, MapSegment]


class LeftOut(NamedTuple):
    """Something in an annotation that has no mask, and so no effect.

    Args:
        what: what it is, the same text for all of a kind, e.g. ``shape of type point``.
        where: file and object.
    """

    what: str
    where: str


class ImageContent(NamedTuple):
    """Everything that is annotated in an image.

    Args:
        objects: objects, which may overlap, in the order of the file.
        base: map below all objects; None where the format has none.
        left_out: what the file has besides, to be counted.
    """

    objects: list[SourceObject] = []
    base: SourceMap | None = None
    left_out: list[LeftOut] = []


def count_left_out(items: Iterable[LeftOut]) -> list[str]:
    """Return one line for each kind of thing that was left out: how many, and where the first."""
    counts: dict[str, int] = {}
    first: dict[str, str] = {}
    for item in items:
        counts[item.what] = counts.get(item.what, 0) + 1
        first.setdefault(item.what, item.where)
    return [f'left out {count} x {what} (first: {first[what]})' for what, count in counts.items()]
