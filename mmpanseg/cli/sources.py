"""Sources of a command line: files, folders, patterns, URLs and lists become images and videos."""
import glob
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from mmpanseg.apis.video_frames import VIDEO_SUFFIXES
from mmpanseg.structures.image_file import ARRAY_SUFFIXES, IMAGE_SUFFIXES
from mmpanseg.structures.result_file_names import result_names


class Source(NamedTuple):
    """An image or a video.

    Attributes:
        path: path or URL.
        name: name of its results, with ``/`` between folders; a video's has its ending.
        root: folder that the name is relative to; '' for a file or URL that was given itself.
        is_video: whether it is a video.
    """
    path: str
    name: str
    root: str = ''
    is_video: bool = False


class Failure(NamedTuple):
    """An input without a result.

    Attributes:
        source: the input.
        reason: one line that names it.
    """
    source: str
    reason: str


def find_sources(arguments: Sequence[str], left_out: Path | None = None
                 ) -> tuple[list[Source], list[Failure]]:
    """List the images and videos of all arguments, in order, each of them once.

    A folder gives the images and videos in it and in its sub-folders, by their endings in any case;
    hidden ones are left out. A pattern gives what matches it. Names of results are paths below the
    folder, or below the part of the pattern without wildcards, without the endings of images. Where
    two of them are equal, all names are those of
    :func:`mmpanseg.structures.result_file_names.result_names`.

    Args:
        arguments: files, folders, glob patterns and URLs.
        left_out: folder that is not searched: the one that results are written to.

    Returns:
        the sources; and the arguments that give none.
    """
    found: dict[str, Source] = {}
    failures = []
    for argument in arguments:
        try:
            sources = _sources_of(argument, left_out)
        except ValueError as error:
            failures.append(Failure(argument, str(error)))
            continue
        for source in sources:
            found.setdefault(source.path if '://' in source.path
                             else os.path.abspath(source.path), source)
    return _with_unique_names(list(found.values())), failures


def _sources_of(argument: str, left_out: Path | None) -> list[Source]:
    """Sources of one argument; a ValueError if there are none."""
    if '://' in argument:
        return [_source(argument, _name_of_url(argument))]
    path = Path(argument)
    if path.is_dir():
        return _of_folder(path, left_out)
    if path.exists():
        return [_source(argument, path.name)]
    if not glob.has_magic(argument):
        raise ValueError(f'{argument} does not exist: give an image, a video, a folder, a pattern '
                         'in quotes, or a URL')
    return _of_pattern(argument)


def _of_folder(folder: Path, left_out: Path | None) -> list[Source]:
    skipped = None if left_out is None else left_out.absolute()
    files: list[Path] = []
    arrays: list[Path] = []
    others = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith('.')
                            and Path(parent, name).absolute() != skipped)
        for name in sorted(name for name in names if not name.startswith('.')):
            if _is_known(name):
                files.append(Path(parent, name))
            elif name.lower().endswith(ARRAY_SUFFIXES):
                arrays.append(Path(parent, name))
            else:
                others += 1
    # arrays beside images are something else than images
    files = files or arrays
    if not files:
        raise ValueError(f'{folder} has no image and no video: none of its {others} files, also in '
                         f'sub-folders, has one of the endings {" ".join(IMAGE_SUFFIXES)} '
                         f'{" ".join(VIDEO_SUFFIXES)}')
    return [_source(str(path), path.relative_to(folder).as_posix(), str(folder)) for path in files]


def _of_pattern(pattern: str) -> list[Source]:
    files = [path for path in sorted(glob.glob(pattern, recursive=True)) if Path(path).is_file()]
    known = [path for path in files if _is_known(path)] or [
        path for path in files if path.lower().endswith(ARRAY_SUFFIXES)]
    if not known:
        reason = f'; none of the {len(files)} files has the ending of one' if files else ''
        raise ValueError(f'{pattern} matches no image and no video{reason}')
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    return [_source(path, Path(path).relative_to(root).as_posix(), str(root)) for path in known]


def _source(path: str, name: str, root: str = '') -> Source:
    ending = PurePosixPath(name).suffix.lower()
    if ending in VIDEO_SUFFIXES:
        return Source(path, name, root, True)
    if ending in (*IMAGE_SUFFIXES, *ARRAY_SUFFIXES):
        name = name[:-len(ending)]
    return Source(path, name, root)


def _is_known(path: str) -> bool:
    return Path(path).suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)


def _name_of_url(url: str) -> str:
    parts = urlsplit(url)
    name = PurePosixPath(unquote(parts.path)).name.replace('\\', '_')
    return name if name.strip('.') else parts.netloc.replace(':', '_') or 'image'


def _with_unique_names(sources: list[Source]) -> list[Source]:
    if len({source.name.casefold() for source in sources}) == len(sources):
        return sources
    names = result_names([source.path for source in sources])
    return [source._replace(name=_of_video(source, names) if source.is_video
                            else names[source.path]) for source in sources]


def _of_video(source: Source, names: dict[str, str]) -> str:
    name, ending = names[source.path], PurePosixPath(source.name).suffix
    return name if name.lower().endswith(ending.lower()) else name + ending
