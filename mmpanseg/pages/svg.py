"""Inline SVG for pages: shapes, scales with readable ticks, axes, texts that appear on hovering.

Colors and fonts are classes of ``charts.css``, so that a picture follows the dark or light page.
"""
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mmpanseg.pages.page import Content, Markup, read_asset, tag

# colors of the style for series of data: classes series-0 .. series-7
NUM_SERIES = 8


@dataclass(frozen=True)
class Scale:
    """Converts values to positions of a picture.

    Args:
        low: value at ``start``.
        high: value at ``end``, different from ``low``.
        start: position of ``low`` in pixels; of a vertical axis it is the lower end.
        end: position of ``high``.
        log: logarithmic; then ``low`` and ``high`` are above 0.

    Raises:
        ValueError: the values are not finite, are equal or cannot be logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)) or self.low == self.high:
            raise ValueError(f'a scale from {self.low} to {self.high} has no length')
        if self.log and min(self.low, self.high) <= 0:
            raise ValueError(f'a logarithmic scale from {self.low} to {self.high} contains 0')

    def __call__(self, value: float) -> float:
        """Convert a value; those outside of the scale come to lie outside of its positions."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, number: int = 5) -> list[float]:
        """Return about ``number`` readable values of the scale, see :func:`nice_ticks`."""
        low, high = min(self.low, self.high), max(self.low, self.high)
        return log_ticks(low, high) if self.log else nice_ticks(low, high, number)


def nice_step(low: float, high: float, number: int = 5) -> float:
    """Return 1, 2 or 5 times a power of ten that divides a range in about ``number`` parts."""
    raw = (high - low) / max(1, number)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def nice_ticks(low: float, high: float, number: int = 5) -> list[float]:
    """Return multiples of :func:`nice_step` in a range, its ends included.

    Args:
        low: begin of the range.
        high: its end, above ``low``.
        number: of parts that are aimed at.
    """
    step = nice_step(low, high, number)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # of whole numbers, rounded, so that 3 * 0.1 is 0.3
    digits = max(0, -math.floor(math.log10(step)))
    return [round(k * step, digits) for k in range(first, last + 1)]


