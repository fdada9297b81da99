"""Repairs that need the content of maps: PNGs of segments, and label maps."""
import io
import os.path as osp
from collections import Counter
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from mmpanseg.datasets.base import with_slashes
from mmpanseg.doctor.fixes.list_fixes import Repaired
from mmpanseg.doctor.fixes.object_fixes import is_box
from mmpanseg.doctor.pixels.map_runs import MapRuns
from mmpanseg.doctor.pixels.object_geometry import is_number
from mmpanseg.doctor.pixels.png_file import GRAY, GRAY_ALPHA, PALETTE, RGBA, SIGNATURE, read_png
from mmpanseg.doctor.pixels.segment_checks import is_interpolated
from mmpanseg.doctor.source import Source
from mmpanseg.structures.exif_orientation import oriented_size
from mmpanseg.structures.image_file import file_header
from mmpanseg.structures.label_image import distinct_values
from mmpanseg.structures.map_segments import find_segments
from mmpanseg.structures.panoptic_png import (
    MAX_SEGMENT_ID,
    id2rgb,
    read_panoptic_png,
    rgb2id,
    write_panoptic_png,
)
from mmpanseg.utils.atomic_files import result_file


class MapTask(NamedTuple):
    """A map to repair.

    Attributes:
        path: path of the map.
        target: where a repaired map is written.
        image_path: path of its image; '' for label maps.
        size: (height, width) in the JSON; None if it is unknown.
        segments: ``segments_info``; () for label maps.
    """

    path: str
    target: str
    image_path: str = ''
    size: tuple[Any, Any] | None = None
    segments: tuple[dict, ...] = ()


class MapResult(NamedTuple):
    """Result of a task.

    Attributes:
        repaired: number of repairs by id of the check.
        size: corrected (height, width) of the image; None for no change.
        segments: corrected ``segments_info``; None for no change.
    """

    repaired: Repaired
    size: tuple[int, int] | None = None
    segments: list[dict] | None = None


class _Map(NamedTuple):
    """Ids of a PNG.

    Attributes:
        ids: int32 [H, W].
        check: id of the check that its coding violates; '' for none.
    """

    ids: np.ndarray
    check: str = ''


def panoptic_task(source: Source, image: dict, annotation: dict, target: str) -> MapTask | None:
    """Collect what is known of the map of an image; None if its entries are not usable.

    Args:
        source: the source.
        image: entry of "images".
        annotation: entry of "annotations".
        target: folder for repaired maps.
    """
    image_name, name = image.get('file_name'), annotation.get('file_name')
    segments = annotation.get('segments_info')
    if not isinstance(image_name, str) or not isinstance(name, str) or not isinstance(
            segments, list):
        return None
    if not all(isinstance(segment, dict) and type(segment.get('id')) is int
               for segment in segments):
        return None
    image_name, name = with_slashes(image_name), with_slashes(name)
    if osp.isabs(name) or '..' in name.split('/'):
        return None  # a repaired map would be written outside of the copy
    return MapTask(osp.join(source.seg_prefix, name), osp.join(target, name),
                   osp.join(source.img_prefix, image_name),
                   (image.get('height'), image.get('width')), tuple(segments))


def fix_panoptic_map(task: MapTask) -> MapResult:
    """Repair the segments of an image by its PNG, and the coding of the PNG.

    A PNG that cannot be read, that has another size than the image, that is interpolated, or whose
    ids cannot be assigned, changes nothing.
    """
    found = _read_map(task)
    header = file_header(task.image_path)
    repaired: Repaired = Counter()
    if found is None or header is None:
        return MapResult(repaired)
    shape = found.ids.shape
    sizes = header.size, oriented_size(header.size, header.orientation)
    if shape not in sizes or is_interpolated(MapRuns(found.ids))[0]:
        return MapResult(repaired)
    size = None
    if task.size not in sizes:
        size = shape[0], shape[1]
        repaired.update(_size_checks(task.size))
    if found.check:
        write_panoptic_png(task.target, found.ids)
        repaired[found.check] += 1
    segments = _fix_segments(found.ids, [dict(segment) for segment in task.segments], repaired)
    return MapResult(repaired, size, segments)


