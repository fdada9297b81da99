"""A repaired copy of data sets, for what has exactly one right answer.

The copy has the folders of the originals below the folder that contains them all. Images and
unchanged files are symbolic links to the originals, which are never written.
"""
import json
import os
import os.path as osp
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from mmpanseg.datasets.base import with_slashes
from mmpanseg.doctor.catalog import CHECKS
from mmpanseg.doctor.fixes.list_fixes import Repaired, fix_lists
from mmpanseg.doctor.fixes.map_fixes import (
    MapResult,
    MapTask,
    fix_label_map,
    fix_panoptic_map,
    panoptic_task,
)
from mmpanseg.doctor.fixes.object_fixes import fix_objects
from mmpanseg.doctor.report import Report
from mmpanseg.doctor.source import Source
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import result_file

Progress = Callable[[int, int], None]


class Fixed(NamedTuple):
    """A repaired copy.

    Attributes:
        repaired: number of repairs by id of the check.
        sources: the sources in the copy.
    """

    repaired: Repaired
    sources: list[Source]


def fix_sources(sources: Sequence[Source], out: str | Path, *, fast: bool = False,
                things: Collection[str] | None = None, workers: int | None = None,
                progress: Progress | None = None) -> Fixed:
    """Write a repaired copy of data sets; the originals stay as they are.

    Args:
        sources: the data sets.
        out: folder of the copy, new or empty.
        fast: repair only what needs no content of images and maps.
        things: names of the categories that are things, for categories without ``isthing``; None
            for the thing_classes of the source, if it has some.
        workers: number of processes; None for one per core, 0 for this process alone.
        progress: called with the number of maps that are done and the total.

    Raises:
        ValueError: the folder is not empty, or is inside of the data sets; a data set is not in a
            file system.
        OSError: the copy cannot be written; then there is no folder.
    """
    target = Path(osp.abspath(out))
    sources = [_absolute(source) for source in sources]
    base = _common_folder(sources)
    _check_target(target, base, sources)
    repaired: Repaired = Counter()
    with _new_folder(target) as folder:
        copied = [_moved(source, base, folder) for source in sources]
        for path in sorted({path for source in sources
                            for path in (source.img_prefix, source.seg_prefix) if path}):
            _link_folder(path, _below(path, base, folder))
        done = set()
        for source, copy in zip(sources, copied):
            key = source.kind, source.ann_file, source.img_prefix, source.seg_prefix
            if key in done:
                continue
            done.add(key)
            if source.kind == 'semantic':
                repaired += _fix_label_maps(source, copy, fast, workers, progress)
            else:
                repaired += _fix_json(source, copy, folder, fast, things, workers, progress)
    return Fixed(repaired, [_moved(source, base, target) for source in sources])


def fix_lines(fixed: Fixed, after: Report) -> list[str]:
    """Describe what was repaired and what stays for the user, a line for each check.

    Args:
        fixed: the copy.
        after: report of its sources.
    """
    lines = [f'repaired {count} x {check} {CHECKS[check].title}'
             for check, count in sorted(fixed.repaired.items())]
    left = Counter(problem.check for problem in after.problems)
    lines += [f'for you {count} x {check} {CHECKS[check].title}: {CHECKS[check].mend}'
              for check, count in sorted(left.items(),
                                         key=lambda item: (-CHECKS[item[0]].severity, item[0]))]
    return lines or ['nothing to repair']


def read_things(text: str) -> tuple[str, ...]:
    """Read the names of things.

    Args:
        text: names separated by commas, or a file with one name per line.

    Raises:
        ValueError: there is no name.
    """
    try:
        parts = Path(text).read_text(encoding='utf-8').splitlines() if osp.isfile(text) else (
            text.split(','))
    except (OSError, UnicodeError) as error:
        raise ValueError(f'--things {text} cannot be read: {error}') from error
    names = tuple(part.strip() for part in parts if part.strip())
    if not names:
        raise ValueError(f'--things {text!r} has no name; write names separated by commas, or a '
                         'file with one name per line')
    return names


