"""Lock of a work dir: one training at a time writes to it."""
import contextlib
import datetime
import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from mmpanseg.engine.command_line import UsageError
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import process_exists
from mmpanseg.utils.file_lock import try_lock

LOCK = '.lock'
# Seconds between two signs of life of an owner, and without one after which a lock of another
# machine is free.
_INTERVAL, _STALE = 60, 600
_open_locks: set[int] = set()


def _close_in_child() -> None:
    """Close the files of locks in a forked process, e.g. a worker that outlives its parent."""
    for descriptor in _open_locks:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _open_locks.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_close_in_child)


class WorkDirLock:
    """Lock file in a work dir with host, process and start of its owner.

    The operating system locks the file as well, where the file system supports this, and frees it
    when the owner ends. A lock of another machine is free if its owner gave no sign of life for ten
    minutes (the time of the file), or if both belong to one Slurm job, which was started again.

    Args:
        work_dir: existing folder.
    """

    def __init__(self, work_dir: str | Path) -> None:
        self.path = Path(work_dir) / LOCK
        self._file: int | None = None
        self._ended = threading.Event()

    def acquire(self) -> str:
        """Take the lock.

        Returns:
            One line about a former owner that did not release it; '' in general.

        Raises:
            UsageError: another training has it; the text names its owner.
            OSError: the file cannot be written.
        """
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                free = try_lock(descriptor)
                former = _parse(_read(descriptor))
                if free is False:
                    raise UsageError(_refusal(self.path, former))
                try:
                    current = os.path.samestat(os.fstat(descriptor), os.stat(self.path))
                except FileNotFoundError:
                    current = False
                if not current:  # released by its owner since it was opened
                    os.close(descriptor)
                    continue
                if former and not _is_gone(former, self.path, free is True):
                    raise UsageError(_refusal(self.path, former))
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, strict_json.dumps(_this_process()).encode(), 0)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
                raise
            break
        self._file = descriptor
        _open_locks.add(descriptor)
        threading.Thread(target=self._show_life, daemon=True).start()
        if not former:
            return ''
        return (f'took over {self.path} of {_name(former)}, which ended without '
                'removing it')

    def release(self) -> None:
        """Remove the file; without effect if the lock is not held."""
        descriptor, self._file = self._file, None
        self._ended.set()
        if descriptor is None or descriptor not in _open_locks:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(self.path)):
                self.path.unlink()
        _open_locks.discard(descriptor)
        with contextlib.suppress(OSError):
            os.close(descriptor)

    def __enter__(self) -> 'WorkDirLock':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.release()

    def _show_life(self) -> None:
        while not self._ended.wait(_INTERVAL):
            with contextlib.suppress(OSError):
                os.utime(self.path)


def is_locked(work_dir: str | Path) -> bool:
    """Check whether a work dir contains a lock, possibly one of an owner that ended."""
    return (Path(work_dir) / LOCK).exists()


def _this_process() -> dict[str, Any]:
    return dict(host=socket.gethostname(), pid=os.getpid(), started=_started_at(),
                ticks=_ticks(os.getpid()), boot=_content('/proc/sys/kernel/random/boot_id'),
                machine=_content('/etc/machine-id'), job=os.environ.get('SLURM_JOB_ID', ''),
                restart=os.environ.get('SLURM_RESTART_COUNT', ''))


def _is_gone(owner: dict[str, Any], path: Path, was_free: bool) -> bool:
    """Check whether the owner of a lock file has ended.

    Args:
        owner: content of the file.
        path: the file.
        was_free: the operating system's lock of the file could be taken.
    """
    here = _this_process()
    def same(*keys: str) -> bool:
        return all(here[key] and owner.get(key) == here[key] for key in keys)

    if same('boot') or (not here['boot'] and same('host')):
        return was_free or not _runs(owner)
    if same('host', 'machine'):
        return True  # it was restarted since
    if same('job') and owner.get('restart') != here['restart']:
        return True
    return time.time() - path.stat().st_mtime > _STALE


def _runs(owner: dict[str, Any]) -> bool:
    """Check whether the owner, a process of this machine, runs."""
    pid = owner.get('pid')
    if not isinstance(pid, int) or pid <= 0:
        return False
    return process_exists(pid) and owner.get('ticks') in (None, _ticks(pid))


def _ticks(pid: int) -> int | None:
    """Return the start of a process in ticks since the start of the machine, None if unknown."""
    text = _content(f'/proc/{pid}/stat')
    return int(text.rpartition(')')[2].split()[19]) if text else None


def _started_at() -> str:
    ticks, uptime = _ticks(os.getpid()), _content('/proc/uptime')
    age = 0.0
    if ticks is not None and uptime:
        age = float(uptime.split()[0]) - ticks / os.sysconf('SC_CLK_TCK')
    return f'{datetime.datetime.now() - datetime.timedelta(seconds=age):%Y-%m-%d %H:%M:%S}'


def _content(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ''


def _read(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 1 << 16)


def _parse(content: bytes) -> dict[str, Any]:
    """Read the content of a lock file; {} if its owner ended before it wrote it."""
    try:
        owner = json.loads(content)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _name(owner: dict[str, Any]) -> str:
    return (f'process {owner.get("pid", "?")} on {owner.get("host", "?")}, started at '
            f'{owner.get("started", "?")}')


def _refusal(path: Path, owner: dict[str, Any]) -> str:
    return (f'another training writes to {path.parent}: {_name(owner)}; wait for its end, or use '
            f'another --work-dir (if it does not run any more, remove {path})')
