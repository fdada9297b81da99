"""The page of the curves: a table of the runs, charts, scores by class."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmpanseg.curves.charts import FURTHER, SCORES
from mmpanseg.curves.picture import class_maps, class_order, last_scores
from mmpanseg.curves.run_log import ClassHistory, RunLog, Series
from mmpanseg.pages.line_chart import ChartRun, LineChart, line_chart_assets, line_charts
from mmpanseg.pages.page import Markup, table, tag, write_page

# columns of a heat map; of more validations a part is shown
_COLUMNS = 24
_KEY_SCORES = ('PQ', 'AP', 'mIoU')


def write_curves_page(path: Path, title: str, runs: Sequence[RunLog],
                      charts: Sequence[LineChart], chart_runs: Sequence[ChartRun],
                      files: Sequence[str], axis: str, smoothing: float, log: bool) -> None:
    """Write the page.

    Args:
        path: of the HTML file.
        title: above the page.
        runs: see :class:`RunLog`.
        charts: see :func:`mmpanseg.curves.charts.make_charts`.
        chart_runs: of the charts.
        files: names of files beside the page.
        axis: ``step``, ``epoch`` or ``time``.
        smoothing: weight of the past, 0 .. below 1.
        log: logarithmic axes of losses and gradient norms.

    Raises:
        FileWriteError: the file cannot be written.
    """
    links: list[object] = []
    for name in files:
        links += [' · ' if links else None, tag('a', name, href=name)]
    head = tag('header', tag('h1', title), tag('p', links, class_='soft'),
               _run_table(runs, chart_runs),
               [tag('p', f'{run.name}: {note}.' if len(runs) > 1 else f'{note}.', class_='warn')
                for run in runs for note in run.notes])
    style, script = line_chart_assets()
    write_page(path, f'{title} - curves', [
        head, *line_charts(charts, chart_runs, axis, smoothing, log,
                           {SCORES: _class_section(runs)}, (FURTHER, ))], [style], [script])


def _run_table(runs: Sequence[RunLog], chart_runs: Sequence[ChartRun]) -> Markup:
    keys = [name for name in dict.fromkeys(name for run in runs for name in run.val)
            if name.rpartition('/')[2] in _KEY_SCORES]
    head = ['run', 'last step', 'hours', 'loss',
            *(title for name in keys for title in (name.rpartition('/')[2], 'best'))]
    rows = []
    for run, described in zip(runs, chart_runs):
        clock = run.clock()
        cells: list[object] = [
            [tag('span', class_='mark', style=f'--light:{described.color[0]};'
                 f'--dark:{described.color[1]}'), run.name],
            f'{run.last_step:,}', f'{clock.values[-1]:.2f}' if len(clock.values) else '-',
            _last(run.train.get('loss'))]
        for name in keys:
            cells += [_last(run.val.get(name)), _best(run.val.get(name))]
        rows.append(cells)
    return tag('div', table(head, rows, range(1, len(head))), class_='scroll')


def _last(series: Series | None) -> str:
    if series is None or not np.isfinite(series.values).any():
        return '-'
    return f'{series.values[np.isfinite(series.values)][-1]:.2f}'


def _best(series: Series | None) -> str:
    if series is None or not np.isfinite(series.values).any():
        return '-'
    place = int(np.nanargmax(series.values))
    return f'{series.values[place]:.2f} at {series.steps[place]:,}'


def _class_section(runs: Sequence[RunLog]) -> list[Markup]:
    maps = list(class_maps(runs))
    if not maps:
        if not any(name.rpartition('/')[2] == 'PQ' for run in runs for name in run.val):
            return []
        return [tag('section', tag('h3', 'PQ by class'), tag(
            'p', 'The runs have no class_scores.json, which trainings of this version write: '
            'the tables of classes are in their text logs only.', class_='soft'))]
    return [tag('section', tag('h3', 'PQ by class', id='classes'), tag(
        'p', 'One column for each validation, the best class of the last one first' + (
            ' (of the first run)' if len(maps) > 1 else '') + '. The number is PQ in percent; '
        'empty: the class did not occur.', class_='soft'),
        tag('div', [
            tag('figure', tag('figcaption', name) if name else None,
                tag('div', _heat_map(history, class_order(history, runs)), class_='scroll'),
                class_='heat') for name, history in maps], class_='heats'))]


def _heat_map(history: ClassHistory, order: Sequence[int]) -> Markup:
    import matplotlib

    colors = matplotlib.colormaps['viridis']
    count = len(history.steps)
    shown = sorted({round(k * (count - 1) / max(1, _COLUMNS - 1)) for k in range(_COLUMNS)}
                   if count > _COLUMNS else range(count))
    last = last_scores(history)
    rows = []
    for label in order:
        kind = 'thing' if history.things[label] else 'stuff'
        cells = [tag('th', history.classes[label], scope='row'),
                 tag('td', kind, class_='soft kind')]
        values = history.pq[:, label]
        finite = values[np.isfinite(values)]
        change = finite[-1] - finite[0] if len(finite) > 1 else np.nan
        cells += [tag('td', f'{last[label]:.2f}' if len(finite) else '', class_='number'),
                  tag('td', f'{change:+.2f}' if np.isfinite(change) else '', class_='number soft')]
        for k in shown:
            value = values[k]
            if not np.isfinite(value):
                cells.append(tag('td'))
                continue
            red, green, blue = (round(255 * part) for part in colors(value / 100)[:3])
            cells.append(tag(
                'td', f'{value:.0f}', title=f'{history.classes[label]}, step '
                f'{int(history.steps[k]):,}: PQ {value:.2f}', class_='cell',
                style=f'background:rgb({red},{green},{blue});'
                f'color:{"#fff" if value < 60 else "#10181c"}'))
        rows.append(tag('tr', cells))
    head = ['class', tag('span', 'kind', class_='kind'), 'last', 'change',
            *(f'{int(history.steps[k]):,}' for k in shown)]
    return table(head, rows, range(2, len(head)))
