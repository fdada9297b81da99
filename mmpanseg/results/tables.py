"""Results as text, as a table of rich, and as HTML."""
import base64
from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mmpanseg.results.segment import Segment

if TYPE_CHECKING:
    from mmpanseg.results.result import Result

_COLUMNS = ('id', 'class', 'kind', 'score', 'pixels', 'share', 'box')
_NUMBERS = ('id', 'score', 'pixels', 'share')


def summarize(result: 'Result') -> str:
    """Count the things by class, then name the stuff, see :meth:`Result.summary`."""
    segments = result.segments
    if not segments:
        return 'no segments'
    # a semantic map does not count
    counted = result.tasks[0] != 'semantic'
    counts = Counter(segment.name for segment in segments if segment.is_thing and counted)
    stuff = sorted((segment for segment in segments if not (segment.is_thing and counted)),
                   key=lambda segment: -segment.area)
    return ', '.join([*(f'{count} {name}' for name, count in counts.most_common()),
                      *dict.fromkeys(segment.name for segment in stuff)])


def make_table(result: 'Result') -> Table:
    """Make a table for rich's consoles, see :meth:`Result.table`."""
    table = Table(title=Text(_title(result)))
    for column in _COLUMNS:
        table.add_column(column, justify='right' if column in _NUMBERS else 'left')
    for segment in result:
        # no markup: a class name may have brackets
        table.add_row(*map(Text, _cells(segment, result.size)))
    return table


def make_html(result: 'Result', picture: bytes | None) -> str:
    """Make HTML for notebooks.

    Args:
        result: what to show.
        picture: PNG to show above the table.
    """
    image = '' if picture is None else (
        f'<img src="data:image/png;base64,{base64.b64encode(picture).decode()}" '
        f'alt="{escape(result.summary())}"/>')
    head = ''.join(f'<th>{column}</th>' for column in _COLUMNS)
    rows = ''.join(
        '<tr>' + ''.join(f'<td>{escape(cell)}</td>' for cell in _cells(segment, result.size))
        + '</tr>' for segment in result)
    return (f'<div><p>{escape(_title(result))}: {escape(result.summary())}</p>{image}'
            f'<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>')


def _title(result: 'Result') -> str:
    height, width = result.size
    size = f'{width} x {height} pixels'
    name = result.file_name or result.path
    return f'{name}, {size}' if name else size


def _cells(segment: Segment, size: tuple[int, int]) -> list[str]:
    """Texts of the columns."""
    return [str(segment.id), segment.name, 'thing' if segment.is_thing else 'stuff',
            '' if segment.score is None else f'{segment.score:.2f}', str(segment.area),
            f'{100 * segment.area / (size[0] * size[1]):.1f}%',
            ', '.join(f'{value:g}' for value in segment.box)]
