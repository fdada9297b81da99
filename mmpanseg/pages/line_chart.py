"""Line charts of a page: values under the pointer, lines that can be switched off, zoom.

The script draws them at the size of the window and in the colors of the theme. All charts of a page
share the runs, the range of steps, the unit of the horizontal axis and the smoothing.
"""
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mmpanseg.pages.page import Markup, read_asset, tag
from mmpanseg.utils import strict_json

# of a line; longer ones are thinned, the picture stays the same
MAX_POINTS = 1600
# (on a light ground, on a dark one): distinct for people who see no red or no green, too
LINE_COLORS = (
    ('#007cbf', '#2eb6ff'), ('#d25f00', '#fb7100'), ('#009463', '#d6fff1'),
    ('#752758', '#ba3e8d'), ('#694f00', '#ffd864'), ('#200f3d', '#8354d4'),
    ('#839096', '#a4adb1'), ('#e3493b', '#e97166'))
# first and last color of a sequence
_RAMP = (((126, 166, 198), (0, 84, 138)), ((74, 108, 134), (120, 196, 246)))


@dataclass(frozen=True)
class ChartRun:
    """A run, whose lines are switched together.

    Attributes:
        name: short and distinct.
        color: see :func:`line_color`.
        note: what else is said of it.
        clock: steps and hours of training since the start, as far as known.
        epoch_length: steps in an epoch; None if unknown.
    """

    name: str
    color: tuple[str, str]
    note: str = ''
    clock: tuple[Sequence[float], Sequence[float]] = ((), ())
    epoch_length: float | None = None


@dataclass(frozen=True)
class ChartLine:
    """A line of a chart.

    Attributes:
        name: of the line in its chart.
        run: position of its run.
        steps: ascending.
        values: one for each step; NaN is a gap.
        color: see :func:`line_color` and :func:`ramp_color`.
        width: relative to other lines.
        dashed: for lines that share a color.
    """

    name: str
    run: int
    steps: Sequence[float]
    values: Sequence[float]
    color: tuple[str, str]
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True)
class LineChart:
    """A chart of lines over the steps of a training.

    Attributes:
        key: letters, digits and ``-``; its place in the page.
        title: what is drawn.
        lines: see :class:`ChartLine`.
        section: heading under which it stands.
        unit: of the values, after each number.
        note: a sentence below the title.
        smooth: whether the page's smoothing applies: not to learning rates or scores.
        log: whether the page's logarithmic axis applies.
        points: mark each value, for series of few values.
    """

    key: str
    title: str
    lines: Sequence[ChartLine]
    section: str
    unit: str = ''
    note: str = ''
    smooth: bool = False
    log: bool = False
    points: bool = False


def line_color(position: int) -> tuple[str, str]:
    """Return the color on a light and on a dark ground of line 0, 1, ...; they repeat after 8."""
    return LINE_COLORS[position % len(LINE_COLORS)]


def ramp_color(share: float) -> tuple[str, str]:
    """Return a color of a sequence.

    Args:
        share: 0 (pale) .. 1 (strong).
    """
    light, dark = (
        '#' + ''.join(f'{round(a + (b - a) * share):02x}' for a, b in zip(first, last))
        for first, last in _RAMP)
    return light, dark


def line_charts(charts: Sequence[LineChart], runs: Sequence[ChartRun], axis: str = 'step',
                smoothing: float = 0.0, log: bool = False,
                beside: Mapping[str, Sequence[Markup]] | None = None,
                closed: Collection[str] = ()) -> list[Markup]:
    """Create the charts of a page with their controls.

    Args:
        charts: those of a section stand together.
        runs: all runs.
        axis: ``step``, ``epoch`` or ``time`` (hours), at first.
        smoothing: weight of the past at first, 0 .. 0.99.
        log: whether loss axes are logarithmic at first.
        beside: section -> what stands below its charts.
        closed: sections that the reader opens.
    """
    axes = ['step', *(['epoch'] if any(run.epoch_length for run in runs) else []),
            *(['time'] if any(len(run.clock[0]) for run in runs) else [])]
    sections = dict.fromkeys(chart.section for chart in charts)
    return [tag(
        'div', _tools(runs, axes, axis, smoothing, log),
        tag('noscript', tag('p', 'Charts need JavaScript; the pictures beside this page do not.')),
        [_section(section, [chart for chart in charts if chart.section == section],
                  (beside or {}).get(section, ()), section in closed) for section in sections],
        class_='charts', data_runs=_as_json([dict(
            epoch=run.epoch_length, clock=[_numbers(part) for part in _thinned(*run.clock)])
            for run in runs]),
        data_axis=axis, data_smoothing=smoothing, data_log=str(log).lower())]


