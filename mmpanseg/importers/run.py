"""The import itself: many processes, continued after a kill, nothing outside DST."""
import contextlib
import itertools
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from mmpanseg.datasets.converters.common import write_json
from mmpanseg.importers.class_selection import ClassOptions, select_classes
from mmpanseg.importers.one_image import (
    PLACEMENTS,
    Context,
    Task,
    image_file,
    import_image,
    map_file,
    map_name,
    result_name,
)
from mmpanseg.importers.reader import Reader, ReadOptions, find_reader
from mmpanseg.importers.safe_names import unique_names
from mmpanseg.importers.source_image import LeftOut, SourceError, SourceImage, count_left_out
from mmpanseg.importers.split import SplitOptions, split_images
from mmpanseg.importers.work_folder import digest, open_work_folder
from mmpanseg.importers.write_panoptic import void_label
from mmpanseg.utils.atomic_files import FileWriteError, result_file

CLASSES, SKIPPED = 'classes.json', 'skipped.txt'
TASKS = ('panoptic', 'semantic')
_COUNTED = {
    'outside': 'objects lie outside of their image or cover no pixel, and are left out',
    'hidden': 'objects are covered by others completely: they are in the instance JSON only',
    'small': 'objects have fewer visible pixels than --min-area, and are void'}
# below this number of images the start of processes costs more than they save
FEW_IMAGES = 16


class OutputOptions(NamedTuple):
    """What is written.

    Args:
        task: 'panoptic' or 'semantic' (label maps only); None: that of the format.
        placement: of images: copy, hardlink or symlink.
        min_area: segments of things with fewer visible pixels become void.
        skip_errors: leave out images with an error and list them in ``skipped.txt``.
    """

    task: str | None = None
    placement: str = 'copy'
    min_area: int = 1
    skip_errors: bool = False


class Imported(NamedTuple):
    """What an import wrote.

    Args:
        folder: DST.
        task: 'panoptic' or 'semantic'.
        classes: entries of ``classes.json``: id, name, isthing, and color where known.
        images: number of images by split.
        segments: number of segments (of label maps: of images with the class) by split and class.
        notes: one line each about what was left out or changed.
    """

    folder: Path
    task: str
    classes: list[dict]
    images: dict[str, int]
    segments: dict[str, dict[str, int]]
    notes: list[str]


