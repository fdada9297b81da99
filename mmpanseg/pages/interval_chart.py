"""A chart of differences: a bar from 0 for each, with its interval.

The style of :func:`mmpanseg.pages.svg.chart_style` belongs to it.
"""
from collections.abc import Sequence
from typing import NamedTuple

from mmpanseg.pages.page import Markup
from mmpanseg.pages.svg import Scale, group, line, nice_range, number_text, rect, svg, text

_WIDTH, _NAMES, _NUMBERS, _ROW, _TOP = 860.0, 190.0, 64.0, 26.0, 26.0
# letters of a name that fit
_LETTERS = 26
_MORE, _LESS, _UNCLEAR = 'series-2', 'series-1', 'series-6'


class Interval(NamedTuple):
    """A row.

    Attributes:
        name: before it.
        value: end of the bar.
        low: lower end of the interval.
        high: upper end.
        hint: text on hovering.
    """

    name: str
    value: float
    low: float
    high: float
    hint: str = ''


def interval_color(low: float, high: float) -> str:
    """Return the class of the style for a difference: above 0, below 0, or unclear."""
    return _MORE if low > 0 else _LESS if high < 0 else _UNCLEAR


def interval_chart(rows: Sequence[Interval], label: str) -> Markup:
    """Draw differences, one below the other; the color says on which side of 0 the interval is.

    Args:
        rows: from top to bottom, at least one.
        label: what it shows, for readers who hear the page.
    """
    ends = [end for row in rows for end in (row.value, row.low, row.high)]
    scale = Scale(*nice_range(min(0.0, *ends), max(0.0, *ends), 10), _NAMES, _WIDTH - _NUMBERS)
    ticks = scale.ticks()
    step = ticks[1] - ticks[0]
    bottom = _TOP + _ROW * len(rows)
    return svg(
        _WIDTH, bottom + 4,
        group([line(scale(tick), _TOP - 4, scale(tick), bottom, class_='grid') for tick in ticks],
              [text(scale(tick), _TOP - 10, _signed(tick, step), 'middle') for tick in ticks],
              line(scale(0), _TOP - 4, scale(0), bottom, class_='axis'), class_='axes',
              aria_hidden='true'),
        [_row(row, _TOP + _ROW * place, scale) for place, row in enumerate(rows)], label=label)


def _row(row: Interval, top: float, scale: Scale) -> Markup:
    middle, left = top + _ROW / 2, min(scale(0), scale(row.value))
    name = row.name if len(row.name) <= _LETTERS else row.name[:_LETTERS - 1] + '…'
    low, high = scale(row.low), scale(row.high)
    return group(
        rect(0, top, _WIDTH, _ROW, class_='catch'),
        text(_NAMES - 12, middle + 4, name, 'end', class_='label'),
        rect(left, middle - 7, abs(scale(row.value) - scale(0)), 14,
             class_=f'mark {interval_color(row.low, row.high)}'),
        line(low, middle, high, middle, class_='interval'),
        [line(end, middle - 4, end, middle + 4, class_='interval') for end in (low, high)],
        text(_WIDTH, middle + 4, _signed(round(row.value, 1), 0.1), 'end', class_='label'),
        hint=row.hint or None)


def _signed(value: float, step: float) -> str:
    value = round(value, 6)
    return f'{"+" if value > 0 else ""}{number_text(value, step)}'.replace('-', '−')
