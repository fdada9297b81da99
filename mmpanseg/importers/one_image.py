"""Import of one image, in a worker process: file, map and entries of the JSONs."""
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmpanseg.importers.reader import Reader
from mmpanseg.importers.source_image import ImageContent, SourceError, SourceImage
from mmpanseg.importers.work_folder import WORK
from mmpanseg.importers.write_panoptic import (
    FlatSegment,
    add_background,
    flatten,
    instance_entries,
    map_segments,
    object_layers,
    write_labels,
    write_segments,
)
from mmpanseg.structures.exif_orientation import inverse_orientation, oriented_size
from mmpanseg.structures.image_file import IMAGE_SUFFIXES, read_header
from mmpanseg.utils.atomic_files import FileWriteError, result_file

PLACEMENTS = ('copy', 'hardlink', 'symlink')


class Task(NamedTuple):
    """An image to import: key in the record, split and safe relative name, and the source."""

    key: str
    split: str
    name: str
    image: SourceImage


class Context(NamedTuple):
    """What all images have in common; it is sent to each worker process once.

    Args:
        reader: the reader.
        folder: DST.
        names: name of a class in the source -> in the result, None where it is left out.
        ids: category id by class name.
        things: names of thing classes.
        task: 'panoptic' or 'semantic'.
        background: stuff class of unlabeled pixels, or None.
        placement: one of :data:`PLACEMENTS`.
        min_area: segments of things with fewer visible pixels become void.
        skip_errors: an image with an error is left out and reported.
    """

    reader: Reader
    folder: Path
    names: Mapping[str, str | None]
    ids: Mapping[str, int]
    things: frozenset[str]
    task: str
    background: str | None
    placement: str
    min_area: int
    skip_errors: bool


def import_image(task: Task, context: Context) -> dict:
    """Import an image.

    Returns:
        entry of the record: key; image, segments, instances, and counts of what was left out; or
        key and error.

    Raises:
        SourceError: image or annotation are missing or wrong, unless ``skip_errors``.
        FileWriteError: a file cannot be written.
    """
    try:
        try:
            return _import_image(task, context)
        except (SourceError, FileWriteError):
            raise
        except (ValueError, OSError) as error:
            # errors of shared readers name the file
            raise SourceError(' '.join(str(error).split())) from error
    except SourceError as error:
        if not context.skip_errors:
            raise
        return dict(key=task.key, error=str(error))


def _import_image(task: Task, context: Context) -> dict:
    image, reader = task.image, context.reader
    stored, orientation = _read_header(image.path)
    if image.size is not None:
        # before masks of that size are made
        _annotation_turn(image, image.size, stored, orientation, reader.upright)
    content = reader.read_image(image)
    where = str(image.data) if isinstance(image.data, Path) else str(image.path)
    size = image.size or _annotated_size(content)
    turn = _annotation_turn(image, size, stored, orientation, reader.upright)
    frame = stored if turn == 1 else oriented_size(stored, orientation)
    layers, outside = object_layers(content, frame, context.names, where, turn)
    base = map_segments(content, frame, context.names, where, turn)
    flat = flatten(layers, base, stored, context.things, reader.ordered)
    kept, small = flat.segments, 0
    if context.min_area > 1:
        areas = np.bincount(flat.index_map.ravel(), minlength=len(kept) + 1)[1:]
        keep = [segment.category not in context.things or area >= context.min_area
                for segment, area in zip(kept, areas.tolist())]
        table = np.zeros(len(kept) + 1, np.int32)
        table[1:][keep] = np.arange(1, sum(keep) + 1)
        small = len(keep) - sum(keep)
        flat = flat._replace(index_map=table[flat.index_map], segments=[
            segment for segment, ok in zip(kept, keep) if ok])
    if context.background is not None:
        flat = add_background(flat, context.background)
    file = inside(context.folder, image_file(task, context))
    entry: dict = dict(
        key=task.key,
        image=dict(file_name=task.name, height=stored[0], width=stored[1]),
        outside=outside, hidden=flat.hidden, small=small,
        left_out=[list(item) for item in content.left_out])
    target = inside(context.folder, map_file(task, context))
    if context.task == 'semantic':
        entry['areas'] = write_labels(flat, target, context.ids)
    else:
        entry['segments'] = write_segments(flat, target, context.ids)
        entry['instances'] = _instances(layers, base, context)
    place_image(image.path, file, context.placement)
    return entry


