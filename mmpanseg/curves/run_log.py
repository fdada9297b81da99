"""Joins the logs of all starts of a training into series over its steps."""
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmpanseg.curves.log_files import StartLog, find_logs, read_start

# keys of a record that are no values of their own
_INDICES = ('step', 'iter', 'epoch')


class Series(NamedTuple):
    """Values over steps.

    Attributes:
        steps: int64 [N], ascending.
        values: float64 [N]; NaN where the log has NaN, infinity or null.
    """

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class ClassHistory:
    """Scores by class over time, C classes in V validations.

    Attributes:
        prefix: of the metric.
        classes: C names; things: whether each is a thing.
        steps: int64 [V].
        pq: float64 [V, C] in percent, NaN for classes that do not occur.
    """

    prefix: str
    classes: tuple[str, ...]
    things: tuple[bool, ...]
    steps: np.ndarray
    pq: np.ndarray


@dataclass
class RunLog:
    """A training.

    Attributes:
        path: as the user gave it.
        files: the logs of its starts.
        train: losses, learning rates, times, by name.
        val: scores, by name.
        classes: scores by class, one for each metric.
        epoch_length: steps in an epoch; None where the log has no epochs.
        notes: what was left out or looks wrong, one sentence each.
        name: short and distinct among the runs that are compared.
    """

    path: Path
    files: list[Path] = field(default_factory=list)
    train: dict[str, Series] = field(default_factory=dict)
    val: dict[str, Series] = field(default_factory=dict)
    classes: list[ClassHistory] = field(default_factory=list)
    epoch_length: float | None = None
    notes: list[str] = field(default_factory=list)
    name: str = ''

    @property
    def is_empty(self) -> bool:
        """Whether nothing was logged yet."""
        return not self.train and not self.val

    @property
    def last_step(self) -> int:
        """The last step that was logged."""
        return max((int(series.steps[-1]) for series in (*self.train.values(), *self.val.values())),
                   default=0)

    def clock(self) -> Series:
        """Compute the hours of training at each logged step.

        The log has averages of the seconds a step; hours are their sums. Validations, and the time
        between two starts, are not in them.
        """
        times = self.train.get('time')
        if times is None:
            return Series(np.zeros(0, np.int64), np.zeros(0))
        seconds = np.diff(times.steps, prepend=0) * np.nan_to_num(times.values)
        return Series(times.steps, np.cumsum(seconds) / 3600)


def read_run(source: str | Path) -> RunLog:
    """Read a training.

    Args:
        source: see :func:`mmpanseg.curves.log_files.find_logs`.

    Raises:
        UsageError: there is no log, or it cannot be read.
    """
    starts = [read_start(path) for path in find_logs(source)]
    return join_starts(Path(source), starts)


def join_starts(path: Path, starts: Sequence[StartLog]) -> RunLog:
    """Join starts of a training; a later start replaces the steps after those it continued from.

    Args:
        path: of the run.
        starts: in the order of time.
    """
    run = RunLog(path, [start.path for start in starts])
    damaged = sum(start.damaged for start in starts)
    if damaged:
        run.notes.append(f'{damaged} damaged line{"s" if damaged > 1 else ""} left out')
    run.epoch_length = _epoch_length([record for start in starts for record in start.records])
    train: dict[int, dict] = {}
    val: dict[int, dict] = {}
    classes: dict[int, list[dict]] = {}
    for start in starts:
        placed = list(_place(start.records, run.epoch_length))
        at_train = [step for kind, step, _ in placed if kind == 'train']
        if not placed:
            continue
        begin = start.resumed_at
        if begin is None:  # no text log: all steps from its first one on
            begin = min(at_train) - 1 if at_train else min(step for _, step, _ in placed) - 1
        for former in (train, val, classes):
            for step in [step for step in former if step > begin]:
                del former[step]
        for kind, step, record in placed:
            (train if kind == 'train' else val).setdefault(step, {}).update(record)
        again: dict[int, list[dict]] = {}
        for record in start.class_records:
            if _is_step(record.get('step')):
                again.setdefault(record['step'], []).append(record)
        classes.update(again)
    run.train, run.val = _series(train), _series(val)
    run.classes = _class_histories(classes)
    for name, series in run.train.items():
        bad = ~np.isfinite(series.values)
        if bad.any():
            run.notes.append(f'{name} is not finite at {int(bad.sum())} of {len(bad)} logged '
                             f'steps, first at step {int(series.steps[bad][0])}')
    return run


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _step(record: dict) -> int | None:
    """Step of a record; for a validation it may be an epoch."""
    step = record.get('step', record.get('iter'))
    return step if _is_step(step) else None


