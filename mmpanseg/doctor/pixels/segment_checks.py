"""Checks of the segments of a panoptic map, without a mask of any segment. H, W: map size."""
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from mmpanseg.doctor.pixels.image_problems import ImageProblems, some
from mmpanseg.doctor.pixels.map_runs import SEAM, MapRuns
from mmpanseg.doctor.pixels.pieces import far_parts

# In maps of COCO and CamVid 0 to 7 % of the boundaries look interpolated, and 24 % or more in the
# same maps resized with bilinear, bicubic or area interpolation.
BLENDED_SHARE, MIN_BOUNDARIES = 0.15, 16
# from this share of an image on
VOID_SHARE, CROWD_SHARE = 0.5, 0.25
# more unlisted ids than this are one problem
_LISTED = 20


class MapStatistics(NamedTuple):
    """What the checks of the whole set need of a map.

    Attributes:
        pixels: category -> number of pixels.
        segments: category -> number of segments that are no crowds.
        void_share: share of void pixels, 0 .. 1; None without a map.
        crowd_share: share of crowd pixels, 0 .. 1; None without a map.
        num_segments: number of segments that training uses.
    """

    pixels: dict[Any, int] = {}
    segments: dict[Any, int] = {}
    void_share: float | None = None
    crowd_share: float | None = None
    num_segments: int = 0


def is_interpolated(runs: MapRuns) -> tuple[bool, float]:
    """Return whether boundaries in a map look interpolated, and which share of them does."""
    share, count = runs.blended_share()
    return share >= BLENDED_SHARE and count >= MIN_BOUNDARIES, share


def check_segments(ids: np.ndarray, found: ImageProblems, fits: bool) -> MapStatistics:
    """Check a map of ids against ``segments_info``.

    Args:
        ids: int32 [H, W], 0 is void.
        found: receives the problems.
        fits: the map has the size of its image.
    """
    runs, record = MapRuns(ids), found.record
    place = {value: index for index, value in enumerate(runs.values.tolist())}
    listed = {segment['id']: segment for segment in record.segments}
    unlisted = [value for value in place if value and value not in listed]
    absent = [number for number in listed if number not in place]
    swapped = bool(unlisted) and set(map(_swapped, unlisted)) == set(absent)
    if swapped:
        found.add_to_map('PAN210', f'the ids {some(unlisted)} are those of the JSON with red and '
                         'blue exchanged', mend='write the PNG in the order R, G, B '
                         '(id = R + 256 G + 65536 B)')
        return MapStatistics()
    blended, share = is_interpolated(runs)
    if blended:
        seams = _on_seams(runs, unlisted, place)
        unlisted = [value for value in unlisted if value not in seams]
        found.add_to_map('PAN214', f'{share:.0%} of the boundaries between segments have colors '
                         f'in between, and {len(seams)} ids that the JSON does not list are on '
                         'seams')
    _report_unlisted(unlisted, runs, place, bool(listed) and len(absent) == len(listed), found)
    for number in absent:
        found.add_to_map('PAN211', f'segment {number} has no pixel', segment_id=number)
    present = [listed[number] for number in listed if number in place]
    # areas and boxes of the map before it was resized are no further problems
    for segment in present if fits and not blended else ():
        index = place[segment['id']]
        _check_area_and_box(segment, int(runs.areas[index]), runs.boxes[index].tolist(), found)
    if not blended:
        _check_things(present, runs, place, found)
    return _shares(present, runs, place, found)


def _swapped(number: int) -> int:
    return (number & 255) << 16 | number & 0xFF00 | number >> 16


def _on_seams(runs: MapRuns, unlisted: list[int], place: dict[int, int]) -> set[int]:
    """Unlisted ids that are as thin as seams, in rows or in columns."""
    lengths = np.bincount(runs.index) + runs.boxes[:, 2] - runs.boxes[:, 0]
    return {value for value in unlisted
            if runs.areas[place[value]] <= SEAM * lengths[place[value]]}


