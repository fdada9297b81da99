"""Reading of an annotation file that may be broken in any way."""
import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from mmengine import fileio

from mmpanseg.datasets.annotation_file import name_of
from mmpanseg.doctor.problem import Problem, problem
from mmpanseg.doctor.source import Source

LISTS = ('images', 'annotations', 'categories')
_ENCODINGS = {'utf-8-sig': 'UTF-8 with a mark at its start (BOM)', 'utf-16': 'UTF-16',
              'utf-32': 'UTF-32'}


class JsonFile(NamedTuple):
    """Content of an annotation file.

    Attributes:
        content: the dict; None if it cannot be used.
        problems: what is wrong with the file.
    """

    content: dict[str, Any] | None
    problems: list[Problem]


def read_json(source: Source) -> JsonFile:
    """Read the annotation file of a source as far as possible.

    Returns:
        The content, a dict whose ``images``, ``annotations`` and ``categories`` are lists of dicts
        if they exist, and problems.
    """
    path, found = source.ann_file, []

    def report(check: str, text: str, **where: Any) -> None:
        found.append(problem(check, text, split=source.split, file=path, **where))

    try:
        data = fileio.get(path, backend_args=source.backend_args)
    except FileNotFoundError:
        report('PAN001', 'the file does not exist')
        return JsonFile(None, found)
    except Exception as error:  # storage backends raise errors of many types
        report('PAN001', f'the file cannot be read: {_reason(error)}')
        return JsonFile(None, found)
    if not data.strip():
        report('PAN002', 'the file is empty')
        return JsonFile(None, found)
    text, encoding = _decode(data)
    if encoding:
        report('PAN003', f'the file is encoded in {encoding}')
    constants: list[str] = []

    def number(name: str) -> float:
        constants.append(name)
        return float(name)

    try:
        content = json.loads(text, parse_constant=number)
    except RecursionError:
        report('PAN002', 'its lists are nested too deep')
        return JsonFile(None, found)
    except ValueError as error:
        report('PAN002', str(error))
        return JsonFile(None, found)
    if not isinstance(content, dict):
        kind = type(content).__name__
        report('PAN005', f'the file contains a {kind}, not a dict with {", ".join(LISTS)}')
        return JsonFile(None, found)
    content = dict(content)
    for key in LISTS:
        if key in content:
            content[key] = _dicts(content[key], key, report)
    if constants:
        _report_constants(content, len(constants), report)
    return JsonFile(content, found)


def _decode(data: bytes) -> tuple[str, str]:
    """Decode a JSON; its text, and the name of its encoding if it is not UTF-8."""
    guess = json.detect_encoding(data)
    name = 'utf-16' if 'utf-16' in guess else 'utf-32' if 'utf-32' in guess else guess
    try:
        return data.decode(guess), _ENCODINGS.get(name, '')
    except UnicodeDecodeError as error:
        text = data.decode('cp1252', errors='replace')
        return text, f'no UTF-8: byte {error.start} is {data[error.start]:#04x}'


def _dicts(entries: Any, key: str, report: Any) -> list[dict]:
    """Keep the entries of a list that are dicts."""
    if not isinstance(entries, list):
        report('PAN005', f'"{key}" is a {type(entries).__name__}, not a list of dicts')
        return []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            report('PAN007', f'"{key}" number {number} is {short(entry)}, not a dict')
    return [entry for entry in entries if isinstance(entry, dict)]


def _report_constants(content: dict, count: int, report: Any) -> None:
    named = 0
    for key in LISTS:
        for entry in content.get(key, ()):
            for where, owner in _entries(key, entry):
                names = [name for name, value in owner.items() if _has_constant(value)]
                if names:
                    named += 1
                    image = owner.get('image_id', entry.get('image_id')) if (
                        key == 'annotations') else owner.get('id') if key == 'images' else None
                    segment = owner.get('id') if key == 'annotations' else None
                    report('PAN004', f'{name_of(where, owner)} has NaN or Infinity in '
                           f'{", ".join(map(repr, names))}', image_id=plain_id(image),
                           segment_id=segment if type(segment) is int else None)
    if not named:
        report('PAN004', f'the file contains NaN or Infinity {count} times')


def _entries(key: str, entry: dict) -> Iterator[tuple[str, dict]]:
    yield {'images': 'image', 'annotations': 'annotation', 'categories': 'category'}[key], entry
    segments = entry.get('segments_info')
    for segment in segments if isinstance(segments, list) else ():
        if isinstance(segment, dict):
            yield 'segment', segment


def _has_constant(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, list) and not (value and isinstance(value[0], dict)) and any(
        map(_has_constant, value))


def plain_id(value: Any) -> int | str | None:
    """Return an id of an image if it has a type of ids, else None."""
    return value if type(value) in (int, str) else None


def short(value: Any, length: int = 60) -> str:
    """Return a value as in a JSON, cut to a length."""
    text = ' '.join(repr(value).split())
    return text if len(text) <= length else text[:length - 3] + '...'


def _reason(error: Exception) -> str:
    return getattr(error, 'strerror', None) or ' '.join(str(error).split())
