"""Unique names of result files, derived from image paths."""
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

# formats in which OpenCV writes images of three channels
PICTURE_ENDINGS = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')
# File systems allow 255 bytes; the rest is reserved for suffixes.
MAX_BYTES = 220


def result_names(paths: Iterable[str | os.PathLike], keep_ending: bool = False,
                 suffixes: Sequence[str] = ('', )) -> dict[str, str]:
    """Create one result name per image, so that no result overwrites another.

    The name is the file name of the image without its extension if all such names differ.
    Otherwise all names include their folders below the common folder of all images, and names that
    still differ in the extension only include it too. The names depend on the set of paths, not on
    the order. They are compared without case, so that results can be copied to any file system.
    Parts of a path that are too long for a file system end in a digest.

    Args:
        paths: files or URLs of all images of a dataset or call; duplicates count once.
        keep_ending: always include the extension, for results of the same file type.
        suffixes: suffixes of the results of one image; no two results may share name and suffix.

    Returns:
        path -> name, with ``/`` between folders.
    """
    places = {os.fspath(path): _parts(os.fspath(path)) for path in paths}
    files = _without_common_folder(set(places.values()))

    def named(file: PurePosixPath) -> str:
        # without its ending '...png' would be the folder above
        return str(file.with_suffix('') if not keep_ending and file.stem.strip('.') else file)

    if not _repeated((named(PurePosixPath(file.name)) for file in files.values()), suffixes):
        files = {parts: PurePosixPath(file.name) for parts, file in files.items()}
    names = {parts: named(file) for parts, file in files.items()}
    repeated = _repeated(names.values(), suffixes)
    names = {parts: str(files[parts]) if repeated.intersection(_results([name], suffixes))
             else name for parts, name in names.items()}
    if _repeated(names.values(), suffixes):
        names = {parts: str(file) for parts, file in files.items()}
    return {path: '/'.join(map(_shortened, names[parts].split('/')))
            for path, parts in places.items()}


class ImageDataset(Protocol):
    """Dataset with the interface of mmengine's ``BaseDataset``."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return the information of a sample, with ``img_path``."""
        ...


def dataset_result_names(dataset: ImageDataset, keep_ending: bool = False) -> dict[str, str]:
    """Apply :func:`result_names` to all images of a dataset; equal on all processes.

    Args:
        dataset: a dataset of mmengine.
        keep_ending: see :func:`result_names`.
    """
    return result_names((dataset.get_data_info(index)['img_path']
                         for index in range(len(dataset))), keep_ending)


def picture_name(name: str) -> str:
    """Name a drawing on an image.

    Args:
        name: name of the image with its extension.

    Returns:
        the name, with ``.png`` appended unless OpenCV can write the image's format.
    """
    return name if name.lower().endswith(PICTURE_ENDINGS) else f'{name}.png'


class ResultNames:
    """Unique result names in one folder over several calls.

    A repeated image keeps its name. A new image whose name is used by another image gets a number.

    Args:
        keep_ending: see :func:`result_names`.
        suffixes: see :func:`result_names`.
        used: image path -> name of the results that exist in the folder.
    """

    def __init__(self, keep_ending: bool = False, suffixes: Sequence[str] = ('', ),
                 used: Mapping[str, str] | None = None) -> None:
        self.keep_ending = keep_ending
        self.suffixes = suffixes
        self._names = {_parts(path): name for path, name in (used or {}).items()}
        self._results = set(_results(self._names.values(), suffixes))
        self._unnamed = 0

    def add(self, paths: Iterable[str], names: Mapping[str, str] | None = None) -> None:
        """Assign names to the images of a call.

        Args:
            paths: of the images.
            names: path -> wanted name (default: those of :func:`result_names`).
        """
        new = [path for path in paths if _parts(path) not in self._names]
        wanted = (result_names(new, self.keep_ending, self.suffixes) if names is None else
                  {path: '/'.join(map(_shortened, names[path].split('/'))) for path in new})
        for path, name in wanted.items():
            if _parts(path) not in self._names:
                self._names[_parts(path)] = self._take(name)

    def of(self, path: str) -> str:
        """Return the name of an image; assigns one if needed."""
        self.add([path])
        return self._names[_parts(path)]

    def unnamed(self, ending: str = '', folder: Path | None = None) -> str:
        """Assign a number as the name of an image without a path.

        Args:
            ending: extension to append.
            folder: if set, numbers of existing files in this folder are skipped.
        """
        while True:
            name = f'{self._unnamed:08d}{ending}'
            self._unnamed += 1
            if self._results.isdisjoint(_results([name], self.suffixes)) and not (
                    folder is not None and (folder / name).exists()):
                return self._take(name)

    def _take(self, name: str) -> str:
        path = PurePosixPath(name)
        ending = path.suffix if self.keep_ending else ''
        free, number = name, 0
        while not self._results.isdisjoint(_results([free], self.suffixes)):
            number += 1
            free = f'{name.removesuffix(ending)}_{number}{ending}'
        self._results.update(_results([free], self.suffixes))
        return free


def _parts(path: str) -> tuple[str, ...]:
    """Split a path or URL into folders and file name, from its root."""
    scheme, colon, rest = path.partition('://')
    if colon and '/' not in scheme:
        return (scheme, *(part for part in rest.split('/') if part not in ('', '.', '..')))
    drive, rest = os.path.splitdrive(os.path.abspath(path))
    return (drive.rstrip(':'), *(part for part in rest.replace(os.sep, '/').split('/') if part))


def _without_common_folder(places: set[tuple[str, ...]]) -> dict[tuple[str, ...], PurePosixPath]:
    common = os.path.commonprefix([parts[:-1] for parts in places])
    return {parts: PurePosixPath(*(part for part in parts[len(common):] if part))
            for parts in places}


def _results(names: Iterable[str], suffixes: Sequence[str]) -> list[str]:
    """Normalize result names for a file system without case and Unicode variants."""
    return [unicodedata.normalize('NFC', f'{name}{suffix}'.casefold())
            for name in names for suffix in suffixes]


def _repeated(names: Iterable[str], suffixes: Sequence[str]) -> set[str]:
    return {result for result, count in Counter(_results(names, suffixes)).items() if count > 1}


def _shortened(part: str) -> str:
    encoded = part.encode(errors='surrogateescape')
    if len(encoded) <= MAX_BYTES:
        return part
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return f'{encoded[:MAX_BYTES - 13].decode(errors="ignore")}_{digest}'
