"""Files of class names: their values in label maps, and their colors.

Read are, by content: a JSON with a list of names, a list of dicts (``id``, ``name``, ``color``,
``isthing``) or a dict from values to names; a table with ``name,r,g,b``; lines ``R G B name`` or
``name: R,G,B``; lines ``value name``; lines of names.
"""
import csv
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmpanseg.importers.source_image import SourceClass, SourceError

# usual names of such files, in lower case
TABLE_NAMES = ('classes.json', 'classes.txt', 'classes.csv', 'class_dict.csv', 'label_colors.txt',
               'labelmap.txt', 'labels.txt', 'labels.json', 'labels.csv', 'categories.json',
               'class_names.txt', 'label_names.txt', 'obj_class_to_machine_color.json')
_COLOR_FIRST = re.compile(r'(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\D.*)')
_COLOR_LAST = re.compile(r'([^:]+):\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*(?::.*)?')
_VALUE_FIRST = re.compile(r'(\d+)\s*[\s:,;=]\s*(\D.*)')


class TableClass(NamedTuple):
    """A row: class name, value in label maps, color in color-coded maps, thing or stuff."""

    name: str
    value: int
    color: tuple[int, int, int] | None = None
    is_thing: bool | None = None

    def as_class(self) -> SourceClass:
        """Return the class of the source."""
        return SourceClass(self.name, self.is_thing, self.color)


def find_class_table(src: Path) -> Path | None:
    """Return the file of classes in a folder, by its name; None if there is none."""
    if not src.is_dir():
        return None
    found = {path.name.lower(): path for path in sorted(src.iterdir()) if path.is_file()}
    return next((found[name] for name in TABLE_NAMES if name in found), None)


def read_class_table(path: Path) -> list[TableClass]:
    """Read a file of classes, see the module.

    Rows without values are numbered from 0 in their order.

    Raises:
        SourceError: the file does not exist, or an entry is not understood; the text names it.
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
    except FileNotFoundError:
        raise SourceError(f'{path} does not exist; --classes is a file of class names') from None
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f'{path} cannot be read as text: {error}') from error
    if path.suffix.lower() == '.json':
        rows = _from_json(path, text)
    else:
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith(('#', '//'))]
        header = [cell.strip().lower() for cell in lines[0].split(',')] if lines else []
        rows = (_from_table(path, lines, header) if 'name' in header or 'class_name' in header
                else _from_lines(path, lines))
    _check(path, rows)
    return rows


def thing_names(table: Sequence[TableClass], wanted: Collection[str]) -> frozenset[str]:
    """Return the names of things: those that the user wants, else those that the table marks."""
    return frozenset(row.name for row in table
                     if (row.name in wanted if wanted else bool(row.is_thing)))


def _from_json(path: Path, text: str) -> list[TableClass]:
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        raise SourceError(f'{path} is not valid JSON: {error}') from error
    for key in ('categories', 'classes', 'labels', 'names'):
        if isinstance(content, dict) and isinstance(content.get(key), (list, dict)):
            content = content[key]
            break
    if isinstance(content, dict):
        if all(str(key).isdecimal() and isinstance(value, str) for key, value in content.items()):
            return [TableClass(value, int(key)) for key, value in content.items()]
        if all(isinstance(value, int) for value in content.values()):
            return [TableClass(key, value) for key, value in content.items()]
        raise SourceError(f'{path} is no list of classes; write ["road", "car"] or {{"0": "road"}}')
    rows = []
    for number, item in enumerate(content if isinstance(content, list) else []):
        if isinstance(item, str):
            rows.append(TableClass(item, number))
        elif isinstance(item, dict) and isinstance(item.get('name'), str):
            value = next((item[key] for key in ('value', 'id', 'trainId') if key in item), number)
            if type(value) is not int:
                raise SourceError(f'{path}: class {item["name"]!r} has the value {value!r}, which '
                                  'is no integer')
            thing = item.get('isthing', item.get('hasInstances', item.get('instances')))
            rows.append(TableClass(item['name'], value, _color(path, item),
                                   None if thing is None else bool(thing)))
        else:
            raise SourceError(f'{path}: entry {number} has no "name": {str(item)[:60]}')
    return rows


def _color(path: Path, item: dict) -> tuple[int, int, int] | None:
    color = item.get('color')
    if isinstance(color, str) and re.fullmatch(r'#[0-9a-fA-F]{6}', color):
        return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
    if color is None:
        return None
    if not isinstance(color, list) or len(color) < 3 or not all(
            type(part) is int and 0 <= part <= 255 for part in color[:3]):
        raise SourceError(f'{path}: class {item["name"]!r} has the color {color!r}; write [red, '
                          'green, blue], each 0 .. 255, or "#rrggbb"')
    return color[0], color[1], color[2]


def _from_table(path: Path, lines: list[str], header: list[str]) -> list[TableClass]:
    rows = []
    for number, cells in enumerate(csv.DictReader(lines[1:], header, skipinitialspace=True)):
        name = (cells.get('name') or cells.get('class_name') or '').strip()
        try:
            color = (int(cells['r']), int(cells['g']), int(cells['b'])) if 'r' in cells else None
            value = next((int(cells[key]) for key in ('value', 'id', 'label') if key in cells),
                         number)
            thing = next((bool(int(cells[key])) for key in ('isthing', 'hasinstances')
                          if key in cells), None)
        except (TypeError, ValueError):
            raise SourceError(f'{path}: line {number + 2} has no numbers where the columns '
                              f'{", ".join(header)} need them') from None
        rows.append(TableClass(name, value, color, thing))
    return rows


def _from_lines(path: Path, lines: list[str]) -> list[TableClass]:
    rows = []
    kinds = (_COLOR_FIRST, _COLOR_LAST, _VALUE_FIRST)
    form = next((kind for kind in kinds if lines and all(map(kind.fullmatch, lines))), None)
    if form is None and sum(any(map(kind.fullmatch, lines)) for kind in kinds[:2]):
        first = next(line for line in lines if not any(kind.fullmatch(line) for kind in kinds[:2]))
        raise SourceError(f'{path}: the line {first!r} has no color as the others have')
    for number, line in enumerate(lines):
        match = form and form.fullmatch(line)
        if not match:
            rows.append(TableClass(line, number))
        elif form is _VALUE_FIRST:
            rows.append(TableClass(match[2].strip(), int(match[1])))
        else:
            name, (red, green, blue) = (
                (match[4], match.group(1, 2, 3)) if form is _COLOR_FIRST else
                (match[1], match.group(2, 3, 4)))
            rows.append(TableClass(name.strip(), number, (int(red), int(green), int(blue))))
    return rows


def _check(path: Path, rows: list[TableClass]) -> None:
    if not rows:
        raise SourceError(f'{path} names no class')
    for what, values in (('name', [row.name for row in rows]),
                         ('value', [row.value for row in rows]),
                         ('color', [row.color for row in rows if row.color is not None])):
        twice = next((value for k, value in enumerate(values) if value in values[:k]), None)
        if twice is not None:
            raise SourceError(f'{path}: two classes have the {what} {twice}')
    wrong = next((row for row in rows if not row.name or row.value < 0 or (
        row.color is not None and max(row.color) > 255)), None)
    if wrong is not None:
        raise SourceError(f'{path}: the class {wrong.name!r} has no name, a negative value or a '
                          f'color above 255: {wrong.value}, {wrong.color}')
