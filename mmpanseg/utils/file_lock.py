"""Locks of files between processes; the operating system frees those of a process that ends."""
import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

_LOCKS = importlib.util.find_spec('fcntl') is not None  # not on Windows


def try_lock(file: int | IO) -> bool | None:
    """Lock an open file, without waiting.

    Args:
        file: the file, or its descriptor.

    Returns:
        True if it was free, False if not, None if this cannot be known: not every file system
        supports locks.
    """
    if not _LOCKS:
        return None
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextlib.contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[bool]:
    """Be the only process in this context.

    Args:
        path: lock file; created, and never removed, since another process may wait for it.
        on_wait: called once if another process has the lock, before waiting for it.

    Yields:
        whether the lock is held, see :func:`try_lock`.
    """
    with open(path, 'ab') as file:
        held = try_lock(file)
        if held is None:
            yield False
            return
        import fcntl

        if not held:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield True
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
