"""The numbers of the curves as JSON and CSV."""
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmpanseg.curves.charts import on_axis
from mmpanseg.curves.run_log import RunLog, Series
from mmpanseg.pages.line_chart import ChartRun
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import result_file

CSV_HEAD = ('run', 'kind', 'name', 'step', 'epoch', 'hours', 'value')


def write_json(path: Path, runs: Sequence[RunLog]) -> None:
    """Write every value of the logs, null for what is not finite.

    Args:
        path: of the JSON.
        runs: see :class:`RunLog`.

    Raises:
        FileWriteError: the file cannot be written.
    """
    content = dict(runs=[_as_dict(run) for run in runs])
    with result_file(path) as part:
        part.write_text(strict_json.dumps_with_null(content, ensure_ascii=False) + '\n',
                        encoding='utf-8')


def _as_dict(run: RunLog) -> dict[str, Any]:
    def series(group: dict[str, Series]) -> dict[str, Any]:
        return {name: dict(steps=one.steps.tolist(), values=one.values.tolist())
                for name, one in group.items()}

    clock = run.clock()
    return dict(
        name=run.name, path=str(run.path), files=[str(path) for path in run.files],
        notes=run.notes, epoch_length=run.epoch_length, train=series(run.train),
        val=series(run.val),
        hours=dict(steps=clock.steps.tolist(), values=clock.values.tolist()),
        classes=[dict(prefix=history.prefix, classes=history.classes, things=history.things,
                      steps=history.steps.tolist(), pq=history.pq.tolist())
                 for history in run.classes])


def write_csv(path: Path, runs: Sequence[RunLog], chart_runs: Sequence[ChartRun]) -> None:
    """Write one row for each value; empty cells are unknown or not finite.

    Args:
        path: of the CSV, columns :data:`CSV_HEAD`; ``kind`` is ``train``, ``val`` or ``class``.
        runs: see :class:`RunLog`.
        chart_runs: the same runs, for epochs and hours.

    Raises:
        FileWriteError: the file cannot be written.
    """
    with result_file(path) as part, open(part, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(CSV_HEAD)
        for run, chart_run in zip(runs, chart_runs):
            for kind, name, one in _all_series(run):
                epochs = on_axis(chart_run, one.steps.tolist(), 'epoch')
                hours = on_axis(chart_run, one.steps.tolist(), 'time')
                writer.writerows(
                    (run.name, kind, name, int(step), _cell(epoch, 6), _cell(hour, 6),
                     _cell(value))
                    for step, epoch, hour, value in zip(one.steps, epochs, hours, one.values))


def _all_series(run: RunLog) -> Iterator[tuple[str, str, Series]]:
    for kind, group in (('train', run.train), ('val', run.val)):
        for name, one in group.items():
            yield kind, name, one
    for history in run.classes:
        for label, name in enumerate(history.classes):
            yield 'class', f'{history.prefix}/PQ/{name}', Series(
                history.steps, history.pq[:, label])


def _cell(value: float, digits: int | None = None) -> str:
    if not np.isfinite(value):
        return ''
    return repr(float(value) if digits is None else round(float(value), digits))
