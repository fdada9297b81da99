"""Charts of a page: bars, stacked bars, points with names, reliability of scores, recall by size.

The style of :func:`mmpanseg.pages.svg.chart_style` belongs to them. All shares are in 0 .. 1.
"""
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mmpanseg.pages.page import Content, Markup, tag
from mmpanseg.pages.svg import (
    Frame,
    circle,
    color_style,
    frame,
    group,
    line,
    nice_range,
    nice_ticks,
    number_text,
    polyline,
    rect,
    svg,
    text,
)


class Bar(NamedTuple):
    """A horizontal bar.

    Attributes:
        name: before it.
        value: its length, at least 0.
        number: text after it.
        color: see :func:`color_style`; '' for the color of the page.
        note: below the name, smaller.
    """

    name: Content
    value: float
    number: Content
    color: str = ''
    note: Content = None


class Part(NamedTuple):
    """A part of a stacked bar.

    Attributes:
        name: what it is.
        value: its length, at least 0.
        color: see :func:`color_style`.
    """

    name: str
    value: float
    color: str = ''


class Point(NamedTuple):
    """A point of a scatter plot.

    Attributes:
        name: beside it, where there is space.
        x: value to the right.
        y: value upward.
        kind: number of its color and shape: 0 is a circle, 1 a square.
        hint: text on hovering.
        weight: points of larger weight get their names first.
    """

    name: str
    x: float
    y: float
    kind: int = 0
    hint: str = ''
    weight: float = 0.0


def bar(share: float, color: str = '') -> Markup:
    """Create the bar of a row or of a cell; its number must be in a text beside it.

    Args:
        share: of the place that it fills.
        color: see :func:`color_style`.
    """
    inner = color_style(color)
    style = f'width: {100 * min(max(share, 0.0), 1.0):.2f}%'
    inner['style'] = f'{inner["style"]}; {style}' if 'style' in inner else style
    return tag('span', tag('span', attributes=inner), class_='track', aria_hidden='true')


def bars(rows: Iterable[Bar], limit: float | None = None) -> Markup:
    """Create horizontal bars, one below the other.

    Args:
        rows: from top to bottom.
        limit: value of a bar of full length; None: the largest one.
    """
    rows = list(rows)
    full = limit or max((row.value for row in rows), default=0.0) or 1.0
    return tag('ul', [
        tag('li', tag('span', row.name, tag('small', row.note) if row.note is not None else None,
                      class_='name'),
            bar(row.value / full, row.color), tag('span', row.number, class_='number'))
        for row in rows], class_='bars')


def stacked_bar(parts: Iterable[Part], total: float | None = None, label: str = '') -> Markup:
    """Create one bar of several parts; each says on hovering what it is.

    Args:
        parts: from left to right.
        total: value of a bar of full length; None: the sum of the parts.
        label: begin of the text for readers who hear the page, which goes on with the parts.
    """
    parts = [part for part in parts if part.value > 0]
    full = total or math.fsum(part.value for part in parts) or 1.0
    said = ', '.join(f'{part.name} {percent(part.value / full)}' for part in parts)
    pieces = []
    for part in parts:
        attributes = color_style(part.color)
        width = f'width: {100 * part.value / full:.3f}%'
        attributes['style'] = (f'{attributes["style"]}; {width}' if 'style' in attributes
                               else width)
        pieces.append(tag('span', title=f'{part.name}: {part.value:,.0f} '
                                        f'({percent(part.value / full)})',
                          attributes=attributes))
    return tag('div', pieces, class_='stack', role='img',
               aria_label=f'{label}: {said}' if label else said)


def percent(share: float, digits: int = 1) -> str:
    """Write a share as a percentage; what is neither 0 nor all is not written as 0 or 100.

    Args:
        share: in 0 .. 1.
        digits: after the point.
    """
    return f'{_percent_number(share, digits)} %'


def _percent_number(share: float, digits: int) -> str:
    least = 10.0 ** -digits
    text = f'{100 * share:.{digits}f}'
    if share > 0 and not float(text):
        return f'<{least:.{digits}f}'
    return f'>{100 - least:.{digits}f}' if share < 1 and float(text) == 100 else text


