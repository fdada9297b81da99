"""Files that are complete at every moment: written beside, flushed to the disk, then renamed."""
import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

# .{stem}.{process}.partial{ending}
_PARTIAL = re.compile(r'\..+\.(\d+)\.partial(\.\w+)?')


class FileWriteError(OSError):
    """A file cannot be written; the text is one line with path, size and reason."""


@contextlib.contextmanager
def replaced_file(path: str | Path, size: int | None = None,
                  flush: bool = True) -> Iterator[Path]:
    """Replace a file by a complete one, or leave it as it is.

    Args:
        path: the file; its folder exists.
        size: bytes that will be written, for the error text; None if unknown.
        flush: whether the file must survive a failure of power. Results that can be computed
            again need not.

    Yields:
        Path of a file beside it with the same ending, to be written in the context. At the end of
        the context it is flushed and renamed; after an exception it is removed.

    Raises:
        FileWriteError: the disk is full, the folder is read-only or is gone.
    """
    path = Path(path)
    partial = path.with_name(f'.{path.stem}.{os.getpid()}.partial{path.suffix}')
    try:
        try:
            yield partial
            if flush:
                _flush(partial)
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        if flush:
            _flush(path.parent)
    except FileWriteError:
        raise
    except OSError as error:
        raise FileWriteError(_describe(path, size, error)) from error


@contextlib.contextmanager
def result_file(path: str | Path) -> Iterator[Path]:
    """Write a file of results, see :func:`replaced_file`; missing folders are created.

    Args:
        path: the file.

    Yields:
        Path to write to, with the same ending.

    Raises:
        FileWriteError: see :func:`replaced_file`.
    """
    with contextlib.suppress(OSError):  # the write below has the reason
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path, flush=False) as partial:
        yield partial


def append_line(path: Path, line: str) -> None:
    """Append a line to a file of results, or leave the file as it is.

    Args:
        path: the file; missing folders are created. A line that another process left incomplete
            stays on a line of its own.
        line: text without line breaks.

    Raises:
        FileWriteError: the file cannot be written.
    """
    data = line.encode('utf-8') + b'\n'
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, 'a+b', buffering=0) as file:
            start = file.tell()
            if start:
                file.seek(start - 1)
                if file.read(1) != b'\n':
                    data = b'\n' + data
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest):]
            except BaseException:
                file.truncate(start)
                raise
    except OSError as error:
        raise FileWriteError(_describe(path, len(data), error)) from error


def write_file(path: str | Path, content: bytes | memoryview) -> None:
    """Write a file, see :func:`replaced_file`.

    Args:
        path: the file; its folder exists.
        content: all of its bytes.

    Raises:
        FileWriteError: see :func:`replaced_file`.
    """
    with replaced_file(path, len(content)) as partial, open(partial, 'wb') as file:
        file.write(content)


def remove_partial_files(folder: str | Path) -> list[str]:
    """Remove the partial files of processes that ended while they wrote.

    Args:
        folder: folder to search, without its subfolders.

    Returns:
        Names of the removed files.
    """
    removed = []
    for path in sorted(Path(folder).glob('.*.partial*')):
        match = _PARTIAL.fullmatch(path.name)
        if match and (int(match[1]) == os.getpid() or not process_exists(int(match[1]))):
            with contextlib.suppress(OSError):
                path.unlink()
                removed.append(path.name)
    return removed


def readable_size(size: float) -> str:
    """Write a number of bytes with a unit, e.g. 12.3 MB."""
    for unit in ('bytes', 'kB', 'MB', 'GB'):
        if size < 1000:
            return f'{size:.0f} {unit}' if unit == 'bytes' else f'{size:.1f} {unit}'
        size /= 1000
    return f'{size:.1f} TB'


def free_space(folder: str | Path) -> int | None:
    """Return the free bytes of the disk of a folder, None if they are unknown."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _flush(path: Path) -> None:
    """Flush a file or the names in a folder to the disk."""
    if path.is_dir() and os.name == 'nt':  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def process_exists(process: int) -> bool:
    """Check whether a process of this machine has this number, at least 1."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _describe(path: Path, size: int | None, error: OSError) -> str:
    need = '' if size is None else f' ({readable_size(size)})'
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    space = free_space(path.parent)
    left = '' if space is None else f', {readable_size(space)} are free there'
    if not path.parent.is_dir():
        reason = f'the folder {path.parent} does not exist'
    return f'cannot write {path}{need}: {" ".join(reason.split())}{left}'
