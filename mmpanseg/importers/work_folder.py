"""The record of an unfinished import in DST: one process at a time, continued after a kill."""
import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmpanseg.importers.source_image import SourceError
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import FileWriteError, append_line, result_file
from mmpanseg.utils.file_lock import exclusive

WORK = '.import'
_PLAN, _RECORD, _LOCK, SCRATCH = 'plan.json', 'images.jsonl', 'lock', 'scratch'


class WorkFolder:
    """Record of the images that are finished, in ``DST/.import``.

    Args:
        folder: DST, see :func:`open_work_folder`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / WORK
        self._record = self.work / _RECORD

    @property
    def scratch(self) -> Path:
        """Folder for files that exist during the import only."""
        return self.work / SCRATCH

    def start(self, plan: Mapping[str, Any]) -> dict[str, dict]:
        """Start an import, or continue the one that was interrupted.

        Args:
            plan: everything that all images depend on, of JSON's types.

        Returns:
            entries of the images that are finished, by key.

        Raises:
            SourceError: the interrupted import was another one.
        """
        file = self.work / _PLAN
        wanted = json.loads(strict_json.dumps(plan))
        if not file.is_file():
            with result_file(file) as part:
                part.write_text(strict_json.dumps(plan), encoding='utf-8')
            return {}
        found = json.loads(file.read_text(encoding='utf-8'))
        changed = [key for key in wanted if found.get(key) != wanted[key]]
        if changed:
            raise SourceError(
                f'{self.folder} has an unfinished import with other {", ".join(changed)}; repeat '
                'that one to finish it, remove the folder, or name another one')
        return {entry['key']: entry for entry in self._entries()}

    def add(self, entry: dict) -> None:
        """Record a finished image.

        Raises:
            FileWriteError: the disk is full.
        """
        append_line(self._record, strict_json.dumps(entry))

    def finish(self) -> None:
        """Remove the record; DST is complete."""
        done = self.work.with_name(f'{WORK}.done')
        self.work.rename(done)
        shutil.rmtree(done, ignore_errors=True)

    def _entries(self) -> Iterator[dict]:
        if self._record.is_file():
            with open(self._record, encoding='utf-8') as file:
                for line in file:
                    # a line that the killed process did not complete
                    with contextlib.suppress(ValueError):
                        yield json.loads(line)


@contextlib.contextmanager
def open_work_folder(src: Path, dst: Path) -> Iterator[WorkFolder]:
    """Be the only import into DST; nothing remains of one that fails before its first image.

    Args:
        src: the source.
        dst: a folder that does not exist, is empty, or has an unfinished import.

    Raises:
        SourceError: SRC does not exist, one folder is inside the other, DST has other files, or
            another import writes to it.
        FileWriteError: DST cannot be written.
    """
    check_folders(src, dst)

    def refuse() -> None:
        raise SourceError(f'another import writes to {dst}: wait for its end, or name another '
                          'folder')

    made = not dst.exists()
    work = dst / WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileWriteError(f'cannot write to {dst}: '
                             f'{(error.strerror or str(error)).lower()}') from error
    with exclusive(work / _LOCK, refuse):
        try:
            yield WorkFolder(dst)
        except BaseException:
            if not (work / _PLAN).exists():
                shutil.rmtree(work, ignore_errors=True)
                if made:
                    with contextlib.suppress(OSError):
                        dst.rmdir()
            raise


def check_folders(src: Path, dst: Path) -> None:
    """Raise a SourceError unless DST is free and apart from SRC."""
    if not src.exists():
        raise SourceError(f'{src} does not exist; name the folder or the file of the source')
    source, target = src.resolve(), dst.resolve()
    if source == target:
        raise SourceError(f'SRC and DST are both {src}; name another folder for the result')
    for inner, outer, text in ((target, source, 'DST {} is inside SRC {}'),
                               (source, target, 'SRC {1} is inside DST {0}')):
        if inner.is_relative_to(outer):
            raise SourceError(f'{text.format(dst, src)}; name a folder beside it')
    if dst.is_symlink() and not dst.exists() or dst.exists() and not dst.is_dir():
        raise SourceError(f'{dst} is no folder; name another one')
    if dst.is_dir() and not (dst / WORK).is_dir() and any(dst.iterdir()):
        raise SourceError(f'{dst} is not empty; name a new folder, or remove its files')


def digest(value: Any) -> str:
    """Return a hash of nested values; of paths the size and the time of the file count too."""
    hasher = hashlib.sha256()
    _feed(hasher, value)
    return hasher.hexdigest()


def _feed(hasher: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        value = [*value.items()]
    if isinstance(value, (list, tuple)):
        hasher.update(f'[{len(value)}'.encode())
        for item in value:
            _feed(hasher, item)
        return
    if isinstance(value, np.ndarray):
        hasher.update(f'{value.shape}{value.dtype}'.encode() + value.tobytes())
        return
    text = f'{type(value).__name__}:{value!r};'
    if isinstance(value, Path) and WORK not in value.parts:
        with contextlib.suppress(OSError):
            status = value.stat()
            text += f'{status.st_size}:{status.st_mtime_ns};'
    hasher.update(text.encode('utf-8', 'backslashreplace'))