def _report_unlisted(unlisted: list[int], runs: MapRuns, place: dict[int, int], none_fits: bool,
                     found: ImageProblems) -> None:
    hint = '; no listed id has a pixel: is it the map of another image?' if none_fits else ''
    if len(unlisted) > _LISTED:
        pixels = int(runs.areas[[place[value] for value in unlisted]].sum())
        found.add_to_map('PAN210', f'{len(unlisted)} ids, of {pixels} pixels, are not listed: '
                         f'{some(unlisted)}{hint}')
        return
    for value in unlisted:
        found.add_to_map('PAN210', f'{runs.areas[place[value]]} pixels have the id {value}{hint}',
                         segment_id=value)


def _check_area_and_box(segment: dict, area: int, box: list[int], found: ImageProblems) -> None:
    """Compare with the pixels, exactly; values that are no numbers are problems of the JSON."""
    number = segment['id']
    given = segment.get('area')
    if _is_number(given) and given != area:
        found.add_to_map('PAN212', f'segment {number} has "area" {given} and {area} pixels',
                         segment_id=number)
    x1, y1, x2, y2 = box
    expected, given = [x1, y1, x2 - x1, y2 - y1], segment.get('bbox')
    if not isinstance(given, list) or len(given) != 4 or not all(map(_is_number, given)):
        return
    if given != expected:
        if given == box:
            why = ': it is [x1, y1, x2, y2]'
        elif given == [x1, y1, x2 - x1 - 1, y2 - y1 - 1]:
            why = ': width and height are one pixel too small'
        else:
            why = ''
        found.add_to_map('PAN213', f'segment {number} has "bbox" {given}, its pixels {expected}'
                         f'{why}', segment_id=number)


def _check_things(present: list[dict], runs: MapRuns, place: dict[int, int],
                  found: ImageProblems) -> None:
    """Find segments that are tiny, and things of pieces far apart."""
    stride = found.source.stride
    for segment in present:
        if segment.get('iscrowd') in (1, True):
            continue
        area = int(runs.areas[place[segment['id']]])
        if area < stride * stride:
            found.add_to_map('PAN218', f'segment {segment["id"]} has {area} pixels, fewer than '
                             f'{stride}x{stride}', segment_id=segment['id'])
        if not is_thing(segment, found):
            continue
        x1, y1, x2, y2 = runs.boxes[place[segment['id']]]
        far = far_parts(runs.ids[y1:y2, x1:x2] == segment['id'], runs.size)
        if far is not None:
            found.add_to_map('PAN215', f'segment {segment["id"]} has {far.parts} parts, '
                             f'{far.distance:.0f} pixels apart', segment_id=segment['id'])


def is_thing(segment: dict, found: ImageProblems) -> bool:
    """Return whether the category of a segment is a thing."""
    category = segment.get('category_id')
    return isinstance(category, int) and category in found.record.things


def _shares(present: list[dict], runs: MapRuns, place: dict[int, int], found: ImageProblems
            ) -> MapStatistics:
    pixels: Counter[Any] = Counter()
    segments: Counter[Any] = Counter()
    crowd = 0
    for segment in present:
        area, category = int(runs.areas[place[segment['id']]]), segment.get('category_id')
        if segment.get('iscrowd') in (1, True):
            crowd += area
        elif isinstance(category, int):
            segments[category] += 1
        if isinstance(category, int):
            pixels[category] += area
    total = runs.ids.size
    void = int(runs.areas[place[0]]) / total if 0 in place else 0.
    # where nothing is stuff, the background of things is void
    stuff = bool(found.source.stuff_classes) or any(
        not is_thing(segment, found) for segment in found.record.segments)
    if stuff and void > VOID_SHARE:
        found.add_to_map('PAN216', f'{void:.0%} of the pixels are void')
    if crowd / total > CROWD_SHARE:
        found.add_to_map('PAN217', f'{crowd / total:.0%} of the pixels are crowd')
    return MapStatistics(dict(pixels), dict(segments), void, crowd / total, sum(segments.values()))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
