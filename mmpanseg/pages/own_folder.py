"""The folder that a verb writes: only its own files, those of an earlier run replaced."""
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmpanseg.utils.atomic_files import FileWriteError, result_file

# what a process left that was killed
_PARTIAL = re.compile(r'\..+\.\d+\.partial(\.\w+)?')


class ForeignFilesError(ValueError):
    """A folder holds files of others; the text names one."""


@dataclass(frozen=True)
class OwnFiles:
    """Files that a verb writes to its folder.

    Args:
        verb: its name, for texts.
        record: name of the file that marks a folder as one of the verb.
        files: patterns of the names of other files.
        folders: name of a folder in it -> pattern of the names of its files.
    """

    verb: str
    record: str
    files: Sequence[re.Pattern] = ()
    folders: Mapping[str, re.Pattern] = field(default_factory=dict)


def check_folder(folder: Path, own: OwnFiles) -> list[Path]:
    """Check that a folder is a verb's, before work that takes time.

    Args:
        folder: the folder, which may be missing.
        own: files of the verb.

    Returns:
        the files of an earlier run; the record is the last one.

    Raises:
        ForeignFilesError: it is a file, or contains files of others.
        FileWriteError: it cannot be read.
    """
    if folder.exists() and not folder.is_dir():
        raise ForeignFilesError(f'--out {folder} is a file: name a folder')
    try:
        names = sorted(os.listdir(folder)) if folder.exists() else []
        if names and own.record not in names:
            raise ForeignFilesError(
                f'--out {folder} holds files that `mmpanseg {own.verb}` did not write '
                f'({names[0]}): name another folder')
        return _own_paths(folder, names, own)
    except OSError as error:
        raise _not_writable(folder, error) from error


def open_folder(folder: Path, own: OwnFiles) -> None:
    """Create the folder of a run, or remove the files of an earlier run from it.

    An empty record is written, so that the folder is known as the verb's while a run is not
    complete.

    Args:
        folder: the folder.
        own: files of the verb.

    Raises:
        ForeignFilesError: see :func:`check_folder`.
        FileWriteError: it cannot be written.
    """
    found = check_folder(folder, own)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in found:
            path.unlink()
        for name in own.folders:
            if (folder / name).is_dir():
                (folder / name).rmdir()
        with result_file(folder / own.record) as part:
            part.write_text('{}\n', encoding='utf-8')
    except FileWriteError:
        raise
    except OSError as error:
        raise _not_writable(folder, error) from error


def _own_paths(folder: Path, names: Sequence[str], own: OwnFiles) -> list[Path]:
    """List the files of an earlier run; the record is the last one.

    Raises:
        ForeignFilesError: there is another file, too.
    """
    found = []
    for name in names:
        path = folder / name
        if name in own.folders and path.is_dir() and not path.is_symlink():
            for inner in sorted(os.listdir(path)):
                if not (own.folders[name].fullmatch(inner) or _PARTIAL.fullmatch(inner)):
                    raise _foreign(folder, f'{name}/{inner}', own)
                found.append(path / inner)
        elif _PARTIAL.fullmatch(name) or any(
                pattern.fullmatch(name) for pattern in own.files):
            found.append(path)
        elif name != own.record:
            raise _foreign(folder, name, own)
    return [*found, folder / own.record] if own.record in names else found


def _not_writable(folder: Path, error: OSError) -> FileWriteError:
    return FileWriteError(f'--out {folder} cannot be written: '
                          f'{(error.strerror or str(error)).lower()}')


def _foreign(folder: Path, name: str, own: OwnFiles) -> ForeignFilesError:
    return ForeignFilesError(f'--out {folder} holds {name}, which `mmpanseg {own.verb}` did not '
                             'write: name another folder, or move the file')
