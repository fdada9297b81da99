"""Finds and reads the log files of a work dir, those of a training that still runs included."""
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.evaluation.class_scores import CLASS_SCORES_FILE

SCALARS_FILE = 'scalars.json'
# name of the folder, and of the log, of one start of a training
_TIME = re.compile(r'\d{8}_\d{6}')
_RESUMED = re.compile(r'resumed epoch: \d+, iter: (\d+)')
_TRAIN_LINE = re.compile(r'(Iter|Epoch)\(train\)')


@dataclass
class StartLog:
    """What one start of a training logged.

    Attributes:
        path: the file of its losses and scores.
        records: one dict for each line, in the order of the file.
        class_records: lines of the file of scores by class.
        resumed_at: step from which it continued, 0 for a new training; None if the text log, which
            has it, is not there.
        damaged: number of lines that are no JSON object, the last one not counted: a running
            training may be writing it.
    """

    path: Path
    records: list[dict] = field(default_factory=list)
    class_records: list[dict] = field(default_factory=list)
    resumed_at: int | None = None
    damaged: int = 0


def find_logs(source: str | Path) -> list[Path]:
    """Find the files of losses and scores, those of earlier starts first.

    Args:
        source: a work dir; the folder of one start in it (``{time}`` or ``{time}/vis_data``); or
            a file ``scalars.json`` or ``{time}.json``.

    Raises:
        UsageError: the path does not exist, or contains no such file.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UsageError(f'{source} does not exist: give the work dir of a training')
    for folders in ([source], [source / 'vis_data'], sorted(source.glob('*/vis_data'))):
        found = [log for log in map(_log_of, folders) if log is not None]
        if found:
            return found
    raise UsageError(
        f'{source} has no {{time}}/vis_data/{SCALARS_FILE}: give the work dir of a training whose '
        "visualizer.vis_backends contain dict(type='LocalVisBackend')")


def _log_of(folder: Path) -> Path | None:
    scalars = folder / SCALARS_FILE
    if scalars.is_file():
        return scalars
    timed = sorted(path for path in folder.glob('*.json') if _TIME.fullmatch(path.stem))
    return timed[-1] if timed else None


def read_start(path: Path) -> StartLog:
    """Read the log of one start of a training.

    Args:
        path: result of :func:`find_logs`.

    Raises:
        UsageError: the file cannot be read.
    """
    log = StartLog(path)
    log.records, log.damaged = _read_lines(path)
    classes = path.parent / CLASS_SCORES_FILE
    if classes.is_file():
        log.class_records, damaged = _read_lines(classes)
        log.damaged += damaged
    log.resumed_at = _resumed_at(path)
    return log


def _read_lines(path: Path) -> tuple[list[dict], int]:
    """Read JSON objects, one a line; NaN and null are both None-like values of them."""
    records, damaged = [], 0
    try:
        lines = path.read_bytes().split(b'\n')
    except OSError as error:
        raise UsageError(f'cannot read {path}: {one_line(error)}') from error
    for number, line in enumerate(lines, 1):
        text = line.decode('utf-8', 'replace').strip('\x00 \r\t')
        if not text:
            continue
        try:
            record = json.loads(text)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        elif number < len(lines):
            damaged += 1
    return records, damaged


def _resumed_at(path: Path) -> int | None:
    """Read from the text log where a start continued; None if there is no text log."""
    start = path.parent.parent
    text_log = start / f'{start.name}.log'
    if not text_log.is_file():
        return None
    for line in _head(text_log):
        found = _RESUMED.search(line)
        if found:
            return int(found[1])
    return 0


def _head(text_log: Path) -> Iterator[str]:
    """Lines before the first one of the training."""
    with open(text_log, encoding='utf-8', errors='replace') as lines:
        for line in lines:
            if _TRAIN_LINE.search(line):
                return
            yield line