def _absolute(source: Source) -> Source:
    paths = _paths(source)
    if source.backend_args or any('://' in path for path in paths.values()):
        raise ValueError(f'the {source.split} data are not in a file system; download them '
                         'first')
    if not paths['img_prefix']:
        raise ValueError(f'the {source.split} data name no folder of images; name it')
    absolute: dict[str, Any] = {key: osp.abspath(path) for key, path in paths.items() if path}
    return replace(source, **absolute)


def _common_folder(sources: Sequence[Source]) -> str:
    folders = [folder for source in sources for folder in _folders(source)]
    return osp.commonpath(folders)


def _folders(source: Source) -> list[str]:
    paths = [source.img_prefix, source.seg_prefix]
    if source.ann_file:
        paths.append(osp.dirname(source.ann_file))
    return [path for path in paths if path]


def _check_target(target: Path, base: str, sources: Sequence[Source]) -> None:
    real = Path(osp.realpath(target))
    folders = {folder for source in sources for folder in _folders(source)}
    if base != osp.dirname(base):  # folders of one disk have the root in common
        folders.add(base)
    for folder in sorted(map(osp.realpath, folders), key=len):
        if real == Path(folder) or Path(folder) in real.parents:
            raise ValueError(f'{target} is inside of the data set in {folder}; name a '
                             'folder elsewhere')
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f'{target} exists and is not empty; name a new folder')


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """Create a folder that is complete or does not exist."""
    parent = next(path for path in target.parents if path.is_dir())
    made = next((path for path in (target, *target.parents) if path.parent == parent), target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f'.{target.name}.', suffix='.partial',
                                    dir=target.parent))
    try:
        yield partial
        partial.chmod(0o777 & ~_umask())
        os.replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if made != target:
            _remove_empty(target.parent, parent)
        raise


def _remove_empty(folder: Path, kept: Path) -> None:
    """Remove a folder and those above it that are empty, up to one that is kept."""
    while folder != kept:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _below(path: str, base: str, folder: Path) -> str:
    return osp.normpath(folder / osp.relpath(path, base))


def _moved(source: Source, base: str, folder: Path) -> Source:
    moved: dict[str, Any] = {key: _below(path, base, folder)
                             for key, path in _paths(source).items() if path}
    return replace(source, **moved)


def _paths(source: Source) -> dict[str, str]:
    return {key: getattr(source, key) for key in ('ann_file', 'img_prefix', 'seg_prefix')}


def _link_folder(source: str, target: str) -> None:
    """Make a folder with a link to each file of another one and of its subfolders."""
    seen = set()
    for folder, names, files in os.walk(source, followlinks=True):
        real = osp.realpath(folder)
        if real in seen:  # a link to a folder above it
            names.clear()
            continue
        seen.add(real)
        there = osp.normpath(osp.join(target, osp.relpath(folder, source)))
        os.makedirs(there, exist_ok=True)
        for name in files:
            _link(osp.join(folder, name), osp.join(there, name))


def _link(source: str, target: str) -> None:
    if osp.lexists(target):
        return
    try:
        os.symlink(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)


def _fix_json(source: Source, copy: Source, root: Path, fast: bool,
              things: Collection[str] | None, workers: int | None,
              progress: Progress | None) -> Repaired:
    """Repair a JSON and its maps; a JSON that cannot be read is linked as it is."""
    content, decoded = _read(source.ann_file)
    if content is None:
        os.makedirs(osp.dirname(copy.ann_file), exist_ok=True)
        if osp.lexists(source.ann_file):
            _link(source.ann_file, copy.ann_file)
        return Counter()
    if things is None and source.stuff_classes is not None:
        things = source.thing_classes
    repaired = fix_lists(content, source, things)
    repaired['PAN003'] += decoded
    _link_outside(content, source, copy, root)
    if source.kind == 'panoptic' and not fast:
        repaired += _fix_panoptic_maps(content, source, copy, workers, progress)
    elif source.kind == 'instance' and not fast:
        repaired += fix_objects(content)
    if repaired:
        with result_file(copy.ann_file) as part:
            part.write_text(strict_json.dumps(content))
    else:
        os.makedirs(osp.dirname(copy.ann_file), exist_ok=True)
        _link(source.ann_file, copy.ann_file)
    return +repaired


