"""Errors of one of several processes: which process failed first, and why, in one line.

The processes of a run end soon after one of them has failed, most of them because a connection
broke. Each process writes the reason for its end to a file of a folder that the launcher has
created; the launcher (:mod:`mmpanseg.engine.processes`) prints the first cause.

This module imports neither torch nor mmengine, see :mod:`mmpanseg.engine.command_line`.
"""
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mmpanseg.utils import strict_json

# Names the folder of the launcher in the environment of its processes.
FOLDER = 'MMPANSEG_ERROR_FOLDER'
_RANK = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
_WORLD_SIZE = ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE')
# Words of gloo, of NCCL and of torch's key-value store.
_LIBRARIES = ('gloo', 'NCCL', 'TCPStore', 'socket', 'recvValue', 'c10d', 'Connection')
_TOO_LATE = ('timed out', 'timeout')
_GONE = ('connection closed', 'connection reset', 'connection refused', 'broken pipe',
         'socket closed', 'remote process exited', 'failed to connect', 'failed to recv',
         'connection was closed', 'connection aborted', 'network error', 'communicator was aborted')
# Reasons in the order in which they explain the others. The launcher stops the processes that are
# left with SIGTERM, those that do not end with SIGKILL.
_ORDER = ('mistake', 'error', 'late', 'killed', 'aborted', 'lost', 'stopped')


class RankError(NamedTuple):
    """End of one process.

    Attributes:
        rank: of the process.
        kind: 'mistake' (of the user), 'error', 'late' (others did not answer in time), 'lost' (a
            connection), 'killed' (by a signal), 'aborted' (by its own libraries) or 'stopped' (by
            SIGTERM).
        text: the reason, one line.
        time: seconds since the epoch.
    """
    rank: int
    kind: str
    text: str
    time: float


def rank_of_process() -> int:
    """Read the rank of this process from its environment; 0 without a launcher."""
    return _first_number(_RANK, 0)


def number_of_processes() -> int:
    """Read the number of processes of this run from the environment; 1 without a launcher."""
    return _first_number(_WORLD_SIZE, 1)


def _first_number(names: tuple[str, ...], default: int) -> int:
    return next((int(os.environ[name]) for name in names if name in os.environ), default)


def connection_problem(error: BaseException) -> str | None:
    """Recognize an error of a collective call that another process has caused.

    Args:
        error: any error.

    Returns:
        'late' if another process did not answer within the timeout, 'lost' if the connection to
        one is broken, None for all other errors.
    """
    text = str(error)
    if not isinstance(error, RuntimeError) or not (
            type(error).__name__.startswith('Dist') or any(word in text for word in _LIBRARIES)):
        return None
    lowered = text.lower()
    if any(words in lowered for words in _GONE):
        return 'lost'
    return 'late' if any(words in lowered for words in _TOO_LATE) else None


@contextmanager
def named_rank() -> Iterator[None]:
    """Name the rank in the errors of a process that is one of several.

    One process is left as it is. The mistake of a user, which most runs make in all processes, is
    printed once by this library's launcher; other launchers print it with each rank. A process
    that lost the connection to another one prints a line instead of a traceback.

    Raises:
        SystemExit: with status 1, in place of a user's mistake or a lost connection.
    """
    if number_of_processes() == 1:
        yield
        return
    rank = rank_of_process()
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.code, str):
            raise
        tool, _, text = stop.code.partition(': error: ')
        if not _report(RankError(rank, 'mistake', text, time.time())):
            sys.exit(f'{tool}: error: rank {rank}: {text}')
        time.sleep(1)  # the launcher ends the others: let those with the same mistake report it
        sys.exit(1)
    except Exception as error:
        kind = connection_problem(error)
        text = ' '.join(f'{type(error).__name__}: {error}'.split())
        _report(RankError(rank, kind or 'error', text, time.time()))
        if kind == 'lost':
            sys.exit(f'[rank{rank}]: ended, because the connection to another process is broken: '
                     f'{text}')
        if kind == 'late':
            time.sleep(1)  # as above: those that do not report are the late ones
        raise


def _report(error: RankError) -> bool:
    """Write an error to the launcher's folder; False without this library's launcher."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return False
    try:
        Path(folder, f'{error.rank}.json').write_text(strict_json.dumps(error._asdict()))
    except OSError:  # a full disk must not replace the error
        return False
    return True


def read_reports(folder: Path) -> list[RankError]:
    """Read what the processes of this machine have written."""
    errors = []
    for path in folder.glob('*.json'):
        try:
            errors.append(RankError(**json.loads(path.read_text())))
        except ValueError:  # killed while it was writing
            continue
    return errors


def describe_failure(reports: list[RankError], exit_codes: Mapping[int, int], ranks: range,
                     world_size: int) -> str:
    """Describe why a run of several processes has failed.

    Args:
        reports: of the processes of this machine.
        exit_codes: exit statuses by rank, without those that are 0; a signal is negative.
        ranks: ranks of this machine.
        world_size: number of processes on all machines.

    Returns:
        One line: the rank and the first cause.
    """
    known = {report.rank for report in reports}
    errors = [*reports, *(_without_report(rank, code) for rank, code in exit_codes.items()
                          if rank not in known)]
    if not errors:
        return 'a process has ended without a reason'
    first = min(errors, key=lambda error: (_ORDER.index(error.kind), error.time, error.rank))
    name = f'rank {first.rank} of {world_size}'
    if first.kind == 'mistake':
        same = {error.rank for error in errors if error.text == first.text}
        return first.text if same == set(ranks) else f'{name}: {first.text}'
    if first.kind == 'late':
        waiting = [error.rank for error in errors if error.kind == 'late']
        slow = [str(rank) for rank in ranks if rank not in waiting]
        other = f'rank {", ".join(slow)}' if slow else 'a process of another machine'
        found = re.search(r'(\d+) ?ms', first.text)
        seconds = f' {int(found[1]) / 1000:g} s' if found else ''
        return (f'{name} waited{seconds} in vain for {other}, which hangs or is slower than '
                f'env_cfg.dist_cfg.timeout (seconds) permits: {first.text}')
    if first.kind == 'lost':
        return f'{name} lost the connection to a process of another machine: {first.text}'
    return f'{name} failed: {first.text}'


def _without_report(rank: int, code: int) -> RankError:
    if code >= 0:
        return RankError(rank, 'error', f'it ended with exit status {code}', 0.0)
    number = -code
    try:
        name = signal.Signals(number).name
    except ValueError:  # a real-time signal
        name = f'signal {number}'
    hint = ' (by a user, by a scheduler, or because memory ran out)' if name == 'SIGKILL' else ''
    kinds = dict(SIGABRT='aborted', SIGTERM='stopped')
    return RankError(rank, kinds.get(name, 'killed'), f'it was killed by {name}{hint}', 0.0)
