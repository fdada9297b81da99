"""Curves as PNG files."""
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmpanseg.curves.charts import FURTHER, on_axis
from mmpanseg.curves.run_log import ClassHistory, RunLog
from mmpanseg.curves.smoothing import smooth
from mmpanseg.pages.line_chart import ChartLine, ChartRun, LineChart
from mmpanseg.utils.atomic_files import result_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXIS_TITLES = {'step': 'step', 'epoch': 'epoch', 'time': 'hours of training'}
_INK, _SOFT, _GRID = '#1d2327', '#5b666e', '#e4e7e8'
_STYLE: Any = {
    'font.size': 9.5, 'axes.titlesize': 11.5, 'axes.titleweight': 'bold',
    'axes.titlelocation': 'left', 'axes.titlecolor': _INK, 'axes.titlepad': 9,
    'axes.edgecolor': '#b9c0c4', 'axes.labelcolor': _SOFT, 'axes.linewidth': 0.8,
    'axes.spines.top': False, 'axes.spines.right': False, 'axes.grid': True,
    'axes.axisbelow': True, 'grid.color': _GRID, 'grid.linewidth': 0.8,
    'xtick.color': _SOFT, 'ytick.color': _SOFT, 'xtick.major.size': 3, 'ytick.major.size': 0,
    'text.color': _INK, 'savefig.facecolor': 'white', 'figure.facecolor': 'white'}
# a longer name is cut in front of its line; the table of the page has all of it
_LABEL = 26


class _End(NamedTuple):
    """Last point of a line."""

    x: float
    y: float
    line: ChartLine


def write_curves(path: Path, title: str, charts: Sequence[LineChart], runs: Sequence[ChartRun],
                 axis: str = 'step', smoothing: float = 0.0, log: bool = False) -> None:
    """Write all charts, those of further scores left out, as one picture.

    Args:
        path: of the PNG.
        title: above the charts.
        charts: see :func:`mmpanseg.curves.charts.make_charts`.
        runs: of the charts.
        axis: ``step``, ``epoch`` or ``time``.
        smoothing: weight of the past, 0 .. below 1; the values themselves stay as faint lines.
        log: logarithmic axes of losses and gradient norms.

    Raises:
        FileWriteError: the file cannot be written.
    """
    import matplotlib

    shown = [chart for chart in charts if chart.section != FURTHER] or list(charts)
    # all charts end at the same step
    end = max((float(np.nanmax([0, *on_axis(runs[line.run], line.steps, axis)]))
               for chart in shown for line in chart.lines), default=1)
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    with matplotlib.rc_context(_STYLE):
        figure = _figure(5.2 * columns, 0.8 + 3.3 * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        figure.text(0.012, 1 - 0.36 / figure.get_figheight(), title, fontsize=15, weight='bold',
                    va='center')
        for place, chart in zip(grid.flat, shown):
            _draw(place, chart, runs, axis, smoothing if chart.smooth else 0.0,
                  log and chart.log, end)
        for place in grid.flat[len(shown):]:
            place.set_visible(False)
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.6 / figure.get_figheight()), w_pad=2.2, h_pad=2)
        _save(figure, path)


def _figure(width: float, height: float) -> 'Figure':
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: 'Figure', path: Path) -> None:
    with result_file(path) as part:
        figure.savefig(part, format='png')