def _link_outside(content: dict, source: Source, copy: Source, root: Path) -> None:
    """Link files whose names lead out of their folders, but not out of the data sets."""
    for key, prefix, there in (('images', source.img_prefix, copy.img_prefix),
                               ('annotations', source.seg_prefix, copy.seg_prefix)):
        for entry in content[key] if prefix else ():
            name = entry.get('file_name')
            if not isinstance(name, str) or '\0' in name or '..' not in with_slashes(
                    name).split('/'):
                continue
            path, target = (osp.normpath(osp.join(folder, with_slashes(name)))
                            for folder in (prefix, there))
            if osp.isfile(path) and root in Path(target).parents:
                os.makedirs(osp.dirname(target), exist_ok=True)
                _link(path, target)


def _read(path: str) -> tuple[dict | None, bool]:
    """Read a JSON.

    Returns:
        the content, None if it is no COCO JSON of lists of dicts; whether it has another encoding
        than UTF-8.
    """
    try:
        data = Path(path).read_bytes()
        content = json.loads(data, parse_constant=strict_json.refuse_constant)
    except (OSError, ValueError, RecursionError):
        return None, False
    lists = [content.get(key) for key in ('images', 'annotations', 'categories')] if (
        isinstance(content, dict)) else [None]
    if not all(isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
               for entries in lists):
        return None, False
    return content, json.detect_encoding(data) != 'utf-8'


def _fix_panoptic_maps(content: dict, source: Source, copy: Source, workers: int | None,
                       progress: Progress | None) -> Repaired:
    images: dict[Any, list[dict]] = {}
    for image in content['images']:
        if isinstance(image.get('id'), (int, str)):
            images.setdefault(image['id'], []).append(image)
    tasks, places = [], []
    for annotation in content['annotations'] if source.seg_prefix else ():
        number = annotation.get('image_id')
        own = images.get(number, []) if isinstance(number, (int, str)) else []
        if len(own) != 1:
            continue
        task = panoptic_task(source, own[0], annotation, copy.seg_prefix)
        if task is not None:
            tasks.append(task)
            places.append((own[0], annotation))
    repaired: Repaired = Counter()
    results = _run(fix_panoptic_map, tasks, workers, progress)
    for (image, annotation), result in zip(places, results):
        repaired += result.repaired
        if result.size is not None:
            image['height'], image['width'] = result.size
        if result.segments is not None:
            annotation['segments_info'] = result.segments
    return repaired


def _fix_label_maps(source: Source, copy: Source, fast: bool, workers: int | None,
                    progress: Progress | None) -> Repaired:
    tasks = []
    for folder, _, files in os.walk(source.seg_prefix) if source.seg_prefix and not fast else ():
        for name in sorted(files):
            if name.lower().endswith(source.seg_suffix.lower()) and source.seg_suffix == '.png':
                path = osp.join(folder, name)
                tasks.append(MapTask(path, osp.join(
                    copy.seg_prefix, osp.relpath(path, source.seg_prefix))))
    return sum((result.repaired for result in _run(fix_label_map, tasks, workers, progress)),
               Counter[str]())


def _run(function: Callable[[MapTask], MapResult], tasks: list[MapTask], workers: int | None,
         progress: Progress | None) -> Iterator[MapResult]:
    """Call a function for each task, in order."""
    count = min(os.cpu_count() or 1 if workers is None else workers, len(tasks))
    if count < 2:
        yield from _counted(map(function, tasks), len(tasks), progress)
        return
    with get_context('fork' if os.name != 'nt' else None).Pool(count) as pool:
        yield from _counted(pool.imap(function, tasks, chunksize=8), len(tasks), progress)


def _counted(results: Any, total: int, progress: Progress | None) -> Iterator[MapResult]:
    for number, result in enumerate(results, 1):
        if progress is not None:
            progress(number, total)
        yield result
