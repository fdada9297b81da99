"""The output folder of ``mmpanseg predict``: names and ids of its images, over several runs."""
import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mmpanseg.apis.dataset_ids import DatasetIds, KnownImage
from mmpanseg.apis.prediction_files import SEMANTIC
from mmpanseg.apis.video_frames import is_video
from mmpanseg.cli.sources import Source
from mmpanseg.engine.command_line import UsageError
from mmpanseg.structures.result_file_names import ResultNames
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import FileWriteError, append_line, result_file
from mmpanseg.utils.file_lock import exclusive

# first line: settings of the run; then one line for each image or video
RECORD = 'run.jsonl'
PICTURES, POLYGONS, VIDEOS, FRAMES, COCO = 'pictures', 'polygons', 'videos', 'frames', 'coco'
PREDICTIONS = 'predictions.jsonl'
LOCK = '.lock'


class Entry(NamedTuple):
    """An image in an output folder.

    Attributes:
        source: absolute path or URL; of a frame, those of the video with ``#`` and its index.
        name: name of its results, with ``/`` between folders.
        id: of the image in results.
        file_name: of the image in results.
    """
    source: str
    name: str
    id: int | str
    file_name: str


class OutputFolder:
    """Names and ids of the images in an output folder, the same ones in each run.

    Args:
        folder: the folder; created when needed.
        settings: name of an option -> its value, of JSON's types; those that results depend on.
        ids: ids of an annotation file, else of the model's classes.
        overwrite: remove the results of earlier runs.

    Raises:
        UsageError: the folder has results with other settings.
        FileWriteError: the folder cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], ids: DatasetIds,
                 overwrite: bool = False) -> None:
        self.folder, self.ids = folder, ids
        self._record = folder / RECORD
        if overwrite:
            remove_results(folder)
        known, entries = self._read()
        if known is None:
            with result_file(self._record) as part:
                part.write_text(strict_json.dumps(dict(settings=settings)) + '\n', encoding='utf-8')
        else:
            _compare(folder, known, settings)
        self._entries = {entry.source: entry for entry in entries}
        # pictures, polygons and frames of a name must not be those of another one
        self._names = ResultNames(suffixes=('', SEMANTIC), used={
            entry.source: entry.name for entry in entries})
        self._used = {entry.id for entry in entries}
        numbers = [entry.id for entry in entries if isinstance(entry.id, int)]
        self._free = max([ids.first_free_image, *(number + 1 for number in numbers)])

    def announce(self, sources: Iterable[Source]) -> None:
        """Choose the names of the sources of a run; they depend on all of them."""
        wanted = {source.path: source.name for source in sources}
        self._names.add(wanted, wanted)

    def entry(self, source: Source, size: tuple[int, int] | None) -> Entry | None:
        """Return the entry of an image or a video, and record it.

        Args:
            source: one that was announced.
            size: (H, W) in pixels of an image; None for a video.

        Returns:
            the entry; None if the annotation file lists other images only, or the image of
            another source.
        """
        path = absolute(source.path)
        if path in self._entries:
            return self._entries[path]
        name = self._names.of(source.path)
        if size is None:
            entry = Entry(path, name, name, name)
        else:
            listed = self.ids.image(source.path, size)
            if listed is not None and listed.id in self._used:
                return None
            if listed is None:
                if self.ids.content.get('images'):
                    return None
                listed = KnownImage(self._free, _with_ending(name, source.path))
                self._free += 1
            entry = Entry(path, name, *listed)
        self._append(entry)
        self._entries[path] = entry
        self._used.add(entry.id)
        return entry

    def frame_entry(self, video: Entry, index: int) -> Entry:
        """Return the entry of a frame; it is computed, so that memory does not grow.

        Args:
            video: entry of the video.
            index: of the frame in the video, from 0.
        """
        name = f'{video.name}/{index:06d}'
        return Entry(f'{video.source}#{index}', name, name, f'{name}.png')

    def _append(self, entry: Entry) -> None:
        append_line(self._record, strict_json.dumps(entry._asdict()))

    def _read(self) -> tuple[dict | None, list[Entry]]:
        """Settings and entries of earlier runs; None without any."""
        if not self._record.is_file():
            found = [name for name in (PREDICTIONS, COCO) if (self.folder / name).exists()]
            if found:
                raise UsageError(f'--out {self.folder} has {found[0]}, but no {RECORD} that tells '
                                 'which model made it: name another folder')
            return None, []
        lines = list(read_lines(self._record))
        try:
            return lines[0]['settings'], [Entry(**line) for line in lines[1:]]
        except (IndexError, KeyError, TypeError) as error:
            raise UsageError(f'{self._record} is damaged, so that no results can be added to '
                             f'--out {self.folder}: name another folder, or remove it') from error


def check_folder(folder: Path) -> None:
    """Check that results can be written, before a model is loaded.

    Raises:
        UsageError: the folder is a file, or cannot be written.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UsageError(f'--out {folder}: {existing} is a file; name a folder')
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f'--out {folder}: {existing} cannot be written by this user; name another '
                         'folder')


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Be the only run that writes to a folder; creates it when needed.

    Raises:
        FileWriteError: the folder cannot be written.
        UsageError: another run writes to it.
    """
    def refuse() -> None:
        raise UsageError(f'another run writes to --out {folder}: wait for its end, or name another '
                         'folder')

    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(folder / LOCK, refuse))
        except OSError as error:
            raise FileWriteError(f'cannot write to --out {folder}: '
                                 f'{(error.strerror or str(error)).lower()}') from error
        yield


def absolute(path: str) -> str:
    """Return a path in absolute form; URLs unchanged."""
    return path if '://' in path else os.path.abspath(path)


def read_lines(path: Path) -> Iterator[Any]:
    """Read JSON lines; those that an interrupted process left incomplete are left out."""
    with open(path, encoding='utf-8') as file:
        for line in file:
            with contextlib.suppress(ValueError):
                yield json.loads(line)


def remove_results(folder: Path) -> None:
    """Remove the results of earlier runs; other files stay.

    Args:
        folder: output folder.

    Raises:
        FileWriteError: a file cannot be removed.
    """
    if not (folder / RECORD).is_file():
        return
    files = [folder / PREDICTIONS]
    for line in read_lines(folder / RECORD):
        name = line.get('name', '') if isinstance(line, dict) else ''
        if not name or '..' in Path(name).parts or Path(name).is_absolute():
            continue
        files += [folder / PICTURES / f'{name}.png', folder / POLYGONS / f'{name}.json',
                  folder / VIDEOS / video_name(name), folder / FRAMES / f'{name}.jsonl',
                  folder / COCO / f'{name}.png', folder / COCO / f'{name}{SEMANTIC}.png']
        if is_video(name):
            for kind in (PICTURES, POLYGONS, COCO):
                files += (folder / kind / name).glob('[0-9]*.*')
    files += [path for pattern in ('*.json', '*.jsonl') for path in (folder / COCO).glob(pattern)]
    folders = {parent for file in files for parent in file.parents if folder in parent.parents}
    try:
        for file in [*files, folder / RECORD]:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise FileWriteError(f'cannot remove {error.filename}: '
                             f'{(error.strerror or "").lower()}') from error
    for parent in sorted(folders, key=lambda one: -len(one.parts)):
        with contextlib.suppress(OSError):  # files of somebody else
            parent.rmdir()


def video_name(name: str) -> str:
    """Name of the overlay video for the name of a video."""
    return name if name.lower().endswith('.mp4') else f'{name}.mp4'


def _with_ending(name: str, path: str) -> str:
    """Name of an image in results: the name of its results with the ending of its file."""
    ending = PurePosixPath(urlsplit(path).path if '://' in path else path).suffix
    return name if name.lower().endswith(ending.lower()) else f'{name}{ending}'


def _compare(folder: Path, known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise a UsageError if the settings of an earlier run differ."""
    wanted = json.loads(strict_json.dumps(settings))
    for option in (*wanted, *known):
        before, now = known.get(option), wanted.get(option)
        if before == now:
            continue
        change = (f'{option} {_short(before)}, and this run has {_short(now)}'
                  if option.startswith('--') else f'other {option} than this model')
        raise UsageError(f'--out {folder} has results with {change}: name another folder, or '
                         'replace its results with --overwrite')


def _short(value: Any) -> str:
    if value is None:
        return 'as the config has it'
    return ' '.join(map(str, value)) if isinstance(value, list) else str(value)
