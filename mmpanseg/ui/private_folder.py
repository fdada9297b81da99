"""The folder for what cannot be kept in memory; it is removed with the server."""
import atexit
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mmpanseg.utils.atomic_files import process_exists

_PREFIX = 'mmpanseg-ui-'
_NAME = re.compile(rf'{_PREFIX}(\d+)-\w+')
# where gradio stores uploads; it reads the variable when it is imported
_VARIABLE = 'GRADIO_TEMP_DIR'


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Make the temporary folder of a server, of which nothing remains afterwards.

    Only its owner can read it. Python's temporary files are inside meanwhile, and gradio's, if
    gradio is imported later. Folders that killed servers left are removed.

    Yields:
        its path.
    """
    remove_left_folders()
    folder = Path(tempfile.mkdtemp(prefix=f'{_PREFIX}{os.getpid()}-')).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    before, former = tempfile.tempdir, os.environ.get(_VARIABLE)
    tempfile.tempdir = os.environ[_VARIABLE] = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        os.environ.pop(_VARIABLE)
        if former is not None:
            os.environ[_VARIABLE] = former
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_folders() -> None:
    """Remove the folders of servers that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f'{_PREFIX}*'):
        match = _NAME.fullmatch(path.name)
        if match and not process_exists(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def remove_files(folder: Path) -> None:
    """Remove all that is in a folder, but not the folder.

    Args:
        folder: the private one.
    """
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def take_file(path: str | Path, folder: Path) -> bytes:
    """Read an uploaded file and remove it.

    Args:
        path: of the file.
        folder: the private one, in which it must be.

    Raises:
        PermissionError: it is elsewhere.
        FileNotFoundError: it is not there any more.
    """
    file = inside(path, folder)
    try:
        return file.read_bytes()
    finally:
        remove_upload(file, folder)


def inside(path: str | Path, folder: Path) -> Path:
    """Resolve the path of an uploaded file.

    Args:
        path: of the file.
        folder: the private one.

    Raises:
        PermissionError: the file is not in the folder.
    """
    file = Path(path).resolve()
    if not file.is_relative_to(folder):
        raise PermissionError(f'{Path(path).name} is no uploaded file')
    return file


def remove_upload(file: Path, folder: Path) -> None:
    """Remove an uploaded file, and the folder that was made for it alone.

    Args:
        file: resolved path in the folder.
        folder: the private one.
    """
    file.unlink(missing_ok=True)
    if file.parent != folder:
        with contextlib.suppress(OSError):  # it has other files
            file.parent.rmdir()
