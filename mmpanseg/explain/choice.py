"""Which segments of an image to explain: by number, class or pixel."""
from collections.abc import Sequence

from mmpanseg.engine.command_line import UsageError
from mmpanseg.results import Result, Segment
from mmpanseg.results.checks import unknown_class

# a number of the list from 1, the name of a class, or a pixel (x, y)
Choice = int | str | tuple[int, int]
# segments that are explained without a choice
LARGEST = 6


def parse_choice(text: str, classes: Sequence[str]) -> Choice:
    """Read a choice of the command line: ``3``, ``person`` or ``120,80``.

    Args:
        text: what was given; a name of a class precedes a number.
        classes: names of the classes of the model.
    """
    if text in classes:
        return text
    parts = [part.strip() for part in text.split(',')]
    if len(parts) == 2 and all(part.lstrip('-').isdecimal() for part in parts):
        return int(parts[0]), int(parts[1])
    number = text.strip().lstrip('-')
    return int(text) if number.isdecimal() else text


def choose(result: Result, choices: Sequence[Choice], limit: int) -> list[Segment]:
    """Find the chosen segments, in the order of the choices and each once.

    Args:
        result: of the image, with panoptic segments.
        choices: see :data:`Choice`; none: the largest segments.
        limit: largest number of segments without a choice, and of one class.

    Raises:
        UsageError: there is no such segment; the text names what there is.
    """
    segments = result.panoptic_segments or []
    if not segments:
        raise UsageError('the model finds no segment in this image: lower its threshold '
                         '(score_thr=, --score-thr)')
    if not choices:
        return sorted(segments, key=lambda segment: (-segment.area, segment.id))[:limit]
    found: dict[int, Segment] = {}
    for choice in choices:
        for segment in _find(result, segments, choice)[:limit]:
            found[segment.id] = segment
    return list(found.values())


def _find(result: Result, segments: Sequence[Segment], choice: Choice) -> list[Segment]:
    if isinstance(choice, str):
        return _of_class(result, segments, choice)
    if isinstance(choice, int):
        by_number = {segment.id: segment for segment in segments}
        if choice not in by_number:
            raise UsageError(f'segment {choice} does not exist: the segments of this image are '
                             f'1 .. {len(segments)}')
        return [by_number[choice]]
    x, y = choice
    height, width = result.size
    if not (0 <= x < width and 0 <= y < height):
        raise UsageError(f'pixel {x},{y} (x,y) is outside of the image, which has x 0 .. '
                         f'{width - 1} and y 0 .. {height - 1}')
    assert result.panoptic_map is not None  # it has panoptic segments
    number = int(result.panoptic_map[y, x])
    if not number:
        raise UsageError(f'pixel {x},{y} (x,y) is void, it belongs to no segment: choose another '
                         'pixel, or a segment by number or class')
    return [segment for segment in segments if segment.id == number]


def _of_class(result: Result, segments: Sequence[Segment], name: str) -> list[Segment]:
    if name not in result.classes:
        raise UsageError(unknown_class(result.classes, name))
    found = [segment for segment in segments if segment.name == name]
    if not found:
        there = ', '.join(dict.fromkeys(segment.name for segment in segments))
        raise UsageError(f'this image has no segment of class {name!r}: its segments are of '
                         f'{there}')
    return sorted(found, key=lambda segment: -segment.area)
