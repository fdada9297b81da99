"""Makes a report: predictions and ground truth, image by image, to a folder."""
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.evaluation.boundary import PUBLISHED_WIDTH
from mmpanseg.pages.own_folder import OwnFiles, open_folder
from mmpanseg.report.comparison import COMPARISON, Comparison
from mmpanseg.report.comparison_page import COMPARE_PAGE, OTHER_PICTURES
from mmpanseg.report.metrics import OtherMetrics
from mmpanseg.report.pictures import Drawn, WorstImages, draw_pictures
from mmpanseg.report.records import (
    IMAGES,
    PAGE,
    PICTURES,
    SUMMARY,
    ImageRecord,
    Summary,
    read_records,
    record_line,
    write_summary,
)
from mmpanseg.report.scoring import Scored, score_image
from mmpanseg.report.source import Answer, Failure, Source
from mmpanseg.report.statistics import Totals
from mmpanseg.report.summary import summarize
from mmpanseg.report.truth import Truth
from mmpanseg.utils.atomic_files import append_line, result_file

Progress = Callable[[str, int, int], None]
_PICTURE = re.compile(r'\d{6,}_(image|prediction|truth|errors)(_small)?\.jpg')
OWN_FILES = OwnFiles(
    'report', SUMMARY, [re.compile('|'.join(map(re.escape, (
        PAGE, IMAGES, COMPARE_PAGE, COMPARISON))))],
    {PICTURES: _PICTURE, OTHER_PICTURES: _PICTURE})


@dataclass(frozen=True)
class ReportOptions:
    """How a report is made.

    Args:
        out: folder to write.
        title: of the page.
        source: see :attr:`Summary.source`.
        sample: number of images of a random sample; None: all.
        seed: of the sample.
        boundary: also compute Boundary PQ.
        pictures: number of images, the worst ones, with pictures; None: all.
        max_side: longest side of pictures in pixels.
        options: of the command line, for the record.
        pictured: ids of images that have pictures in any case: those of a compared report.
    """

    out: Path
    title: str
    source: dict[str, str] = field(default_factory=dict)
    sample: int | None = None
    seed: int = 0
    boundary: bool = False
    pictures: int | None = 200
    max_side: int = 1024
    options: dict = field(default_factory=dict)
    pictured: frozenset[int | str] = frozenset()


