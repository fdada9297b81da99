"""The folder that a run writes: only its own files, those of an earlier run replaced."""
import os
import re
from pathlib import Path
from typing import Any

from mmpanseg.engine.command_line import UsageError
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import FileWriteError, result_file

PAGE, RECORD, PICTURES = 'index.html', 'browse.json', 'images'
# pictures of an earlier run, and what a process left that was killed
_SHEET = re.compile(r'contact_sheet(_\d+)?\.png')
_PICTURE = re.compile(r'\d{6,}_(original|draw\d+)(_plain|_small)?\.jpg')
_PARTIAL = re.compile(r'\..+\.\d+\.partial(\.\w+)?')


def open_folder(folder: Path) -> None:
    """Create the folder of a run, or remove the files of an earlier run from it.

    Args:
        folder: the folder.

    Raises:
        UsageError: it is a file, or contains files of others.
        FileWriteError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f'--out {folder} is a file: name a folder')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(os.listdir(folder))
        if names and RECORD not in names:
            raise UsageError(f'--out {folder} holds files that `mmpanseg browse` did not write '
                             f'({names[0]}): name another folder')
        old = _own_files(folder, names)
        for path in old:
            path.unlink()
        (folder / PICTURES).mkdir(exist_ok=True)
        # marks the folder as one of this verb also while a run is not complete
        write_record(folder, {})
    except FileWriteError:
        raise
    except OSError as error:
        raise FileWriteError(f'--out {folder} cannot be written: '
                             f'{(error.strerror or str(error)).lower()}') from error


def _own_files(folder: Path, names: list[str]) -> list[Path]:
    """List the files of an earlier run.

    Raises:
        UsageError: there is another file, too.
    """
    found = []
    for name in names:
        path = folder / name
        if name == PICTURES and path.is_dir() and not path.is_symlink():
            for picture in sorted(os.listdir(path)):
                if not (_PICTURE.fullmatch(picture) or _PARTIAL.fullmatch(picture)):
                    raise _foreign(folder, f'{name}/{picture}')
                found.append(path / picture)
        elif name in (PAGE, RECORD) or _SHEET.fullmatch(name) or _PARTIAL.fullmatch(name):
            found.append(path)
        else:
            raise _foreign(folder, name)
    return found


def _foreign(folder: Path, name: str) -> UsageError:
    return UsageError(f'--out {folder} holds {name}, which `mmpanseg browse` did not write: name '
                      'another folder, or move the file')


def write_record(folder: Path, content: dict[str, Any]) -> None:
    """Write the numbers of a run as JSON.

    Raises:
        FileWriteError: the file cannot be written.
    """
    with result_file(folder / RECORD) as part:
        part.write_text(strict_json.dumps(content, indent=1) + '\n', encoding='utf-8')