def _draw(place: 'Axes', chart: LineChart, runs: Sequence[ChartRun], axis: str, weight: float,
          log: bool, end: float) -> None:
    labels: list[_End] = []
    # of many decoder layers, the first and the last one
    crowded = len(chart.lines) > 6 and all(line.run == 0 for line in chart.lines)
    for line in chart.lines:
        x, y = on_axis(runs[line.run], line.steps, axis), np.asarray(line.values, float)
        if log:
            y = np.where(y > 0, y, np.nan)
        drawn = smooth(y, weight) if weight else y
        style: dict[str, Any] = dict(color=line.color[0], linestyle='--' if line.dashed else '-')
        if weight and len(chart.lines) <= 3:  # of more lines the values hide each other
            place.plot(x, y, alpha=0.25, linewidth=0.9, **style)
        marker = 'o' if chart.points and len(y) <= 40 or np.isfinite(drawn).sum() == 1 else None
        place.plot(x, drawn, linewidth=1.5 * line.width, marker=marker, markersize=3.2, **style)
        finite = np.flatnonzero(np.isfinite(drawn) & np.isfinite(x))
        if finite.size and (not crowded or line in (chart.lines[0], chart.lines[-1])):
            labels.append(_End(float(x[finite[-1]]), float(drawn[finite[-1]]), line))
    place.set_title(chart.title)
    place.set_xlabel(AXIS_TITLES[axis])
    if log and labels:
        place.set_yscale('log')
    place.margins(x=0.02, y=0.08)
    place.set_xlim(0, end * 1.01 or 1)
    low, _ = place.get_ylim()
    if not log and low < 0 and all(not value < 0 for line in chart.lines
                                   for value in line.values):
        place.set_ylim(bottom=0)
    _ticks(place, axis, log)
    _write_labels(place, labels, chart.unit)


def _ticks(place: 'Axes', axis: str, log: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    place.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10), integer=axis != 'time'))
    place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    if log:
        place.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        place.yaxis.set_minor_formatter(NullFormatter())
    else:
        place.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    place.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """Write a number of an axis."""
    size = abs(value)
    if size >= 1e6:
        return f'{value / 1e6:.3g}M'
    if size >= 1e4:
        return f'{value / 1e3:.3g}k'
    if size and size < 1e-3:
        mantissa, power = f'{value:.2e}'.split('e')
        return f'{mantissa.rstrip("0").rstrip(".")}e{int(power)}'
    return f'{value:.4g}'


def _write_labels(place: 'Axes', ends: Sequence[_End], unit: str) -> None:
    """Write names and last values beside the ends of the lines, none above another."""
    from matplotlib.patheffects import withStroke

    if not ends:
        return
    low, high = place.get_ylim()
    log = place.get_yscale() == 'log'

    def share(end: _End) -> float:
        if log:
            return math.log(end.y / low) / math.log(high / low)
        return (end.y - low) / (high - low)

    # ends that are close share a column
    columns: list[list[_End]] = []
    for end in ends:
        near = next((column for column in columns
                     if abs(column[0].x - end.x) < 0.2 * place.get_xlim()[1]), None)
        if near is None:
            columns.append([end])
        else:
            near.append(end)
    for column in columns:
        column.sort(key=share)
        x = max(end.x for end in column) / place.get_xlim()[1]
        for at, end in zip(_inside(spread([share(end) for end in column], 0.075)), column):
            name = end.line.name
            name = name if len(name) <= _LABEL else '…' + name[1 - _LABEL:]
            place.annotate(f'{name}  {_short_value(end.y)}{unit}', (x, at), (6, 0),
                           'axes fraction', 'offset points', color=end.line.color[0],
                           fontsize=8.8, va='center', annotation_clip=False,
                           path_effects=[withStroke(linewidth=3, foreground='white')])


def _inside(places: list[float]) -> list[float]:
    """Move all places up, if the lowest one is below the axis."""
    shift = max(0.0, -min(places))
    return [place + shift for place in places]