def nice_range(low: float, high: float, number: int = 5) -> tuple[float, float]:
    """Widen a range to the next multiples of :func:`nice_step`; one value gets a range."""
    if low == high:
        margin = abs(low) / 2 or 1.0
        low, high = low - margin, high + margin
    step = nice_step(low, high, number)
    digits = max(0, -math.floor(math.log10(step)))
    return (round(math.floor(low / step + 1e-9) * step, digits),
            round(math.ceil(high / step - 1e-9) * step, digits))


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten in a range; of short ranges also their multiples by 2 and 5.

    Args:
        low: begin of the range, above 0.
        high: its end, above ``low``.
    """
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    for factors in ((1, ), (1, 3), (1, 2, 5)):
        found = [float(f'{factor}e{power}') for power in range(first, last + 1)
                 for factor in factors if low * (1 - 1e-9) <= factor * 10.0 ** power
                 <= high * (1 + 1e-9)]
        if len(found) >= 3:
            break
    return found if found else [low, high]


def number_text(value: float, step: float | None = None) -> str:
    """Write a number of an axis: 0.25, 40, 1,500, 20k, 3M, 2e-05.

    Args:
        value: the number.
        step: distance of the ticks, which gives the digits; None: up to 3 digits.
    """
    size = abs(value)
    if value == 0:
        return '0'
    for limit, unit in ((1e9, 'G'), (1e6, 'M'), (1e4, 'k')):
        if size >= limit:
            return f'{value / (1000 if unit == "k" else limit):.3g}{unit}'
    if size < 1e-3:
        return f'{value:.3g}'
    if step is None:
        return f'{value:.3g}' if size < 1000 else f'{value:,.0f}'
    digits = next((digits for digits in range(6) if math.isclose(
        step * 10 ** digits, round(step * 10 ** digits), rel_tol=1e-6)), 6)
    return f'{value:,.{digits}f}'


def svg(width: float, height: float, *children: Content, label: str, **attributes: object
        ) -> Markup:
    """Create a picture that is as wide as its place, and at most ``width`` pixels.

    Args:
        width: of the picture in pixels.
        height: of the picture in pixels.
        children: shapes.
        label: what it shows, for readers who hear the page.
        attributes: as those of :func:`~mmpanseg.pages.page.tag`.
    """
    return tag('svg', children, attributes={
        'viewBox': f'0 0 {_short(width)} {_short(height)}', 'role': 'img', 'aria-label': label,
        'class': 'chart', 'style': f'max-width: {_short(width)}px'}, **attributes)


def text(x: float, y: float, content: Content, anchor: str = 'start', **attributes: object
         ) -> Markup:
    """Create a text.

    Args:
        x: position in pixels.
        y: its base line.
        content: what it says.
        anchor: 'start', 'middle' or 'end' is at ``x``.
        attributes: as those of :func:`~mmpanseg.pages.page.tag`.
    """
    return tag('text', content, attributes={'x': _short(x), 'y': _short(y),
                                            'text-anchor': None if anchor == 'start' else anchor},
               **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> Markup:
    """Create a straight line between two points."""
    return tag('line', attributes={'x1': _short(x1), 'y1': _short(y1), 'x2': _short(x2),
                                   'y2': _short(y2)}, **attributes)


def rect(x: float, y: float, width: float, height: float, hint: str | None = None,
         **attributes: object) -> Markup:
    """Create a rectangle, with a text on hovering."""
    return tag('rect', _hint(hint), attributes={
        'x': _short(x), 'y': _short(y), 'width': _short(max(0.0, width)),
        'height': _short(max(0.0, height))}, **attributes)


def circle(x: float, y: float, radius: float, hint: str | None = None, **attributes: object
           ) -> Markup:
    """Create a circle, with a text on hovering."""
    return tag('circle', _hint(hint), attributes={
        'cx': _short(x), 'cy': _short(y), 'r': _short(radius)}, **attributes)


def polyline(points: Iterable[tuple[float, float]], hint: str | None = None,
             **attributes: object) -> Markup:
    """Create a line through points, with a text on hovering."""
    return tag('polyline', _hint(hint), attributes={
        'points': ' '.join(f'{_short(x)},{_short(y)}' for x, y in points)}, **attributes)


def group(*children: Content, hint: str | None = None, **attributes: object) -> Markup:
    """Create a group of shapes, with a text on hovering over any of them."""
    return tag('g', _hint(hint), children, attributes=None, **attributes)


@dataclass(frozen=True)
class Frame:
    """The area of a plot inside its axes.

    Args:
        x: scale from left to right.
        y: scale from bottom to top.
    """

    x: Scale
    y: Scale

    def axes(self, x_title: str = '', y_title: str = '',
             x_ticks: Sequence[float] | None = None, y_ticks: Sequence[float] | None = None,
             x_text: Callable[[float], str] | None = None,
             y_text: Callable[[float], str] | None = None) -> Markup:
        """Draw grid lines, numbers and titles of both axes.

        The title of the y axis is above its upper end, where it is read without turning.

        Args:
            x_title: below the right end of the x axis.
            y_title: above the y axis.
            x_ticks: values with a number; None: :meth:`Scale.ticks`.
            y_ticks: values with a number and a grid line.
            x_text: writes a number; None: :func:`number_text`.
            y_text: the same of the y axis.
        """
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        x_ticks = self.x.ticks() if x_ticks is None else x_ticks
        y_ticks = self.y.ticks() if y_ticks is None else y_ticks
        x_text, y_text = x_text or _writer(x_ticks), y_text or _writer(y_ticks)
        return group(
            [line(left, self.y(value), right, self.y(value), class_='grid') for value in y_ticks],
            [text(left - 8, self.y(value) + 4, y_text(value), 'end') for value in y_ticks],
            [line(self.x(value), bottom, self.x(value), bottom + 4, class_='axis')
             for value in x_ticks],
            [text(self.x(value), bottom + 18, x_text(value), 'middle') for value in x_ticks],
            line(left, bottom, right, bottom, class_='axis'),
            text(right, bottom + 36, x_title, 'end', class_='title') if x_title else None,
            text(left, top - 12, y_title, class_='title') if y_title else None,
            class_='axes', aria_hidden='true')


def frame(width: float, height: float, x: tuple[float, float], y: tuple[float, float],
          log_x: bool = False, log_y: bool = False,
          margins: tuple[float, float, float, float] = (30, 14, 44, 48)) -> Frame:
    """Create the frame of a plot from the size of its picture.

    Args:
        width: of the picture in pixels.
        height: of the picture in pixels.
        x: values at the left and at the right end.
        y: values at the bottom and at the top.
        log_x: logarithmic x axis.
        log_y: logarithmic y axis.
        margins: (top, right, bottom, left) in pixels, for numbers and titles.
    """
    top, right, bottom, left = margins
    return Frame(Scale(*x, left, width - right, log_x), Scale(*y, height - bottom, top, log_y))


def color_style(color: str) -> dict[str, object]:
    """Return the attributes of an element in a color.

    Args:
        color: a class of the style such as ``series-0``, ``rgb(...)``, or '' for the default.
    """
    if color.startswith('rgb('):
        return {'style': f'--color: {color}'}
    return {'class': color or None}


def key(color: str) -> Markup:
    """Create the small area of a color before its name.

    Args:
        color: see :func:`color_style`.
    """
    found = color_style(color)
    return tag('span', attributes={**found, 'class': f'key {found.get("class") or ""}'.strip()})


def legend(entries: Iterable[tuple[str, Content]]) -> Markup:
    """Create a list of what colors mean.

    Args:
        entries: color, see :func:`color_style`, and name of each.
    """
    return tag('ul', [tag('li', key(color), name) for color, name in entries], class_='legend')


def chart_style() -> str:
    """Return the CSS of pictures, for ``styles`` of :func:`~mmpanseg.pages.page.write_page`."""
    return read_asset('charts.css', __file__)


def _writer(ticks: Sequence[float]) -> Callable[[float], str]:
    step = min((b - a for a, b in zip(ticks, ticks[1:])), default=None)
    return lambda value: number_text(value, step)


def _hint(content: str | None) -> Markup | None:
    return None if content is None else tag('title', content)


def _short(value: float) -> str:
    """Write a position with two digits, which is exact enough on any screen."""
    return f'{value:.2f}'.rstrip('0').rstrip('.') if value % 1 else f'{value:.0f}'
