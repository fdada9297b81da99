"""Results as JSON, and back."""
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmpanseg.results.segment import Segment
from mmpanseg.structures.map_segments import decode_segments
from mmpanseg.utils import strict_json

if TYPE_CHECKING:
    from mmpanseg.results.result import Result

FORMAT, VERSION = 'mmpanseg.result', 1


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: Any, kind: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(kind, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# key -> test of its value, and what it must be
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = dict(
    size=(lambda value: _is_list(value, _is_index) and len(value) == 2, '[height, width]'),
    classes=(lambda value: _is_list(value, _is_text), 'a list of texts'),
    num_things=(_is_index, 'an integer'),
    category_ids=(lambda value: _is_list(value, _is_index), 'a list of integers'),
    palette=(lambda value: value is None or _is_list(
        value, lambda color: _is_list(color, _is_index) and len(color) == 3),
        'null or a list of [red, green, blue]'),
    path=(lambda value: value is None or _is_text(value), 'null or a text'),
    file_name=(lambda value: value is None or _is_text(value), 'null or a text'),
    image_id=(lambda value: value is None or isinstance(value, (int, str)),
              'null, an integer or a text'),
    task=(lambda value: value in (None, 'panoptic', 'instance', 'semantic'),
          "null, 'panoptic', 'instance' or 'semantic'"),
    segments=(lambda value: isinstance(value, list), 'a list'),
    speed=(lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
           'a dict of numbers'))
_SEGMENT_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = dict(
    id=(_is_index, 'an integer'), label=(_is_index, 'an integer'),
    score=(lambda value: value is None or _is_number(value), 'null or a number'),
    box=(lambda value: _is_list(value, _is_number) and len(value) == 4, '[x1, y1, x2, y2]'))


def to_dict(result: 'Result') -> dict:
    """Convert a result to JSON's types, see :meth:`Result.to_dict`."""
    palette = result.palette
    further = result.tasks[1:]
    return dict(
        format=FORMAT, version=VERSION, size=list(result.size), path=result.path,
        file_name=result.file_name, image_id=result.image_id, classes=list(result.classes),
        num_things=result.num_things, category_ids=list(result.category_ids),
        palette=None if palette is None else [[int(value) for value in color]
                                              for color in palette],
        speed=dict(result.speed), task=result.tasks[0] if result.tasks else None,
        segments=_entries(result.segments),
        instances=_entries(result.instances) if 'instance' in further else None,
        semantic=_entries(result.semantic_segments) if 'semantic' in further else None)


def parse(text: str | bytes) -> Any:
    """Parse the JSON of a result.

    Raises:
        ValueError: the text is no JSON.
    """
    try:
        return json.loads(text, parse_constant=strict_json.refuse_constant)
    except ValueError as error:
        raise ValueError(f'the text is no JSON of a result: {error}') from error


def read_arguments(content: Mapping) -> dict[str, Any]:
    """Convert the dict of :func:`to_dict` to arguments of :class:`Result`.

    Args:
        content: the dict.

    Raises:
        ValueError: the dict is none of a result; the text names the key.
    """
    if not isinstance(content, Mapping) or content.get('format') != FORMAT:
        raise ValueError(f'no result: "format" must be {FORMAT!r}, as Result.to_dict writes it')
    if content.get('version') != VERSION:
        raise ValueError(f'the result has version {content.get("version")!r}, this package reads '
                         f'version {VERSION}: install the version of mmpanseg that wrote it')
    _check_kinds(content, _KINDS, 'the result')
    found = {key: content[key] for key in _KINDS if key != 'segments'}
    size, task = tuple(content['size']), found.pop('task')
    # key -> argument
    outputs = dict(segments={None: '', 'instance': 'instances'}.get(task, task),
                   instances='instances', semantic='semantic')
    readers: dict[str, Callable] = dict(panoptic=_panoptic, instances=_instances,
                                        semantic=_semantic)
    for key, argument in outputs.items():
        entries = content.get(key)
        if argument and entries is not None:
            found[argument] = readers[argument](_checked(entries, key, content['size']), key, size)
    return found


def _check_kinds(content: Mapping, kinds: Mapping, where: str) -> None:
    """Raise a ValueError unless all keys exist and their values pass their tests."""
    for key, (test, wanted) in kinds.items():
        if key not in content:
            raise ValueError(f'{where} has no {key!r}: write it again with Result.to_dict')
        if not test(content[key]):
            raise ValueError(f'{where}: {key!r} must be {wanted}, got {content[key]!r}')


def _entries(segments: Sequence[Segment] | None) -> list[dict] | None:
    if segments is None:
        return None
    return [dict(id=segment.id, label=segment.label, name=segment.name, is_thing=segment.is_thing,
                 score=segment.score, area=segment.area, box=list(segment.box),
                 segmentation=segment.rle())
            for segment in segments]


def _checked(entries: Any, name: str, size: Any) -> list[dict]:
    """Check that all segments of an output have their keys and masks."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f'{name!r} of the result must be a list of segments')
    for number, entry in enumerate(entries):
        _check_kinds(entry, _SEGMENT_KINDS, f'{name!r} of the result: segment {number}')
        rle = entry.get('segmentation')
        if not isinstance(rle, dict) or not isinstance(rle.get('counts'), str) or (
                rle.get('size') != size):
            raise ValueError(f'{name!r} of the result: "segmentation" of segment {number} must be '
                             f'run lengths with "counts" and the "size" {size}')
    return entries


def _panoptic(entries: list[dict], key: str, size: tuple[int, int]) -> tuple:
    return _map(entries, key, 'id', size), entries


def _semantic(entries: list[dict], key: str, size: tuple[int, int]) -> np.ndarray:
    shifted = [dict(entry, value=entry['label'] + 1) for entry in entries]
    return _map(shifted, key, 'value', size) - np.int32(1)


def _map(entries: list[dict], key: str, value: str, size: tuple[int, int]) -> np.ndarray:
    """Map of the masks of an output."""
    try:
        return decode_segments({entry[value]: entry['segmentation'] for entry in entries}, size)
    except ValueError as error:
        raise ValueError(f'{key!r} of the result: {error}') from error


def _instances(entries: list[dict], key: str, size: tuple[int, int]) -> tuple:
    return ([entry['label'] for entry in entries], [entry['score'] for entry in entries],
            [entry['segmentation'] for entry in entries],
            np.array([entry['box'] for entry in entries], float).reshape(-1, 4))
