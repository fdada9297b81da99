"""Checks of folders: which files exist, under which name, and which nothing lists."""
import os
import os.path as osp
from collections import defaultdict
from collections.abc import Iterable, Sequence

from mmengine import fileio

from mmpanseg.doctor.lists.findings import Findings
from mmpanseg.doctor.problem import Problem, problem
from mmpanseg.doctor.source import ImageRecord, Source
from mmpanseg.structures.image_file import IMAGE_SUFFIXES

_NAMED = 5


class Folders:
    """Names of the files in folders, read once.

    Attributes:
        listed: folder -> files in it that a source lists.
    """

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str] | None] = {}
        self.listed: dict[str, set[str]] = defaultdict(set)

    def files(self, folder: str) -> dict[str, str] | None:
        """Return the files of a folder, by their names without capitals; None without it."""
        if folder not in self._names:
            try:
                with os.scandir(folder or '.') as entries:
                    names = sorted(entry.name for entry in entries if not entry.is_dir())
            except (OSError, ValueError):
                self._names[folder] = None
            else:
                self._names[folder] = {name.casefold(): name for name in names}
        return self._names[folder]

    def near(self, path: str) -> tuple[str | None, list[str]]:
        """Look for a file that does not exist.

        Returns:
            the file with other capitals, and files with another ending.
        """
        folder, name = osp.split(path)
        files = self.files(folder) or {}
        stem = osp.splitext(name)[0].casefold()
        others = [files[name.casefold()[:len(stem)] + ending] for ending in IMAGE_SUFFIXES
                  if stem + ending in files]
        return files.get(name.casefold()), others


def check_files(records: Iterable[ImageRecord], folders: Folders, found: Findings
                ) -> list[ImageRecord]:
    """Look for the files of images.

    Args:
        records: the images.
        folders: the folders.
        found: receives the problems.

    Returns:
        The images whose file exists; the path of an annotation that does not exist is None.
    """
    source, kept = found.source, []
    absent: set[str] = set()
    for kind, folder in (('images', source.img_prefix), ('maps', source.seg_prefix)):
        if folder and is_local(source, folder) and not osp.isdir(folder):
            found.add('PAN043', f'the folder of {kind} does not exist', file=folder)
            absent.add(kind)
    for record in records:
        place = dict(image_id=record.image_id)
        image = 'images' not in absent and _check(
            'PAN031', record.path, record.file_name, folders, found, **place)
        if record.annotation_path is not None and ('maps' in absent or not _check(
                'PAN032', record.annotation_path, record.annotation_name or '', folders, found,
                **place)):
            record = record._replace(annotation_path=None)
        if image:
            kept.append(record)
    return kept


def is_local(source: Source, path: str) -> bool:
    """Return whether a path of a source is one of the file system."""
    return source.backend_args is None and '://' not in path


def _check(check: str, path: str, name: str, folders: Folders, found: Findings,
           image_id: int | str) -> bool:
    source = found.source
    place = dict(file=name, image_id=image_id)
    folder = osp.normpath(osp.dirname(path) or '.')
    folders.listed[folder].add(osp.basename(path))
    if not is_local(source, path):
        try:
            if fileio.exists(path, backend_args=source.backend_args):
                return True
        except Exception:  # storage backends raise errors of many types
            pass
        found.add(check, f'{path} does not exist', **place)
        return False
    if osp.isfile(path):
        return True
    if osp.isdir(path):
        found.add(check, f'{path} is a folder', **place)
        return False
    capitals, others = folders.near(path)
    if capitals is not None:
        folders.listed[folder].add(capitals)
        found.add('PAN028', f'{path} does not exist, but {capitals} does', **place)
    else:
        folders.listed[folder].update(others)
        hint = f'; {", ".join(others[:_NAMED])} exists' if others else ''
        found.add(check, f'{path} does not exist{hint}', **place)
    return False


def unlisted_files(sources: Sequence[Source], folders: Folders) -> list[Problem]:
    """Find images and maps that no source lists, in the folders of those that are listed.

    Args:
        sources: all sources, whose semantic ones take all files of their folders.
        folders: the folders.
    """
    maps = [osp.normpath(source.seg_prefix) for source in sources
            if source.seg_prefix and source.kind == 'panoptic']
    splits = ', '.join(source.split for source in sources)
    found = []
    for folder, listed in sorted(folders.listed.items()):
        names = folders.files(folder)
        if '://' in folder or names is None:
            continue
        others = sorted(name for key, name in names.items()
                        if name not in listed and key.endswith(IMAGE_SUFFIXES)
                        and not name.startswith('.'))
        if others:
            is_map = any(folder == one or folder.startswith(one + os.sep) for one in maps)
            more = ', ...' if len(others) > _NAMED else ''
            text = (f'{len(others)} of {len(names)} files in {folder} are listed by no '
                    f'{"annotation" if is_map else "image"} of {splits}: '
                    f'{", ".join(others[:_NAMED])}{more}')
            found.append(problem('PAN034' if is_map else 'PAN033', text, file=folder))
    return found