def run_import(format_name: str, src: str | Path, dst: str | Path, *,
               read: ReadOptions | None = None, split: SplitOptions | None = None,
               classes: ClassOptions | None = None, output: OutputOptions | None = None,
               workers: int | None = None,
               progress: Callable[[int, int], None] | None = None) -> Imported:
    """Import a source of any format.

    DST receives ``images/{split}/``, ``panoptic_{split}.json``, ``panoptic_{split}/``,
    ``instances_{split}.json`` (for semantic sources ``labels/{split}/`` instead) and
    ``classes.json``. An import that was killed continues when it is started again with the same
    arguments; the result is the same, bit by bit.

    Args:
        format_name: one of :func:`mmpanseg.importers.reader.list_formats`.
        src: folder or file of the source.
        dst: new folder.
        read: options of the reader.
        split: how images are split.
        classes: options about classes.
        output: what is written.
        workers: number of processes; None: one per processor, at most 8.
        progress: called with the number of finished and of all images.

    Raises:
        SourceError: an option or the source is wrong; the text is one line with file and object.
        FileWriteError: DST cannot be written, e.g. the disk is full.
    """
    src, dst = Path(src), Path(dst)
    read, split = read or ReadOptions(), split or SplitOptions()
    classes, output = classes or ClassOptions(), output or OutputOptions()
    _check_output(output, workers)
    reader_type = find_reader(format_name)
    _check_options(format_name, reader_type, read)
    with open_work_folder(src, dst) as work:
        # readers have the names of the source
        things = (*classes.things, *(old for old, new in classes.rename if new in classes.things))
        with _one_line():
            reader = reader_type(src, read._replace(things=things))
        reader.scratch, reader.workers = work.scratch, _processes(workers)
        with _one_line():
            images = reader.list_images()
            found = reader.list_classes()
        if not images:
            raise SourceError(f'{src} has no image of the format {format_name}')
        selection = select_classes(found, classes)
        task = output.task or reader.task
        tasks = _tasks(split_images(images, split))
        context = Context(
            reader, dst, selection.names,
            {entry['name']: entry['id'] for entry in selection.classes}, selection.things, task,
            classes.background, output.placement, output.min_area, output.skip_errors)
        known = work.start(dict(format=format_name, source=str(src.resolve()), options=digest(
            [read, classes, output, selection.classes])))
        # what was changed in the source since is imported again, and so is what had an error
        done = {one.key: known[one.key] for one in tasks
                if one.key in known and _is_complete(known[one.key], one, context)}
        missing = [one for one in tasks if one.key not in done]
        # a bar starts a thread, which may not run when the processes are forked
        for entry in _import_all(missing, context, workers):
            work.add(entry)
            done[entry['key']] = entry
            if progress is not None:
                progress(len(done), len(tasks))
        _remove_others(context, tasks, done)
        imported = _finish(dst, task, tasks, done, [*reader.notes, *selection.notes],
                           selection.classes)
        work.finish()
    return imported


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Convert the errors of the readers that the library shares, which name the file."""
    try:
        yield
    except (SourceError, FileWriteError):
        raise
    except (ValueError, OSError) as error:
        raise SourceError(' '.join(str(error).split())) from error


def _processes(workers: int | None) -> int:
    if workers is not None:
        return workers
    usable = (len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity')
              else os.cpu_count() or 1)
    return min(8, usable)


def _check_output(output: OutputOptions, workers: int | None) -> None:
    if output.task not in (None, *TASKS):
        raise SourceError(f'--task {output.task} is none of {", ".join(TASKS)}')
    if output.placement not in PLACEMENTS:
        raise SourceError(f'--images-by {output.placement} is none of {", ".join(PLACEMENTS)}')
    if workers is not None and workers < 1:
        raise SourceError(f'--workers {workers} must be at least 1')


def _check_options(name: str, reader: type[Reader], read: ReadOptions) -> None:
    """Refuse options of other formats."""
    default = ReadOptions()
    for field in ReadOptions._fields:
        if getattr(read, field) != getattr(default, field) and field not in reader.options:
            used = ', '.join(f'--{option.replace("_", "-")}' for option in reader.options)
            raise SourceError(f'the format {name} has no --{field.replace("_", "-")}'
                              f'{f"; it has {used}" if used else ""}')


def _tasks(splits: Mapping[str, Sequence[SourceImage]]) -> list[Task]:
    tasks = []
    for split, images in splits.items():
        folder = unique_names([split])[0]
        for name, image in zip(unique_names(map(result_name, images)), images):
            tasks.append(Task(digest([folder, name, image]), folder, name, image))
    return tasks


def _is_complete(entry: dict, task: Task, context: Context) -> bool:
    """Return whether the files of a recorded image exist."""
    return 'error' not in entry and all(
        file.is_file() for file in (image_file(task, context), map_file(task, context)))


def _remove_others(context: Context, tasks: Sequence[Task], entries: Mapping[str, dict]) -> None:
    """Remove files of an interrupted import that are of images which the source has no more."""
    kept = {file for task in tasks if 'error' not in entries[task.key]
            for file in (image_file(task, context), map_file(task, context))}
    for pattern in ('images/**/*', 'labels/**/*', 'panoptic_*/**/*'):
        for file in list(context.folder.glob(pattern)):
            if (file.is_symlink() or file.is_file()) and file not in kept:
                file.unlink()


_context: Context | None = None


def _start_worker(context: Context) -> None:
    global _context
    _context = context
    # Ctrl-C reaches all processes; the main one ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_task(task: Task) -> dict:
    assert _context is not None
    return import_image(task, _context)


def _import_all(tasks: Sequence[Task], context: Context, workers: int | None) -> Iterator[dict]:
    """Yield the entries in the order of the tasks."""
    count = _processes(workers)
    if count == 1 or len(tasks) < FEW_IMAGES:
        for task in tasks:
            yield import_image(task, context)
        return
    pool = ProcessPoolExecutor(count, multiprocessing.get_context(), _start_worker, (context, ))
    try:
        # few tasks wait in the queue, so that an error ends the import at once
        waiting = iter(tasks)
        futures: list[Future] = [pool.submit(_run_task, task)
                                 for task in itertools.islice(waiting, 4 * count)]
        while futures:
            yield futures.pop(0).result()
            futures += [pool.submit(_run_task, task) for task in itertools.islice(waiting, 1)]
    except BrokenProcessPool as error:
        raise SourceError('a process of the import was killed, probably since memory is full; '
                          'start it again with fewer --workers, it continues') from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finish(folder: Path, task: str, tasks: Sequence[Task], entries: Mapping[str, dict],
            notes: list[str], classes: list[dict]) -> Imported:
    """Write the JSONs."""
    numbers = {one.key: number for number, one in enumerate(tasks, 1)}
    skipped = [str(entries[one.key]['error']) for one in tasks if 'error' in entries[one.key]]
    if len(skipped) == len(tasks):
        raise SourceError(f'every image has an error, the first one: {skipped[0]}')
    counts: dict[str, int] = {}
    segments: dict[str, dict[str, int]] = {}
    names = {entry['id']: entry['name'] for entry in classes}
    for split in dict.fromkeys(one.split for one in tasks):
        listed = [dict(entry, image=dict(id=numbers[one.key], **entry['image'])) for one in tasks
                  if one.split == split and 'error' not in (entry := entries[one.key])]
        counts[split] = len(listed)
        found: Counter = Counter()
        for entry in listed:
            # keys of JSON are texts
            found.update([int(number) for number in entry['areas']] if task == 'semantic' else
                         [segment['category_id'] for segment in entry['segments']])
        segments[split] = {name: found[number] for number, name in names.items()}
        if task == 'panoptic':
            _write_panoptic(folder, split, listed, classes)
    (folder / SKIPPED).unlink(missing_ok=True)
    if skipped:
        with result_file(folder / SKIPPED) as part:
            part.write_text('\n'.join(skipped) + '\n', encoding='utf-8')
        notes.append(f'{len(skipped)} images with errors are left out, see {folder / SKIPPED}')
    for key, text in _COUNTED.items():
        total = sum(entries[one.key].get(key, 0) for one in tasks)
        if total:
            notes.append(f'{total} {text}')
    notes += count_left_out(LeftOut(*item) for one in tasks
                            for item in entries[one.key].get('left_out', ()))
    content: dict = dict(task=task, classes=classes, images=counts)
    if task == 'semantic':
        content['ignore_index'] = void_label(len(classes))
    write_json(folder / CLASSES, content)
    return Imported(folder, task, classes, counts, segments, notes)


def _write_panoptic(folder: Path, split: str, entries: Sequence[dict], classes: list[dict]) -> None:
    images = [entry['image'] for entry in entries]
    write_json(folder / f'panoptic_{split}.json', dict(
        images=images, categories=classes, annotations=[
            dict(image_id=entry['image']['id'], file_name=map_name(entry['image']['file_name']),
                 segments_info=entry['segments']) for entry in entries]))
    things = [entry for entry in classes if entry['isthing']]
    if things:
        objects = [dict(image_id=entry['image']['id'], **item)
                   for entry in entries for item in entry['instances']]
        write_json(folder / f'instances_{split}.json', dict(
            images=images, categories=things,
            annotations=[dict(id=number, **item) for number, item in enumerate(objects, 1)]))