def _short_percent(share: float) -> str:
    """Write a share in percent without decimals where 0 and 100 are exact, else with one."""
    text = f'{100 * share:.0f}'
    return text if share in (0, 1) or text not in ('0', '100') else _percent_number(share, 1)


def scatter(points: Sequence[Point], x_title: str, y_title: str, label: str,
            products: Mapping[float, str] | None = None, size: tuple[int, int] = (460, 400)
            ) -> Markup:
    """Draw points with their names.

    Names are left out where they would cover others; all of them are there on hovering.

    Args:
        points: with values in 0 .. 1.
        x_title: of the x axis.
        y_title: of the y axis.
        label: what the picture shows, for readers who hear the page.
        products: value -> name: draws lines on which x * y has this value.
        size: (width, height) in pixels.
    """
    width, height = size
    low, _ = nice_range(min((point.y for point in points), default=0.5), 1.0)
    plot = frame(width, height, (0.0, 1.0), (max(0.0, min(low, 0.8)), 1.0))
    return svg(
        width, height, plot.axes(x_title, y_title),
        [_product_line(plot, value, name) for value, name in (products or {}).items()],
        [_shape(plot.x(point.x), plot.y(point.y), point) for point in points],
        _names(plot, points), label=label)


def _product_line(plot: Frame, product: float, name: str) -> Markup:
    """Draw the points with x * y = product, and a name at the upper end."""
    low = max(product, 1e-3)
    values = [low + (1.0 - low) * k / 60 for k in range(61)]
    places = [(plot.x(x), plot.y(product / x)) for x in values if product / x >= plot.y.low]
    return group(polyline(places, class_='guide'),
                 text(places[0][0], plot.y.end - 3, name, 'middle',
                      class_='small'), aria_hidden='true')


def _shape(x: float, y: float, point: Point) -> Markup:
    style = f'mark point series-{point.kind}'
    if point.kind:
        return rect(x - 4.5, y - 4.5, 9, 9, point.hint or point.name, class_=style)
    return circle(x, y, 5, point.hint or point.name, class_=style)


def _names(plot: Frame, points: Sequence[Point]) -> list[Markup]:
    """Place names beside their points, where they cover neither points nor other names."""
    taken = [(plot.x(point.x) - 5, plot.y(point.y) - 5, plot.x(point.x) + 5, plot.y(point.y) + 5)
             for point in points]
    left, right, top, bottom = plot.x.start, plot.x.end + 10, plot.y.end - 14, plot.y.start
    found = []
    for point in sorted(points, key=lambda point: -point.weight):
        x, y = plot.x(point.x), plot.y(point.y)
        # an estimate that is rather too wide; characters of East Asia are twice as wide
        width = sum(7.0 if ord(character) < 0x2e80 else 13.0 for character in point.name) + 4
        for anchor, dx, dy in (('start', 9, 4), ('end', -9, 4), ('middle', 0, -10),
                               ('middle', 0, 19)):
            begin = x + dx - {'start': 0.0, 'end': width, 'middle': width / 2}[anchor]
            box = (begin, y + dy - 11, begin + width, y + dy + 3)
            inside = (left <= box[0] and box[2] <= right and top <= box[1] and box[3] <= bottom)
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found.append(text(x + dx, y + dy, point.name, anchor, class_='label',
                                  aria_hidden='true'))
                break
    return found


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def reliability(bins: Sequence[Mapping[str, Any]], label: str,
                size: tuple[int, int] = (460, 400)) -> Markup:
    """Draw the share of right segments by score, with the number of segments below.

    Args:
        bins: dicts of low, high (scores), n (segments), score (their mean) and right (share of
            them); the last two are None in an empty bin.
        label: what the picture shows, for readers who hear the page.
        size: (width, height) in pixels.
    """
    width, height = size
    counts_height = 56
    plot = frame(width, height - counts_height, (0.0, 1.0), (0.0, 1.0), margins=(30, 14, 26, 48))
    base, most = height - 22, max((row['n'] for row in bins), default=1) or 1
    marks = []
    for row in bins:
        left, right = plot.x(row['low']) + 1, plot.x(row['high']) - 1
        if not row['n']:
            continue
        hint = (f'scores {row["low"]:.1f} to {row["high"]:.1f}: {row["n"]:,} segments, '
                f'{percent(row["right"])} right, mean score {row["score"]:.3f}')
        tall = counts_height * 0.62 * row['n'] / most
        share, score = plot.y(row['right']), plot.y(row['score'])
        marks.append(group(
            rect(left, plot.y.end, right - left, plot.y.start - plot.y.end, class_='catch'),
            rect(left, share, right - left, plot.y.start - share, class_='mark'),
            # from the share to the mean score: what the scores promise too much or too little
            rect(left, min(share, score), right - left, abs(share - score),
                 class_='gap' if row['score'] > row['right'] else 'gap low'),
            rect(left, base - tall, right - left, tall, class_='mark quiet'), hint=hint))
    return svg(
        width, height, plot.axes('', 'share that is right'), marks,
        line(plot.x(0), plot.y(0), plot.x(1), plot.y(1), class_='guide'),
        line(plot.x(0), base, plot.x(1), base, class_='axis'),
        text(plot.x(0) - 8, base - 2, 'count', 'end'),
        text(plot.x(1), height - 4, 'score', 'end', class_='title'), label=label)


