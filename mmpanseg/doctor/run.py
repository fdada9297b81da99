"""Check data sets: lists first, then every image in worker processes, then the whole set."""
import os
import time
from collections.abc import Callable, Iterator, Sequence

from mmpanseg.doctor.lists.files import Folders, unlisted_files
from mmpanseg.doctor.lists.listing import Listing, read_source
from mmpanseg.doctor.problem import Problem
from mmpanseg.doctor.report import Report, in_order
from mmpanseg.doctor.sets.leakage import check_leakage, check_twice
from mmpanseg.doctor.sets.statistics import SourceStatistics
from mmpanseg.doctor.sets.whole_set import (
    balance_table,
    check_balance,
    check_classes,
    check_images,
    roles_of,
)
from mmpanseg.doctor.source import Options, Source
from mmpanseg.doctor.workers import Task, inspect_all

# fewer images are inspected in this process, sooner than others start
_FEW = 16


def run_doctor(sources: Sequence[Source], *, fast: bool = False, max_pixels: int | None = None,
               workers: int | None = None,
               progress: Callable[[int, int], None] | None = None) -> Report:
    """Find every problem of some data sets.

    The report is the same for any number of workers.

    Args:
        sources: what to check.
        fast: check JSON files and file names only, no content of images and maps.
        max_pixels: images with more pixels are a warning; None for any size.
        workers: number of processes; None for one per core, 0 for this process alone.
        progress: called with the number of images that are done and the total.

    Returns:
        the report.
    """
    start, folders = time.monotonic(), Folders()
    listings = [read_source(source, folders) for source in sources]
    statistics = [SourceStatistics(listing) for listing in listings]
    problems = [problem for listing in listings for problem in listing.problems]
    problems += unlisted_files(sources, folders)
    if not fast:
        tasks = [Task(number, record) for number, listing in enumerate(listings)
                 for record in listing.records]
        if workers is None:
            workers = 0 if len(tasks) < _FEW else _cores()
        results = inspect_all(tasks, sources, Options(max_pixels),
                              min(workers, len(tasks)) if workers > 1 else workers)
        for done, (task, findings) in enumerate(results, 1):
            problems += findings.problems
            if findings.statistics is not None:
                statistics[task.source].add(findings.statistics)
            if progress is not None:
                progress(done, len(tasks))
    problems += _whole_set(statistics, fast)
    return Report(
        problems=in_order(problems), sources=[source.as_dict() for source in statistics],
        statistics=dict(classes=balance_table(roles_of(statistics)),
                        unusable=[name for name in map(_unusable, listings) if name]),
        seconds=time.monotonic() - start, fast=fast)


def _unusable(listing: Listing) -> str | None:
    return None if listing.usable else listing.source.ann_file


def _whole_set(statistics: Sequence[SourceStatistics], fast: bool) -> Iterator[Problem]:
    roles = roles_of(statistics)
    yield from check_classes(roles)
    yield from check_images(statistics)
    train = roles.get('train')
    for name, role in roles.items():
        yield from check_twice(role)
        if train is not None and name != 'train':
            yield from check_leakage(train, role, fast)
            yield from check_balance(train, role)


def _cores() -> int:
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
