"""Collecting of problems while the lists of a source are read."""
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from mmpanseg.datasets.annotation_file import FLAG, LARGEST, Kind, name_of
from mmpanseg.doctor.lists.json_file import short
from mmpanseg.doctor.problem import Problem, Severity, problem
from mmpanseg.doctor.source import Source

# where every entry lacks a key, more entries than this are one problem
_LISTED = 20


class Findings:
    """Problems of one source.

    Attributes:
        source: the source.
        problems: the problems in the order of their places.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._missing: dict[tuple[str, str], list[Problem]] = defaultdict(list)

    def add(self, check: str, text: str, **where: Any) -> None:
        """Add a problem; ``where`` are keyword arguments of :func:`.problem.problem`."""
        self.problems.append(problem(check, text, split=self.source.split, **where))

    def value(self, where: str, entry: dict, key: str, kind: Kind, **place: Any) -> Any:
        """Return a value that every entry must have.

        Args:
            where: kind of the entry: 'image', 'annotation', ...
            entry: the entry.
            key: its key.
            kind: types of the value.
            place: file, image_id, segment_id of the problem.

        Returns:
            The value; None if it is absent or unusable, which is a problem.
        """
        if key not in entry:
            self._missing[where, key].append(problem(
                'PAN006', f'{name_of(where, entry)} has no "{key}"', split=self.source.split,
                mend=f'add "{key}", {kind.text}', **place))
            return None
        return self.checked(where, entry, key, kind, **place)

    def checked(self, where: str, entry: dict, key: str, kind: Kind, **place: Any) -> Any:
        """Return a value if its type and range are right; None, with a problem, otherwise."""
        value = entry[key]
        if type(value) not in kind.types or kind is FLAG and value not in (0, 1):
            self.add('PAN007', f'{name_of(where, entry)} has "{key}" {short(value)}; it must be '
                     f'{kind.text}', **place)
            return None
        if type(value) is int and abs(value) > LARGEST:
            self.add('PAN008', f'{name_of(where, entry)} has "{key}" {short(value)}, which is '
                     'larger than 64 bits', **place)
            return None
        return value

    def close_list(self, where: str, number: int) -> None:
        """Report absent keys at the end of a list; once if no entry has the key.

        Args:
            where: kind of the entries.
            number: number of entries in the list.
        """
        for place, problems in list(self._missing.items()):
            if place[0] != where:
                continue
            if len(problems) == number > _LISTED:
                problems = [problems[0]._replace(
                    text=f'none of the {number} entries ({where}) has "{place[1]}"',
                    file=self.source.ann_file, image_id=None, segment_id=None)]
            self.problems += problems
            del self._missing[place]

    def boxes_and_areas(self, where: str, entry: dict, **place: Any) -> None:
        """Check the types of ``area`` and ``bbox``, which are optional and not read in training."""
        area, box = entry.get('area', 0), entry.get('bbox', [0] * 4)
        if not _is_number(area):
            self.add('PAN007', f'{name_of(where, entry)} has "area" {short(area)}; it must be a '
                     'number', severity=Severity.WARNING, **place)
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            self.add('PAN007', f'{name_of(where, entry)} has "bbox" {short(box)}; it must be four '
                     'numbers [x, y, width, height]', severity=Severity.WARNING, **place)

    def optional_keys(self, where: str, entries: Collection[dict], keys: tuple[str, ...]) -> None:
        """Report optional keys that entries lack, once for each key."""
        for key in keys:
            absent = sum(key not in entry for entry in entries)
            if absent:
                self.add('PAN047', f'{absent} of {len(entries)} {where}s have no "{key}"',
                         file=self.source.ann_file)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