def recall_by_size(bins: Sequence[Mapping[str, Any]], label: str,
                   limits: Mapping[float, str] | None = None,
                   size: tuple[int, int] = (460, 400)) -> Markup:
    """Draw the share of segments that were found, by the side of a square of their size.

    Args:
        bins: dicts of low and high (areas in pixels, None: no limit), n (segments) and found.
        label: what the picture shows, for readers who hear the page.
        limits: area -> name of the sizes from there on.
        size: (width, height) in pixels.
    """
    width, height = size
    places = frame(width, height, (0.0, float(max(1, len(bins)))), (0.0, 1.0),
                   margins=(56, 14, 62, 48))
    sides = [0.0, *(math.sqrt(row['high']) if row['high'] else math.inf for row in bins)]
    marks, names = [], []
    for place, row in enumerate(bins):
        left, right = places.x(place) + 3, places.x(place + 1) - 3
        middle, share = (left + right) / 2, row['found'] / row['n'] if row['n'] else 0.0
        names.append(text(middle, places.y.start + 36, number_text(row['n']), 'middle',
                          class_='small'))
        if row['n']:
            top = places.y(share)
            marks.append(group(
                rect(left, places.y.end, right - left, places.y.start - places.y.end,
                     class_='catch'),
                rect(left, top, right - left, places.y.start - top, class_='mark'),
                text(middle, top - 5, _short_percent(share), 'middle', class_='label'),
                hint=f'{_side_range(sides[place], sides[place + 1])}: {row["found"]:,} of '
                     f'{row["n"]:,} segments found ({percent(share)})'))
    borders = [places.x(place + 1) for place in range(len(bins) - 1)]
    return svg(
        width, height,
        places.axes('', '', (), nice_ticks(0, 1), y_text=lambda value: f'{100 * value:.0f}'),
        text(places.x.start, 18, 'found, % of the segments', class_='title'),
        marks, names,
        [text(x, places.y.start + 18, f'{side:.0f}', 'middle')
         for x, side in zip(borders, sides[1:])],
        [_limit(_place(math.sqrt(area), sides, places), places, name)
         for area, name in (limits or {}).items()],
        text(places.x.end, height - 6, 'side in pixels, number of segments', 'end',
             class_='title'), label=label)


def _limit(x: float, plot: Frame, name: str) -> list[Markup]:
    return [line(x, plot.y.start, x, plot.y.end - 30, class_='guide'),
            text(x + 4, plot.y.end - 22, name, class_='small')]


def _place(side: float, sides: Sequence[float], plot: Frame) -> float:
    """Return the position of a side between the bins' borders, whose distances are equal."""
    place = next(k for k in range(len(sides)) if side < sides[k + 1])
    low, high = sides[place], sides[place + 1]
    part = math.log(side / low) / math.log(high / low) if low and math.isfinite(high) else 0.5
    return plot.x(place + part)


def _side_range(low: float, high: float) -> str:
    if not low:
        return f'sides below {high:.0f} pixels'
    return f'sides of {low:.0f} pixels and more' if math.isinf(high) else (
        f'sides of {low:.0f} to {high:.0f} pixels')
