"""Locks between processes that would write one file of the cache."""
import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

_LOCKS = importlib.util.find_spec('fcntl') is not None  # not on Windows


@contextlib.contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[bool]:
    """Be the only process in this context; the operating system frees the lock of one that ends.

    Args:
        path: lock file; created, and never removed, since another process may wait for it.
        on_wait: called once if another process has the lock, before waiting for it.

    Yields:
        whether the lock is held: not every file system supports locks.
    """
    if not _LOCKS:
        yield False
        return
    import fcntl

    with open(path, 'ab') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
            held = True
        except OSError:
            held = False
        with contextlib.ExitStack() as stack:
            if held:
                stack.callback(fcntl.flock, file, fcntl.LOCK_UN)
            yield held