def _kind(record: dict) -> str:
    """Tell a record of the training from one of a validation, which has a time but no step."""
    if 'iter' in record or 'epoch' in record:
        return 'train'
    return 'val' if 'time' in record or 'data_time' in record or any(
        name.startswith('val/') for name in record) else 'train'


def _epoch_length(records: Iterable[dict]) -> float | None:
    """Steps in an epoch, the least number that agrees with all records of a training by epochs.

    Step s is in epoch e if (e - 1) * length < s <= e * length.
    """
    least = 0
    for record in records:
        step, epoch = _step(record), record.get('epoch')
        if _kind(record) == 'train' and step and _is_step(epoch) and epoch:
            least = max(least, math.ceil(step / epoch))
    return float(least) or None


def _place(records: Sequence[dict], epoch_length: float | None
           ) -> Iterable[tuple[str, int, dict]]:
    """Find kind and step of each record.

    mmengine numbers validations by epoch (``log_metric_by_epoch``, its default), and in a training
    by steps all of them are 0 then: their steps are those of the training when they were written.
    """
    by_epoch = False
    last = 0
    for record in records:
        step = _step(record)
        if step is None:
            continue
        if _kind(record) == 'train':
            last = max(last, step)
        elif step < last:
            by_epoch = True
    last = 0
    for record in records:
        kind, step = _kind(record), _step(record)
        if step is None:
            continue
        if kind == 'train':
            last = max(last, step)
        elif by_epoch:
            step = max(last, int(step * epoch_length)) if epoch_length else last
            if not last and not step:  # before the first logged step of a resumed training
                continue
        yield kind, step, record


def _series(records: dict[int, dict]) -> dict[str, Series]:
    found: dict[str, list[tuple[int, float]]] = {}
    for step in sorted(records):
        for key, value in records[step].items():
            name = key.removeprefix('train/').removeprefix('val/')
            if name in _INDICES or isinstance(value, (bool, str, list, dict)):
                continue
            number = math.nan if value is None else float(value)
            found.setdefault(name, []).append((step, number if math.isfinite(number)
                                               else math.nan))
    return {name: Series(np.array([step for step, _ in pairs], np.int64),
                         np.array([value for _, value in pairs], np.float64))
            for name, pairs in found.items()}


def _class_histories(records: dict[int, list[dict]]) -> list[ClassHistory]:
    """Group the records by metric; those with other classes than the last one are left out."""
    last: dict[str, dict] = {}
    for step in sorted(records):
        for record in records[step]:
            if all(isinstance(record.get(key), list) for key in ('classes', 'things', 'pq')):
                last[str(record.get('prefix', ''))] = record
    found = []
    for prefix, model in last.items():
        rows = [(step, record['pq']) for step in sorted(records) for record in records[step]
                if str(record.get('prefix', '')) == prefix
                and record.get('classes') == model['classes']
                and len(record.get('pq', ())) == len(model['classes'])]
        found.append(ClassHistory(
            prefix, tuple(map(str, model['classes'])), tuple(map(bool, model['things'])),
            np.array([step for step, _ in rows], np.int64),
            np.array([[math.nan if value is None else float(value) for value in row]
                      for _, row in rows], np.float64).reshape(len(rows), -1)))
    return found
