"""Names of result files, from the paths of the images they belong to."""
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

# what OpenCV writes pictures of three channels to
PICTURE_ENDINGS = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')
# File systems take 255 bytes; what is left is for endings.
MAX_BYTES = 220


def result_names(paths: Iterable[str | os.PathLike], keep_ending: bool = False,
                 suffixes: Sequence[str] = ('', )) -> dict[str, str]:
    """One name per image, without the ending of the result, so that no result hides another.

    The name is that of the image without folder and ending wherever such names differ. Where
    they do not, all names keep their sub-folders, from the folder that all images have in common,
    and those that then differ in their endings only keep them too. The names depend on the set of
    paths alone, not on their order, and capitals make no difference, so that results can be
    copied to any file system. Parts that are too long for a file system end in a digest instead.

    Args:
        paths: files or URLs of all images of a data set or call; one given twice counts once.
        keep_ending: images keep their endings in any case, for results of the same file type.
        suffixes: what is appended to a name for the results of one image, in turn.

    Returns:
        path as given -> name, with ``/`` between folders.
    """
    places = {os.fspath(path): _parts(os.fspath(path)) for path in paths}
    files = _without_common_folder(set(places.values()))

    def named(file: PurePosixPath) -> str:
        return str(file if keep_ending else file.with_suffix(''))

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


def dataset_result_names(dataset: object, keep_ending: bool = False) -> dict[str, str]:
    """:func:`result_names` of all images of a data set, which are the same in every process.

    Args:
        dataset: has a length and ``get_data_info``, as mmengine's data sets have.
        keep_ending: see there.
    """
    return result_names((dataset.get_data_info(index)['img_path']
                         for index in range(len(dataset))), keep_ending)


def picture_name(name: str) -> str:
    """Name of a picture drawn on an image, given the image's with its ending; PNG if need be."""
    return name if name.lower().endswith(PICTURE_ENDINGS) else f'{name}.png'


class ResultNames:
    """Names in one folder that results of several calls go to, each call with images of its own.

    An image that comes again has its name again. The name of a new one gets a number where an
    earlier image has it already.

    Args:
        keep_ending, suffixes: see :func:`result_names`.
        used: image -> name of results that the folder has from before.
    """

    def __init__(self, keep_ending: bool = False, suffixes: Sequence[str] = ('', ),
                 used: Mapping[str, str] | None = None) -> None:
        self.keep_ending = keep_ending
        self.suffixes = suffixes
        self._names = {_parts(path): name for path, name in (used or {}).items()}
        self._results = set(_results(self._names.values(), suffixes))
        self._unnamed = 0

    def add(self, paths: Iterable[str]) -> None:
        """Give names to the images of a call."""
        new = [path for path in paths if _parts(path) not in self._names]
        for path, name in result_names(new, self.keep_ending, self.suffixes).items():
            if _parts(path) not in self._names:
                self._names[_parts(path)] = self._take(name)

    def of(self, path: str) -> str:
        """Name of an image, also of one that no call announced."""
        self.add([path])
        return self._names[_parts(path)]

    def unnamed(self, ending: str = '', folder: Path | None = None) -> str:
        """Name for an image that has no path: a number that is free, also in the folder, if one
        is given, and the ending.
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
    """Folders and file name of a path or URL from its root."""
    scheme, colon, rest = path.partition('://')
    if colon:
        return (scheme, *(part for part in rest.split('/') if part not in ('', '.', '..')))
    drive, rest = os.path.splitdrive(os.path.abspath(path))
    return (drive.rstrip(':'), *(part for part in rest.replace(os.sep, '/').split('/') if part))


def _without_common_folder(places: set[tuple[str, ...]]) -> dict[tuple[str, ...], PurePosixPath]:
    common = os.path.commonprefix([parts[:-1] for parts in places])
    return {parts: PurePosixPath(*(part for part in parts[len(common):] if part))
            for parts in places}


def _results(names: Iterable[str], suffixes: Sequence[str]) -> list[str]:
    """What the results would be called on a file system that tells least apart."""
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
