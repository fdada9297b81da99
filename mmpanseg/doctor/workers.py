"""Inspection of images in worker processes, in order, also where a process dies."""
import contextlib
import itertools
import multiprocessing
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import cv2

from mmpanseg.doctor.pixels.inspect_image import ImageFindings, inspect_image
from mmpanseg.doctor.problem import problem
from mmpanseg.doctor.source import ImageRecord, Options, Source

# images that a worker receives at once, and chunks that may wait for an earlier one
_CHUNK, _AHEAD = 8, 16


class Task(NamedTuple):
    """An image to inspect.

    Attributes:
        source: index of its source.
        record: the image.
    """

    source: int
    record: ImageRecord


def inspect_all(tasks: Iterable[Task], sources: Sequence[Source], options: Options,
                workers: int) -> Iterator[tuple[Task, ImageFindings]]:
    """Inspect images.

    Args:
        tasks: the images.
        sources: all sources.
        options: limits.
        workers: number of processes; 0 for this one.

    Yields:
        each task with what was found, in the order of the tasks. A task during which its process
        died, or that raised an error, has the problem PAN499.
    """
    if workers < 1:
        for task in tasks:
            yield task, _inspect(task, sources, options)
        return
    pool = _Pool(sources, options, workers)
    try:
        yield from pool.run(tasks)
    finally:
        pool.close()


def _inspect(task: Task, sources: Sequence[Source], options: Options) -> ImageFindings:
    source = sources[task.source]
    try:
        return inspect_image(task.record, source, options)
    except Exception as error:
        return _failed(task, source, f'{type(error).__name__}: {error}')


def _failed(task: Task, source: Source, why: str) -> ImageFindings:
    return ImageFindings([problem('PAN499', why, split=source.split, file=task.record.file_name,
                                  image_id=task.record.image_id)])


def _context() -> Any:
    """Processes start as the user chose; else by fork where it is safe, which takes no time."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    return multiprocessing.get_context(chosen or ('fork' if sys.platform == 'linux' else 'spawn'))


def _work(connection: Connection, inherited: Sequence[Connection], sources: Sequence[Source],
          options: Options) -> None:
    """Inspect the images that arrive, until the other end is closed."""
    # Ctrl-C reaches all processes of a terminal; the main one ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in inherited:
        other.close()
    cv2.setNumThreads(0)
    with contextlib.suppress(EOFError, OSError):
        while True:
            for task in connection.recv():
                connection.send(_inspect(task, sources, options))


class _Worker:
    """A process with its current chunk."""

    def __init__(self, context: Any, others: Sequence['_Worker'], sources: Sequence[Source],
                 options: Options) -> None:
        self.connection, far = context.Pipe()
        fork = context.get_start_method() == 'fork'
        # a forked process inherits the ends of the others, which would keep them open
        inherited = [self.connection, *(other.connection for other in others)] if fork else []
        self.process = context.Process(
            target=_work, args=(far, inherited, sources, options), daemon=True)
        self.process.start()
        far.close()
        self.number, self.left = -1, list[Task]()

    def give(self, number: int, chunk: list[Task]) -> None:
        self.number, self.left = number, list(chunk)
        if self.left:
            # a dead process is found when its results are read
            with contextlib.suppress(OSError):
                self.connection.send(self.left)

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()


class _Pool:
    """Worker processes that share a sequence of chunks."""

    def __init__(self, sources: Sequence[Source], options: Options, count: int) -> None:
        self._context, self._arguments = _context(), (sources, options)
        self._workers: list[_Worker] = []
        for _ in range(count):
            self._workers.append(self._start())

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, ImageFindings]]:
        remaining = iter(tasks)
        chunks = iter(lambda: list(itertools.islice(remaining, _CHUNK)), [])
        done: dict[int, list[tuple[Task, ImageFindings]]] = {}
        given, yielded, exhausted = 0, 0, False
        while True:
            for worker in self._workers:
                # results wait in memory for those of earlier images, so their number is limited
                if worker.left or exhausted or given - yielded > _AHEAD * len(self._workers):
                    continue
                chunk = next(chunks, None)
                if chunk is None:
                    exhausted = True
                    continue
                done[given] = []
                worker.give(given, chunk)
                given += 1
            open_numbers = {worker.number for worker in self._workers if worker.left}
            while yielded < given and yielded not in open_numbers:
                yield from done.pop(yielded)
                yielded += 1
            if not open_numbers:
                if exhausted:
                    return
                continue
            ready = wait([worker.connection for worker in self._workers if worker.left])
            for index, worker in enumerate(self._workers):
                if worker.connection in ready:
                    self._receive(index, done)

    def _receive(self, index: int, done: dict[int, list]) -> None:
        """Read one result of a worker, or replace it if it has died."""
        worker = self._workers[index]
        try:
            findings = worker.connection.recv()
        except (EOFError, OSError):
            number, left = worker.number, worker.left
            worker.process.join()
            code = worker.process.exitcode or 0
            why = (f'signal {-code}: {signal.strsignal(-code)}' if code < 0
                   else f'exit status {code}')
            task = left.pop(0)
            findings = _failed(task, self._arguments[0][task.source],
                               f'the process that checked this image ended ({why})')
            worker.end()
            worker = self._workers[index] = self._start(index)
            worker.give(number, left)
        else:
            number, task = worker.number, worker.left.pop(0)
        done[number].append((task, findings))

    def _start(self, replaced: int | None = None) -> _Worker:
        others = [worker for index, worker in enumerate(self._workers) if index != replaced]
        return _Worker(self._context, others, *self._arguments)

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.end()
