"""Files that are complete or absent."""
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Write a file beside its place and move it there when it is complete.

    A file that was there before remains until then. Missing folders are created.

    Args:
        path: of the file.

    Yields:
        path to write to, with the same ending.

    Raises:
        OSError: writing failed, for example because the disk is full; it names ``path``. No part of
            the file remains.
    """
    path = Path(path)
    part = path.with_name(f'{path.stem}.{os.getpid()}.unfinished{path.suffix}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.filename not in (None, str(part), part):
            raise
        raise type(error)(error.errno, error.strerror or str(error), str(path)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
