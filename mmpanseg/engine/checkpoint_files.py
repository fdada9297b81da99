"""Checkpoint files of a training: complete ones only, and the choice of the one to resume."""
import logging
import os
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.fileio import FileClient, LocalBackend, get_file_backend, register_backend

from mmpanseg.checkpoints.weight_files import describe_broken_file
from mmpanseg.engine.command_line import UsageError
from mmpanseg.engine.main_process import decide_on_main
from mmpanseg.utils.atomic_files import replaced_file, write_file

LAST_CHECKPOINT = 'last_checkpoint'
_BACKEND = 'mmpanseg_atomic'
_NAME = re.compile(r'(?P<kind>.*?)(?P<step>\d+)\.pth')
# mmengine's names, and those of best checkpoints
_KINDS = ('epoch_', 'iter_')
_CHUNK = 1 << 24
# Checkpoints that an error text names.
_NAMED = 3


@register_backend(_BACKEND)
class AtomicBackend(LocalBackend):
    """mmengine's storage backend of local files; a file is complete or is not there.

    It raises ``FileWriteError`` where the disk is full, read-only or gone.
    """

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write bytes to a file; its folder is created."""
        with replaced_file(filepath, len(obj)) as partial:
            partial.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, 'wb') as file:
                file.write(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text to a file; its folder is created."""
        self.put(obj.encode(encoding), filepath)


def atomic_backend(folder: str, file_client_args: dict | None = None,
                   backend_args: dict | None = None) -> dict | None:
    """Return the ``backend_args`` that write complete files to a local folder.

    Args:
        folder: path or URL.
        file_client_args: mmengine's older form of ``backend_args``.
        backend_args: as a config contains it.

    Returns:
        ``backend_args`` of :class:`AtomicBackend`; None if the folder is not a local one, whose
        options then remain.
    """
    if file_client_args is not None:
        backend = getattr(FileClient.infer_client(file_client_args, folder), 'client', None)
    else:
        backend = get_file_backend(folder, backend_args=backend_args)
    return dict(backend=_BACKEND) if isinstance(backend, LocalBackend) else None


def write_last_checkpoint(work_dir: str | Path, checkpoint: str) -> None:
    """Write the name of the latest checkpoint to the file that mmengine resumes from."""
    write_file(Path(work_dir) / LAST_CHECKPOINT, checkpoint.encode())


def incomplete_reason(path: str | Path) -> str:
    """Check that a checkpoint is complete; its tensors are compared with their checksums.

    The file is read once (about 1 s per GB if it is cached), which its loading does again.

    Args:
        path: a local file; a folder (of DeepSpeed) is complete if it is not empty.

    Returns:
        The reason why it is not complete; '' if it is.
    """
    path = Path(path)
    if path.is_dir():
        return '' if any(path.iterdir()) else 'it is an empty folder'
    if not path.is_file():
        return 'it does not exist'
    try:
        if reason := describe_broken_file(path):
            return reason
        with path.open('rb') as file:
            start = file.read(2)
        if start == b'PK':
            return _damaged_record(path)
        return '' if start[:1] == b'\x80' else 'it is no checkpoint'
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        return f'it cannot be read ({" ".join(str(error).split())})'


def _damaged_record(path: Path) -> str:
    options = getattr(torch.serialization, 'get_crc32_options', None)
    checked = options is None or options()
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            # torch without checksums writes other numbers in their places
            if not checked and '/data/' in entry.filename:
                continue
            try:
                with archive.open(entry) as record:
                    while record.read(_CHUNK):
                        pass
            except zipfile.BadZipFile:
                return f'its record {entry.filename} is damaged'
    return ''


@dataclass(frozen=True)
class LatestCheckpoint:
    """The checkpoint to resume.

    Attributes:
        path: path or URL; None if the folder contains none.
        warning: one line if it is not the one that ``last_checkpoint`` names, else ''.
        pointer: text of ``last_checkpoint``, '' if there is none.
    """
    path: str | None
    warning: str = ''
    pointer: str = ''