def fix_label_map(task: MapTask) -> MapResult:
    """Write a label map whose channels are equal with one channel."""
    repaired: Repaired = Counter()
    try:
        with Image.open(task.path) as image:
            values = np.asarray(image)
    except Exception:
        return MapResult(repaired)  # Pillow raises errors of many types for damaged files
    if values.ndim != 3 or values.dtype != np.uint8:
        return MapResult(repaired)
    colors = values[..., :3] if values.shape[2] > 2 else values[..., :1]
    opaque = values.shape[2] % 2 == 1 or (values[..., -1] == 255).all()
    if opaque and (colors == colors[..., :1]).all():
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(colors[..., 0])).save(file, 'PNG')
        with result_file(task.target) as part:
            part.write_bytes(file.getvalue())
        repaired['PAN221'] += 1
    return MapResult(repaired)


def _size_checks(size: tuple[Any, Any] | None) -> set[str]:
    """Return the checks that a size which is not that of the image violates."""
    sides = size or (None, None)
    found = {'PAN006' if side is None else 'PAN007' if type(side) is not int else 'PAN008'
             for side in sides if type(side) is not int or side < 1}
    return found or {'PAN105'}


def _read_map(task: MapTask) -> _Map | None:
    """Read ids, also those that are coded in another way; None if that is not possible."""
    try:
        with open(task.path, 'rb') as file:
            data = file.read()
    except OSError:
        return None
    # OpenCV decodes the beginning of a file that is cut off
    if not data.startswith(SIGNATURE):
        return None
    png = read_png(data)
    if png.damage:
        return None
    listed = {segment['id'] for segment in task.segments}
    try:
        if png.color == PALETTE:
            by_color, by_index = read_panoptic_png(task.path), _plain_values(data)
            index = _has_ids(by_index, listed) and not _has_ids(by_color, listed)
            return _Map(by_index if index else by_color, 'PAN207')
        if png.color in (GRAY, GRAY_ALPHA):
            values = _plain_values(data)
            check = 'PAN205' if png.bits == 16 else 'PAN204'
            return _Map(values, check) if _has_ids(values, listed) else None
        if png.bits == 16:
            return _deep_map(data, listed)
        ids = read_panoptic_png(task.path)
        values = distinct_values(ids)
        swapped = rgb2id(id2rgb(values)[:, ::-1])
        if not _has_ids(values, listed) and _has_ids(swapped, listed):
            return _Map(swapped[np.searchsorted(values, ids)], 'PAN210')
        return _Map(ids, 'PAN206' if png.color == RGBA else '')
    except (ValueError, OSError, cv2.error, SyntaxError):
        return None


def _plain_values(data: bytes) -> np.ndarray:
    values = np.asarray(Image.open(io.BytesIO(data)))
    return (values if values.ndim == 2 else values[..., 0]).astype(np.int32)