class Report(NamedTuple):
    """A report that was written.

    Attributes:
        page: path of the page.
        summary: all figures.
        problems: a line for each image that is not scored or has no picture.
        comparison: with another model.
    """

    page: Path
    summary: Summary
    problems: list[str]
    comparison: Comparison | None = None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; the report of the images until then is complete.

    Attributes:
        report: of these images.
    """

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report


def choose_images(truth: Truth, sample: int | None, seed: int) -> list[int]:
    """Choose the images of a report, in the order of the data set.

    Args:
        truth: all images.
        sample: number of a random sample; None for all with ground truth.
        seed: of the sample.
    """
    if sample is None or sample >= len(truth.annotated):
        return truth.annotated
    chosen = np.random.default_rng(seed).choice(len(truth.annotated), sample, replace=False)
    return [truth.annotated[at] for at in sorted(chosen.tolist())]


def make_report(truth: Truth, source: Source, numbers: Sequence[int], metrics: OtherMetrics,
                options: ReportOptions,
                progress: Progress = lambda what, done, total: None) -> Report:
    """Make a report.

    The folder gets ``images.jsonl``, ``report.json``, pictures and the page. Memory does not depend
    on the number of images, apart from the data set's list and the scores of instances.

    Args:
        truth: images and ground truth.
        source: of the predictions.
        numbers: of the images, see :func:`choose_images`.
        metrics: other scores.
        options: see :class:`ReportOptions`.
        progress: called with what is done, the number of images that are done, and their total.

    Raises:
        UsageError: the folder holds files of others, or no image can be scored.
        Interrupted: Ctrl-C; the figures of the images until then are written.
    """
    return _Run(truth, source, numbers, metrics, options, progress).make()


class _Run:
    """The state of a run."""

    def __init__(self, truth: Truth, source: Source, numbers: Sequence[int],
                 metrics: OtherMetrics, options: ReportOptions, progress: Progress) -> None:
        self.truth, self.source, self.numbers = truth, source, numbers
        self.metrics, self.options, self.progress = metrics, options, progress
        self.start = time.monotonic()
        self.totals = Totals(len(truth.classes))
        self.worst = WorstImages(options.pictures, options.pictured)
        self.drawing: dict[int, Future[Drawn]] = {}
        self.drawn: dict[int, Drawn] = {}
        self.problems: list[str] = []
        self.width = PUBLISHED_WIDTH if options.boundary else None

    def make(self) -> Report:
        folder = self.options.out
        open_folder(folder, OWN_FILES)
        write_summary(folder, self._summary())
        (folder / IMAGES).touch()
        interrupted = False
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            try:
                for at, (record, scored, sample) in enumerate(self._scored(pool)):
                    self._add(record, scored, sample, pool)
                    self.progress('images', at + 1, len(self.numbers))
                for number in list(self.drawing):
                    self._collect(number)
            except KeyboardInterrupt:
                interrupted = True
                for number, future in list(self.drawing.items()):
                    if future.cancel():
                        del self.drawing[number]
                for number in list(self.drawing):
                    self._collect(number)
        if not self.totals.num_scored:
            if interrupted:
                raise KeyboardInterrupt
            raise UsageError(f'none of {len(self.numbers)} images can be scored: '
                             f'{self.problems[0] if self.problems else "there are none"}')
        report = self._finish(interrupted)
        if interrupted:
            raise Interrupted(report)
        return report

    def _scored(self, pool: ThreadPoolExecutor
                ) -> Iterator[tuple[ImageRecord, Scored | None, dict]]:
        """Score images in order; those of saved predictions in threads, a few at a time."""
        answers = enumerate(self.source.answers(self.truth.dataset, self.numbers))
        if self.source.knows_queries:
            # the model uses all cores, and its predictions most of the memory
            for number, answer in answers:
                yield self._score(number, answer)
            return
        waiting: deque[Future] = deque()
        for number, answer in answers:
            waiting.append(pool.submit(self._score, number, answer))
            if len(waiting) > (os.cpu_count() or 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _score(self, number: int, answer: Answer) -> tuple[ImageRecord, Scored | None, dict]:
        index, found = answer
        info = self.truth.info(index)
        record = ImageRecord(
            number, info['img_id'], self.truth.short_name(index),
            str(info.get('img_path') or ''), (info.get('height', 0), info.get('width', 0)))
        if isinstance(found, Failure):
            record.error = found.text
            return record, None, {}
        prediction, sample = found
        try:
            gt = self.truth.segments(sample)
            scored = score_image(record, gt, prediction, self.truth.classes.names, self.width)
        except (ValueError, OSError) as error:
            return ImageRecord(number, record.image_id, record.name, record.path, record.size,
                               error=one_line(error)), None, {}
        return scored.record, scored, sample

    def _add(self, record: ImageRecord, scored: Scored | None, sample: dict,
             pool: ThreadPoolExecutor) -> None:
        """Write the record, add its figures, and start its pictures."""
        append_line(self.options.out / IMAGES, record_line(record))
        self.totals.add(record)
        if scored is None:
            self.problems.append(f'{record.name}: {record.error}')
            return
        self.metrics.add(sample)
        kept, dropped = self.worst.add(record)
        if dropped is not None:
            self._collect(dropped)
            for address in self.drawn.pop(dropped).pictures.values():
                (self.options.out / address).unlink(missing_ok=True)
        if kept:
            self.drawing[record.number] = pool.submit(
                draw_pictures, self.options.out, scored, self.truth, self.numbers[record.number],
                self.options.max_side)
        # pictures that wait hold images and maps in memory
        running = [number for number, future in self.drawing.items() if not future.done()]
        if len(running) > 2 * (os.cpu_count() or 1):
            self._collect(running[0])
        for number, future in list(self.drawing.items()):
            if future.done():
                self._collect(number)

    def _collect(self, number: int) -> None:
        """Wait for the pictures of an image."""
        future = self.drawing.pop(number, None)
        if future is not None:
            self.drawn[number] = future.result()

    def _finish(self, interrupted: bool) -> Report:
        """Write the records with their pictures, the figures, and the page."""
        from mmpanseg.report.page import write_report_page

        folder = self.options.out
        with result_file(folder / IMAGES) as part, open(part, 'w', encoding='utf-8') as file:
            for record in read_records(folder):
                drawn = self.drawn.get(record.number)
                if drawn is not None:
                    record.pictures = drawn.pictures
                    if drawn.note:
                        record.note = drawn.note
                        self.problems.append(f'{record.name}: {drawn.note}')
                file.write(record_line(record) + '\n')
        summary = self._summary(complete=not interrupted)
        write_report_page(folder, summary, read_records(folder))
        write_summary(folder, summary)
        return Report(folder / PAGE, summary, self.problems)

    def _summary(self, complete: bool = False) -> Summary:
        done = self.totals.num_scored + self.totals.num_failed
        summary = Summary(
            self.options.title, complete, self.options.source, self.options.options,
            num_images=len(self.truth.annotated), num_pictured=len(self.drawn),
            seed=self.options.seed if len(self.numbers) < len(self.truth.annotated) else None)
        notes = []
        if not complete and done:
            notes.append(f'Interrupted after {done} of {len(self.numbers)} images: the figures are '
                         'those of these images.')
        if len(self.numbers) < len(self.truth.annotated):
            notes.append(f'A random sample of {len(self.numbers)} of {len(self.truth.annotated)} '
                         f'images, seed {self.options.seed}: figures of all images differ.')
        if self.totals.num_failed:
            notes.append(f'{self.totals.num_failed} images could not be scored and are not in the '
                         'figures; they are the last ones of the list, which says why.')
        if 0 < len(self.drawn) < self.totals.num_scored and self.options.pictures is not None:
            others = (', and of those that the compared report has pictures of'
                      if self.options.pictured else '')
            notes.append(f'Pictures are those of the {self.options.pictures} images with the '
                         f'lowest PQ{others}.')
        if done:
            summarize(summary, self.totals, self.truth.classes, self.metrics,
                      self.source.knows_queries)
        summary.notes = [*notes, *self.source.notes, *self.metrics.notes]
        summary.seconds = round(time.monotonic() - self.start, 2)
        return summary