def latest_checkpoint(work_dir: str, folders: Iterable[str] = ()) -> LatestCheckpoint:
    """Choose the checkpoint to resume: the one of ``last_checkpoint``, or the newest complete one.

    Newest is the highest step; of names by epoch and by step, the one that was written last.

    Args:
        work_dir: folder with the file ``last_checkpoint``.
        folders: further folders with checkpoints.

    Returns:
        The choice.

    Raises:
        UsageError: there are checkpoints, but none that is complete.
    """
    pointer = Path(work_dir) / LAST_CHECKPOINT
    named = read_pointer(work_dir)
    problem = f'{pointer} is empty' if pointer.exists() else f'there is no {pointer}'
    if named:
        reason = '' if '://' in named else incomplete_reason(named)
        if not reason:
            return LatestCheckpoint(named, pointer=named)
        problem = f'{pointer} names {named}, which cannot be resumed: {reason}'
    places = {Path(work_dir).resolve(): Path(work_dir)}
    for folder in (*folders, *([str(Path(named).parent)] if named else [])):
        if '://' not in folder:
            places.setdefault(Path(folder).resolve(), Path(folder))
    return _newest_complete(list(places.values()), problem, named)


def read_pointer(work_dir: str | Path) -> str:
    """Return the checkpoint that ``last_checkpoint`` names, '' if it names none."""
    try:
        return (Path(work_dir) / LAST_CHECKPOINT).read_text(errors='replace').strip(' \t\r\n\0')
    except FileNotFoundError:
        return ''


def _newest_complete(folders: list[Path], problem: str, named: str) -> LatestCheckpoint:
    kinds: dict[str, list[tuple[int, Path]]] = {}
    best = []
    for path in (path for folder in folders if folder.is_dir() for path in folder.glob('*.pth')):
        match = _NAME.fullmatch(path.name)
        if path.name.startswith('best_'):
            best.append(path)  # without the state of the optimizer
        elif match and match['kind'] in _KINDS:
            kinds.setdefault(match['kind'], []).append((int(match['step']), path))
    found, broken = [], []
    for paths in kinds.values():
        for _, path in sorted(paths, reverse=True):
            reason = incomplete_reason(path)
            if not reason:
                found.append(path)
                break
            broken.append(f'{path.name}: {reason}')
    if found:
        newest = max(found, key=lambda path: path.stat().st_mtime_ns)
        return LatestCheckpoint(
            str(newest), f'{problem}; resuming from {newest}, the newest complete checkpoint',
            named)
    if not (broken or best or named):
        return LatestCheckpoint(None)
    broken += [f'{path.name}: without the state of the optimizer' for path in sorted(best)]
    more = f' and {len(broken) - _NAMED} more' if len(broken) > _NAMED else ''
    listed = f' ({"; ".join(broken[:_NAMED])}{more})' if broken else ''
    raise UsageError(
        f'no checkpoint in {folders[0]} can be resumed: {problem}{listed}; name a complete one '
        'with --resume PATH, or start again in another --work-dir')


def resumed_checkpoint(work_dir: str, folders: Iterable[str], logger: logging.Logger,
                       known: LatestCheckpoint | None = None) -> LatestCheckpoint:
    """Choose the checkpoint to resume on the main process, for all processes, and log it.

    Args:
        work_dir: see :func:`latest_checkpoint`.
        folders: see :func:`latest_checkpoint`.
        logger: receives one line.
        known: earlier choice, which remains unless another run has written a checkpoint since.

    Raises:
        UsageError: see :func:`latest_checkpoint`.
    """
    def choose() -> LatestCheckpoint:
        if known is not None and read_pointer(work_dir) == known.pointer:
            return known
        return latest_checkpoint(work_dir, folders)

    choice = decide_on_main(choose)
    if choice == known:
        return choice
    if choice.path is None:
        logger.warning(f'no checkpoint to resume in {work_dir}: training starts at its first step')
    elif choice.warning:
        logger.warning(choice.warning)
    else:
        logger.info(f'resuming from {choice.path}')
    return choice


def folders_of(hooks: Iterable[Any], work_dir: str) -> list[str]:
    """Return the folders to which the checkpoint hooks of a run write, besides the work dir."""
    name = os.path.basename(work_dir.rstrip(os.sep))
    return [os.path.join(str(folder), name) for hook in hooks
            if (folder := getattr(hook, 'out_dir', None)) and str(folder) != work_dir]