def _deep_map(data: bytes, listed: set[int]) -> _Map | None:
    """Read a PNG with three channels of 16 bits, whose values are those of 8 bits or scaled."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3:
        return None
    colors = image[..., 2::-1].astype(np.uint16)
    for values in (colors, colors // 256):
        if values.max(initial=0) < 256:
            ids = rgb2id(values.astype(np.uint8))
            if _has_ids(ids, listed):
                return _Map(ids, 'PAN205')
    return None


def _has_ids(values: np.ndarray, listed: set[int]) -> bool:
    """Return whether the values are exactly the ids of the JSON, and perhaps 0."""
    return bool(listed) and set(distinct_values(values).tolist()) - {0} == listed - {0}


def _fix_segments(ids: np.ndarray, segments: list[dict], repaired: Repaired) -> list[dict] | None:
    """Repair segments by the pixels.

    Args:
        ids: int32 [H, W].
        segments: ``segments_info``, whose dicts are changed.
        repaired: counts the changes.

    Returns:
        the segments; None if nothing was changed.
    """
    before = sum(repaired.values())
    found = find_segments(ids)
    pixels = {number: (area, [x1, y1, x2 - x1, y2 - y1]) for number, area, (x1, y1, x2, y2) in zip(
        found.ids.tolist(), found.areas.tolist(), found.boxes.tolist()) if number}
    segments = _renumber_segments(segments, pixels, repaired)
    listed = {segment['id'] for segment in segments}
    # where the map has other ids, too, it may be that of another image
    if pixels and pixels.keys() <= listed:
        kept = [segment for segment in segments
                if segment['id'] in pixels or not 0 < segment['id'] <= MAX_SEGMENT_ID]
        repaired['PAN211'] += len(segments) - len(kept)
        segments = kept
    counts = Counter(segment['id'] for segment in segments)
    for segment in segments:
        if segment['id'] in pixels and counts[segment['id']] == 1:
            area, box = pixels[segment['id']]
            for key, value, check, right in (('area', area, 'PAN212', is_number),
                                             ('bbox', box, 'PAN213', is_box)):
                given = segment.get(key)
                if given != value:
                    segment[key] = value
                    repaired['PAN047' if given is None else check if right(given) else 'PAN007'
                             ] += 1
            if 'iscrowd' not in segment:
                segment['iscrowd'] = 0
                repaired['PAN047'] += 1
    return segments if sum(repaired.values()) > before else None


def _renumber_segments(segments: list[dict], pixels: dict[int, tuple[int, list[int]]],
                       repaired: Repaired) -> list[dict]:
    """Remove copies of segments, and renumber those of one id where the pixels decide."""
    by_id: dict[int, list[dict]] = {}
    for segment in segments:
        by_id.setdefault(segment['id'], []).append(segment)
    unlisted = [number for number in pixels if number not in by_id]
    removed: set[int] = set()
    for number, same in by_id.items():
        if len(same) == 1 or number not in pixels:
            continue
        kinds = {(repr(s.get('category_id')), repr(s.get('iscrowd', 0))) for s in same}
        if len(kinds) == 1 and not any(_fits(s, pixels[n]) for s in same for n in unlisted):
            copies = same[1:]
        else:
            copies = _assign(number, same, pixels, unlisted)
        repaired['PAN022'] += len(copies)
        removed |= {id(segment) for segment in copies if segment['id'] == number}
    return [segment for segment in segments if id(segment) not in removed]


def _assign(number: int, same: list[dict], pixels: dict[int, tuple[int, list[int]]],
            unlisted: list[int]) -> list[dict]:
    """Assign segments of one id to ids of the map by area and box, which must fit exactly.

    Args:
        number: the id.
        same: its segments; those of another id are changed.
        pixels: area and box by id of the map.
        unlisted: ids of the map without a segment; those that are assigned are removed.

    Returns:
        the segments that were renumbered, and those without pixels, whose id is the old one; none
        if the pixels do not decide.
    """
    fitting = [[n for n in (number, *unlisted) if _fits(segment, pixels[n])] for segment in same]
    chosen = [options[0] for options in fitting if options]
    if max(map(len, fitting)) > 1 or len(set(chosen)) < len(chosen) or number not in chosen:
        return []
    if len(chosen) < len(same) and unlisted != [n for n in unlisted if n in chosen]:
        return []
    changed = []
    for segment, options in zip(same, fitting):
        if options and options[0] != number:
            segment['id'] = options[0]
            unlisted.remove(options[0])
        if options != [number]:
            changed.append(segment)
    return changed


def _fits(segment: dict, found: tuple[int, list[int]]) -> bool:
    area, box = found
    return segment.get('area') == area and segment.get('bbox') == box
