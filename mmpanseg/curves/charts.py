"""Chooses the charts of one or several runs."""
import re
from collections.abc import Sequence

import numpy as np

from mmpanseg.curves.loss_groups import LossTerm, loss_terms, term_sum
from mmpanseg.curves.run_log import RunLog, Series
from mmpanseg.pages.line_chart import ChartLine, ChartRun, LineChart, line_color, ramp_color

SCORES, LOSSES, TRAINING, FURTHER = 'Scores', 'Losses', 'Training', 'Further scores'
SECTIONS = (SCORES, LOSSES, TRAINING, FURTHER)
# a metric with the classes that it averages
_GROUPED = re.compile(r'(.*?)(_th|_st)?')
_GROUPS = {'': 'all', '_th': 'things', '_st': 'stuff'}
# last parts of the names of scores that stand for a metric, by preference
_MAIN = ('PQ', 'PQ_th', 'PQ_st', 'AP', 'mAP', 'segm_mAP', 'bbox_mAP', 'mIoU')


def chart_runs(runs: Sequence[RunLog]) -> list[ChartRun]:
    """Describe the runs for charts."""
    described = []
    for position, run in enumerate(runs):
        clock = run.clock()
        described.append(ChartRun(
            run.name, line_color(position), f'step {run.last_step:,}',
            (clock.steps.tolist(), clock.values.tolist()), run.epoch_length))
    return described


def make_charts(runs: Sequence[RunLog]) -> list[LineChart]:
    """Choose the charts: with one run, what belongs together; with several, one value a chart.

    Args:
        runs: none of them empty.
    """
    charts = _one_run(runs[0]) if len(runs) == 1 else _several(runs)
    return sorted((chart for chart in charts if chart.lines),
                  key=lambda chart: SECTIONS.index(chart.section))


def _key(text: str) -> str:
    return re.sub(r'[^a-zA-Z0-9]+', '-', text).strip('-').lower() or 'chart'


def _line(name: str, series: Series | None, position: int, run: int = 0,
          color: tuple[str, str] | None = None, width: float = 1.0) -> list[ChartLine]:
    """A line, or none without a finite value."""
    if series is None or not np.isfinite(series.values).any():
        return []
    return [ChartLine(name, run, series.steps.tolist(), series.values.tolist(),
                      color or line_color(position), width, position >= 8)]


def _one_run(run: RunLog) -> list[LineChart]:
    charts = [*_grouped_scores(run)]
    train = run.train
    charts.append(LineChart('loss', 'Total loss', _line('loss', train.get('loss'), 0), LOSSES,
                            smooth=True, log=True))
    terms = loss_terms(train)
    deep = any(len(term.layers) > 1 for term in terms)
    charts.append(LineChart(
        'loss-terms', 'Terms of the loss',
        [line for place, term in enumerate(terms)
         for line in _line(term.name, term_sum(run, term), place)], LOSSES,
        note='Each is the sum over all decoder layers.' if deep else '', smooth=True, log=True))
    charts += [_layers(run, term) for term in terms if len(term.layers) > 1]
    rates = _line('lr', train.get('lr'), 0)
    if 'base_lr' in train and 'lr' in train and not _equal(train['lr'], train['base_lr']):
        rates += _line('base_lr', train['base_lr'], 1)
    charts.append(LineChart('lr', 'Learning rate', rates, TRAINING))
    norms = _line('all', train.get('grad_norm'), 0)
    for name, series in train.items():
        if name.startswith('grad_norm/'):
            norms += _line(name.partition('/')[2], series, len(norms))
    charts.append(LineChart('grad-norm', 'Gradient norm', norms, TRAINING, smooth=True, log=True))
    charts.append(LineChart(
        'time', 'Time of a step',
        [*_line('step', train.get('time'), 0), *_line('waiting for data', train.get('data_time'),
                                                      1)], TRAINING, unit=' s', smooth=True))
    charts.append(LineChart('memory', 'GPU memory', _line('peak', train.get('memory'), 0),
                            TRAINING, unit=' MB'))
    return charts


def _equal(one: Series, two: Series) -> bool:
    return len(one.steps) == len(two.steps) and bool(
        np.allclose(one.values, two.values, rtol=1e-6, equal_nan=True))


def _layers(run: RunLog, term: LossTerm) -> LineChart:
    """One term, a line for each decoder layer: paler ones come earlier."""
    early = [name for name in term.layers if name != 'last']
    lines = []
    for place, (name, logged) in enumerate(term.layers.items()):
        if name == 'last':
            lines += _line(name, run.train[logged], 1, width=1.6)
        else:
            share = place / max(1, len(early) - 1)
            lines += _line(name, run.train[logged], place % 8, color=ramp_color(share))
    return LineChart(_key(f'layers {term.name}'), f'{term.name} by decoder layer', lines, LOSSES,
                     smooth=True, log=True)