def _instances(layers: list, base: tuple[np.ndarray, list[FlatSegment]] | None,
               context: Context) -> list[dict]:
    entries = instance_entries(layers, base, context.things, context.ids)
    return [entry for entry in entries if entry['area'] >= context.min_area]


def image_file(task: Task, context: Context) -> Path:
    """Return the image file of the result."""
    return context.folder / 'images' / task.split / task.name


def map_file(task: Task, context: Context) -> Path:
    """Return the panoptic PNG or the label map of the result."""
    folder = f'labels/{task.split}' if context.task == 'semantic' else f'panoptic_{task.split}'
    return context.folder / folder / map_name(task.name)


def map_name(name: str) -> str:
    """Return the name of the map of an image."""
    return Path(name).with_suffix('.png').as_posix()


def result_name(image: SourceImage) -> str:
    """Return the wanted name of an image, with the ending of its file in lower case."""
    ending = image.path.suffix.lower()
    name = image.name
    if name.lower().endswith(IMAGE_SUFFIXES):
        name = name[:name.rindex('.')]
    return name + ending


def place_image(source: Path, target: Path, placement: str) -> None:
    """Copy or link an image file.

    Raises:
        FileWriteError: the file cannot be written, or links are not possible there.
    """
    try:
        with result_file(target) as part:
            if placement == 'copy' or WORK in source.parts:
                shutil.copyfile(source, part)
            elif placement == 'hardlink':
                os.link(source.resolve(), part)
            else:
                part.symlink_to(source.resolve())
    except FileWriteError as error:
        hint = '' if placement == 'copy' else '; --images-by copy works everywhere'
        raise FileWriteError(f'{error}{hint}') from error


def inside(folder: Path, path: Path) -> Path:
    """Return a path, after a check that no link leads out of the folder.

    Raises:
        SourceError: it does.
    """
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise SourceError(f'{path.parent} is a link that leads out of {folder}; remove it')
    return path


def _read_header(path: Path) -> tuple[tuple[int, int], int]:
    """Return (H, W) of an image as stored, and its EXIF orientation."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SourceError(f'{path} does not exist; add the image or remove its annotation, or name '
                          'the folder of the images with --images') from None
    except OSError as error:
        raise SourceError(f'{path} cannot be read: {(error.strerror or str(error)).lower()}'
                          ) from error
    header = read_header(data)
    if header is None:
        raise SourceError(f'{path} is {"an empty file" if not data else "no readable image"}; '
                          'write it again or remove it with its annotation')
    return header.size, header.orientation


def _annotated_size(content: ImageContent) -> tuple[int, int] | None:
    """Return (H, W) that the annotation itself has; None for polygons."""
    if content.base is not None:
        height, width = content.base.ids.shape
        return height, width
    for item in content.objects:
        if item.mask is not None:
            return item.mask.shape[0], item.mask.shape[1]
        if item.rle is not None and len(item.rle.get('size', ())) == 2:
            return tuple(item.rle['size'])
    return None


def _annotation_turn(image: SourceImage, size: tuple[int, int] | None, stored: tuple[int, int],
                     orientation: int, upright: bool) -> int:
    """Return the orientation that turns the annotation to the stored pixels, 1 .. 8."""
    turned = oriented_size(stored, orientation)
    if size is not None and tuple(size) not in (stored, turned):
        raise SourceError(
            f'{image.path} is {stored[1]}x{stored[0]}, its annotation is for {size[1]}x{size[0]}; '
            'give the images that were annotated')
    if orientation == 1 or (turned != stored and size is not None and tuple(size) == stored):
        return 1
    if (turned != stored and size is not None) or upright:
        return inverse_orientation(orientation)
    return 1