def _short_value(value: float) -> str:
    if abs(value) >= 1000:
        return f'{value:,.0f}'
    return f'{value:.2f}' if abs(value) >= 0.995 else f'{value:.3g}'


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move ascending places apart to at least ``gap``, each as little as possible.

    Args:
        places: ascending.
        gap: least distance.
    """
    # groups of (sum of places at their first member, number of members)
    groups: list[tuple[float, int]] = []
    for place in places:
        total, count = place, 1
        while groups and groups[-1][0] / groups[-1][1] + groups[-1][1] * gap > total / count:
            before, size = groups.pop()
            total, count = before + total - count * size * gap, size + count
        groups.append((total, count))
    return [total / count + k * gap for total, count in groups for k in range(count)]


def write_classes(path: Path, title: str, runs: Sequence[RunLog]) -> None:
    """Write PQ by class over the validations as heat maps, one for each metric of each run.

    Args:
        path: of the PNG.
        title: above the pictures.
        runs: of which at least one has scores by class.

    Raises:
        FileWriteError: the file cannot be written.
    """
    import matplotlib

    maps = list(class_maps(runs))
    height = max(len(history.classes) for _, history in maps)
    with matplotlib.rc_context({**_STYLE, 'axes.grid': False, 'axes.spines.left': False,
                                'axes.spines.bottom': False}):
        figure = _figure(max(6.5, 5.8 * len(maps)), 1.6 + 0.235 * max(height, 6))
        grid = figure.subplots(1, len(maps), squeeze=False)
        figure.text(0.012, 1 - 0.32 / figure.get_figheight(), title, fontsize=14, weight='bold',
                    va='center')
        for place, (name, history) in zip(grid.flat, maps):
            _draw_classes(place, name, history, class_order(history, runs))
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.5 / figure.get_figheight()), w_pad=2)
        _save(figure, path)


def class_maps(runs: Sequence[RunLog]) -> Iterator[tuple[str, ClassHistory]]:
    """Yield title and scores by class of each metric of each run."""
    for run in runs:
        for history in run.classes:
            parts = [run.name if len(runs) > 1 else '',
                     history.prefix if len(run.classes) > 1 else '']
            yield ', '.join(part for part in parts if part), history


def class_order(history: ClassHistory, runs: Sequence[RunLog]) -> list[int]:
    """Order the classes by their last PQ, the best first; those that never occur are left out.

    Args:
        history: whose classes are ordered.
        runs: all runs: the first one with the same classes and metric decides, so that rows of
            several heat maps are the same classes.
    """
    key = (history.prefix, history.classes)
    first = next(other for run in runs for other in run.classes
                 if (other.prefix, other.classes) == key)
    last, own = last_scores(first), last_scores(history)
    known = [label for label in range(len(history.classes))
             if np.isfinite(last[label]) or np.isfinite(own[label])]
    return sorted(known, key=lambda label: -np.nan_to_num(last[label], nan=-1))


def last_scores(history: ClassHistory) -> np.ndarray:
    """Find the last PQ of each class, NaN for those that never occur."""
    last: np.ndarray = np.full(len(history.classes), np.nan)
    for row in history.pq:
        last = np.where(np.isfinite(row), row, last)
    return last


def _draw_classes(place: 'Axes', name: str, history: ClassHistory, order: list[int]) -> None:
    last = last_scores(history)
    values = history.pq[:, order].T
    place.imshow(np.ma.masked_invalid(values), aspect='auto', cmap='viridis', vmin=0, vmax=100,
                 interpolation='nearest')
    place.set_title(name or 'PQ by class', pad=8)
    place.set_yticks(range(len(order)), [history.classes[label] for label in order])
    count = len(history.steps)
    shown = range(count) if count <= 10 else sorted({round(k * (count - 1) / 5)
                                                     for k in range(6)})
    place.set_xticks(shown, [_short(float(history.steps[k])) for k in shown])
    place.set_xlabel('step')
    place.tick_params(length=0)
    few = count <= 8
    for row, label in enumerate(order):
        if np.isfinite(last[label]):
            place.text(count - 0.5 + 0.02 * count, row, f'{last[label]:.1f}', va='center',
                       fontsize=9, color=_INK)
        for column in range(count if few else 0):
            value = values[row, column]
            if np.isfinite(value):
                place.text(column, row, f'{value:.0f}', ha='center', va='center', fontsize=8,
                           color='white' if value < 60 else _INK)
    place.text(count - 0.5 + 0.02 * count, -1, 'last', va='center', fontsize=9, color=_SOFT)