def _section(title: str, charts: Sequence[LineChart], beside: Sequence[Markup],
             closed: bool) -> Markup:
    grid = tag('div', [_figure(chart) for chart in charts], class_='grid')
    if closed:
        return tag('details', tag('summary', f'{title} ({len(charts)})'), grid, beside)
    return tag('section', tag('h2', title), grid, beside)


def _tools(runs: Sequence[ChartRun], axes: Sequence[str], axis: str, smoothing: float,
           log: bool) -> Markup:
    titles = {'step': 'steps', 'epoch': 'epochs', 'time': 'hours'}
    parts = {'1': 'all', '0.5': 'last half', '0.25': 'last quarter', '0.1': 'last tenth',
             '': 'chosen part'}
    return tag(
        'div',
        tag('div', [tag('button', tag('i'), run.name, type='button', class_='run',
                        data_run=number, aria_pressed='true', title=run.note,
                        style=f'--light:{run.color[0]};--dark:{run.color[1]}')
                    for number, run in enumerate(runs)], class_='runs')
        if len(runs) > 1 else None,
        tag('label', 'axis', tag('select', [
            tag('option', titles[name], value=name, selected=name == axis) for name in axes],
            id='axis')),
        tag('label', 'smooth', tag('input', type='range', id='smoothing', min=0, max=0.99,
                                   step=0.01, value=smoothing),
            tag('output', f'{smoothing:.2f}', id='weight')),
        tag('label', tag('input', type='checkbox', id='log', checked=log), 'log losses'),
        tag('label', 'show', tag('select', [tag('option', text, value=value)
                                            for value, text in parts.items()], id='part')),
        tag('span', tag('button', 'Zoom out', type='button', id='unzoom', disabled=True,
                        title='or double click; drag over a chart to zoom in'),
            tag('button', 'dark / light', type='button', id='theme'), class_='end'),
        class_='tools')


def _figure(chart: LineChart) -> Markup:
    lines = [dict(name=line.name, run=line.run, x=_numbers(steps), y=_numbers(values),
                  color=line.color, width=line.width, dashed=line.dashed)
             for line in chart.lines
             for steps, values in [_thinned(line.steps, line.values)]]
    content = dict(title=chart.title, unit=chart.unit, smooth=chart.smooth, log=chart.log,
                   points=chart.points, lines=lines)
    return tag('figure',
               tag('figcaption', chart.title, [' ', tag('span', chart.note, class_='soft')]
                   if chart.note else None),
               tag('div', class_='plot'), tag('div', class_='legend'),
               class_='chart', id=f'chart-{chart.key}', data_chart=_as_json(content))


def _thinned(steps: Sequence[float], values: Sequence[float]
             ) -> tuple[Sequence[float], Sequence[float]]:
    """Keep the least and the greatest value of equal parts of a long series."""
    if len(steps) <= MAX_POINTS:
        return steps, values
    parts = MAX_POINTS // 2
    kept: set[int] = {0, len(steps) - 1}
    for part in range(parts):
        finite = [k for k in range(part * len(steps) // parts, (part + 1) * len(steps) // parts)
                  if math.isfinite(values[k])]
        if finite:
            kept |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    order = sorted(kept)
    return [steps[k] for k in order], [values[k] for k in order]


def _numbers(values: Sequence[float]) -> list[float | int | None]:
    """Six digits of each number, null for NaN."""
    return [None if not math.isfinite(value)
            else int(value) if value == int(value) else float(f'{value:.6g}') for value in values]


def _as_json(content: object) -> str:
    return strict_json.dumps(content, ensure_ascii=False, separators=(',', ':'))


def line_chart_assets() -> tuple[str, str]:
    """Return style and script of :func:`line_charts`, for :func:`write_page`."""
    return read_asset('line_chart.css'), read_asset('line_chart.js')