def _grouped_scores(run: RunLog) -> list[LineChart]:
    """Scores of one run: all, things and stuff in a chart; other scores of a metric in another."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name in run.val:
        prefix, _, last = name.rpartition('/')
        match = _GROUPED.fullmatch(last)
        stem, group = (match[1], match[2] or '') if match else (last, '')
        groups.setdefault((prefix, stem), []).append((_GROUPS[group], name))
    charts: list[LineChart] = []
    single: dict[str, list[tuple[str, str]]] = {}
    for (prefix, stem), members in groups.items():
        if not prefix and stem in ('time', 'data_time', 'memory'):
            continue
        if len(members) == 1:
            single.setdefault(prefix, []).append((stem, members[0][1]))
            continue
        main = stem in _MAIN
        charts.append(LineChart(
            _key(f'{prefix} {stem}'), stem.replace('_', ' '),
            [line for place, (label, name) in enumerate(members)
             for line in _line(label, run.val[name], place)],
            SCORES if main or stem in ('SQ', 'RQ') else FURTHER, points=True))
    for prefix, pairs in single.items():
        # more lines than colors make no chart
        for begin in range(0, len(pairs), 6):
            part = pairs[begin:begin + 6]
            charts.append(LineChart(
                _key(f'{prefix} scores {begin}'), prefix or 'Scores',
                [line for place, (stem, name) in enumerate(part)
                 for line in _line(stem, run.val[name], place)],
                SCORES if any(stem in _MAIN for stem, _ in part) else FURTHER, points=True))
    return charts


def _several(runs: Sequence[RunLog]) -> list[LineChart]:
    def over_runs(key: str, title: str, series: Sequence[Series | None], section: str,
                  unit: str = '', note: str = '', smooth: bool = False, log: bool = False,
                  points: bool = False) -> LineChart:
        lines = [line for place, (run, one) in enumerate(zip(runs, series))
                 for line in _line(run.name, one, place, place)]
        return LineChart(_key(key), title, lines, section, unit, note, smooth, log, points)

    charts = []
    names = list(dict.fromkeys(name for run in runs for name in run.val))
    names.sort(key=lambda name: _MAIN.index(name.rpartition('/')[2])
               if name.rpartition('/')[2] in _MAIN else len(_MAIN))
    for name in names:
        last = name.rpartition('/')[2]
        if last in ('time', 'data_time', 'memory'):
            continue
        charts.append(over_runs(f'score {name}', _score_title(name), [
            run.val.get(name) for run in runs], SCORES if last in _MAIN else FURTHER, points=True))
    charts.append(over_runs('loss', 'Total loss', [run.train.get('loss') for run in runs], LOSSES,
                            smooth=True, log=True))
    terms = [{term.name: term for term in loss_terms(run.train)} for run in runs]
    for name in dict.fromkeys(name for known in terms for name in known):
        layers = max(len(known[name].layers) for known in terms if name in known)
        charts.append(over_runs(
            f'term {name}', name, [term_sum(run, known[name]) if name in known else None
                                   for run, known in zip(runs, terms)], LOSSES,
            note='Sum over all decoder layers.' if layers > 1 else '', smooth=True, log=True))
    for name, title, unit, smooth in (
            ('lr', 'Learning rate', '', False), ('grad_norm', 'Gradient norm', '', True),
            ('time', 'Time of a step', ' s', True),
            ('data_time', 'Waiting for data, in a step', ' s', True),
            ('memory', 'GPU memory', ' MB', False)):
        charts.append(over_runs(name, title, [run.train.get(name) for run in runs], TRAINING,
                                unit=unit, smooth=smooth, log=name == 'grad_norm'))
    return charts


def _score_title(name: str) -> str:
    prefix, _, last = name.rpartition('/')
    match = _GROUPED.fullmatch(last)
    if match and match[2]:
        last = f'{match[1]} of {_GROUPS[match[2]]}'
    return f'{last.replace("_", " ")} ({prefix})' if prefix and prefix not in (
        'panoptic', 'instance', 'semantic') else last.replace('_', ' ')


def on_axis(run: ChartRun, steps: Sequence[float], axis: str) -> np.ndarray:
    """Convert steps to the unit of an axis.

    Args:
        run: with what the axis needs.
        steps: of the training.
        axis: ``step``, ``epoch`` or ``time`` (hours).

    Returns:
        float64 [N]; NaN where the unit is unknown.
    """
    values = np.asarray(steps, np.float64)
    if axis == 'step':
        return values
    if axis == 'epoch':
        return values / (run.epoch_length or np.nan)
    known, hours = run.clock
    if not len(known):
        return np.full(len(values), np.nan)
    return np.interp(values, [0, *known], [0, *hours])
