"""Compares the reports of two models on the same images: ``mmpanseg report --compare``.

A is the model of the report, B the other one. Differences are A - B, so that positive ones say that
A is better.
"""
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmpanseg.report.bootstrap import LEVEL, Difference, ImageSums, compare_sums
from mmpanseg.report.comparison_checks import (
    check_classes,
    check_truth,
    comparison_notes,
    distinct_titles,
)
from mmpanseg.report.records import ImageRecord, SegmentRecord, read_records, read_summary
from mmpanseg.structures.error_kinds import SEGMENT_KINDS
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import result_file

COMPARISON = 'comparison.json'
FORMAT, VERSION = 'mmpanseg.comparison', 1
SAMPLES = 1000


@dataclass(frozen=True)
class SegmentChange:
    """A ground truth segment that one model matches and the other does not.

    Args:
        id: in the map of the ground truth.
        label: class.
        area: pixels.
        kind_a: kind for A, see :data:`mmpanseg.structures.error_kinds.SEGMENT_KINDS`.
        kind_b: kind for B.
        iou_a: IoU of A, see :class:`SegmentRecord`.
        iou_b: IoU of B.
        text: why the model that does not match it does not, a short sentence.
    """
    id: int
    label: int
    area: int
    kind_a: str
    kind_b: str
    iou_a: float
    iou_b: float
    text: str


@dataclass(frozen=True)
class ImageComparison:
    """An image.

    Args:
        image_id: id in the data set.
        name: short name in A's report.
        number_a: number in A's report.
        number_b: number in B's report.
        size: (H, W).
        pq_a: PQ of A, see :class:`ImageRecord`; None without a segment.
        pq_b: PQ of B.
        difference: pq_a - pq_b; None if one of them is.
        won: segments that A matches and B does not.
        lost: segments that B matches and A does not.
        wrong_a: predicted segments of A without a match.
        wrong_b: those of B.
        labels: classes of its ground truth segments.
        pictures_a: see :class:`ImageRecord`, of A.
        pictures_b: of B.
    """
    image_id: int | str
    name: str
    number_a: int
    number_b: int
    size: tuple[int, int]
    pq_a: float | None
    pq_b: float | None
    difference: float | None
    won: tuple[SegmentChange, ...]
    lost: tuple[SegmentChange, ...]
    wrong_a: int
    wrong_b: int
    labels: tuple[int, ...]
    pictures_a: dict[str, str] = field(default_factory=dict)
    pictures_b: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassComparison:
    """A class.

    Args:
        name: of the class.
        is_thing: False for stuff.
        color: (red, green, blue) in pictures.
        pq: of both models; None for a class that does not occur for both.
        segments: of the ground truth, without crowds.
        won: ground truth segments that A matches and B does not.
        lost: ground truth segments that B matches and A does not.
    """
    name: str
    is_thing: bool
    color: tuple[int, int, int]
    pq: Difference | None
    segments: int
    won: int
    lost: int


@dataclass(frozen=True)
class Comparison:
    """Two models on the images that both reports have.

    Args:
        title_a: of A's report; with the name of its weights or predictions if B's is the same.
        title_b: of B's report.
        source_a: see :class:`~mmpanseg.report.records.Summary`.
        source_b: of B.
        quality: variant (``'all'``, ``'boundary'``, ``'small'``, ...) -> ``'all'``, ``'things'``,
            ``'stuff'`` -> PQ of both.
        classes: all C classes.
        kinds: ``'gt'`` and ``'pred'`` -> kind -> [segments of A, segments of B].
        changes: kind for A -> kind for B -> ground truth segments, all of them.
        images: in the order of A's report.
        only_a: names of images without a figure in B's report.
        only_b: names of images without a figure in A's report.
        samples: draws of the bootstrap.
        seed: of the draws.
        notes: sentences that a reader must know.
    """
    title_a: str
    title_b: str
    source_a: dict[str, str]
    source_b: dict[str, str]
    quality: dict[str, dict[str, Difference]]
    classes: list[ClassComparison]
    kinds: dict[str, dict[str, list[int]]]
    changes: dict[str, dict[str, int]]
    images: list[ImageComparison]
    only_a: list[str]
    only_b: list[str]
    samples: int
    seed: int
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON's types, with the format and its version."""
        return dict(format=FORMAT, version=VERSION, level=LEVEL, **asdict(self))


def compare(folder_a: Path, folder_b: Path, seed: int = 0, samples: int = SAMPLES) -> Comparison:
    """Compare two reports, image by image.

    Args:
        folder_a: of A's report.
        folder_b: of B's report.
        seed: of the bootstrap.
        samples: draws of the bootstrap, at least 1.

    Raises:
        ValueError: a folder is no report; the reports have different classes, different ground
            truths of an image, or no image in common. The text names what differs.
    """
    a, b = read_summary(folder_a), read_summary(folder_b)
    check_classes(a, b, folder_a, folder_b)
    tally = _Tally(len(a.classes), [variant for variant in a.quality if variant in b.quality])
    only: tuple[list[str], list[str]] = ([], [])
    for first, second in _pairs(folder_a, folder_b, only):
        check_truth(first, second, folder_a, folder_b)
        tally.add(first, second)
    if not tally.images:
        raise ValueError(f'{folder_a} and {folder_b} have no image with figures in common; make '
                         'both reports of the same data set')
    things = np.array([entry.is_thing for entry in a.classes], bool)
    groups = {'all': np.ones(len(things), bool), 'things': things, 'stuff': ~things}
    results = {variant: compare_sums(*sums, groups, samples, seed)
               for variant, sums in tally.sums.items()}
    classes = [
        ClassComparison(entry.name, entry.is_thing, entry.color, pq, int(tally.segments[label]),
                        int(tally.won[label]), int(tally.lost[label]))
        for label, (entry, pq) in enumerate(zip(a.classes, results['all'][1]))]
    tally.images.sort(key=lambda image: image.number_a)
    return Comparison(
        *distinct_titles(a, b), a.source, b.source,
        {variant: of_groups for variant, (of_groups, _) in results.items()}, classes,
        tally.kind_counts(), tally.change_counts(), tally.images, *only, samples, seed,
        comparison_notes(a, b, only))


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write all figures as JSON.

    Args:
        path: of the file.
        comparison: result of :func:`compare`.

    Raises:
        FileWriteError: the file cannot be written.
    """
    with result_file(path) as part:
        part.write_text(strict_json.dumps(comparison.to_json(), indent=1) + '\n',
                        encoding='utf-8')


class _Tally:
    """Sums over the images."""

    def __init__(self, num_classes: int, variants: Sequence[str]) -> None:
        self.sums = {variant: (ImageSums(num_classes), ImageSums(num_classes))
                     for variant in variants}
        self.segments, self.won, self.lost = (np.zeros(num_classes, np.int64) for _ in range(3))
        self.images: list[ImageComparison] = []
        # side -> model -> kinds
        self._kinds = {side: (Counter[str](), Counter[str]()) for side in ('gt', 'pred')}
        self._changes: Counter[tuple[str, str]] = Counter()

    def add(self, a: ImageRecord, b: ImageRecord) -> None:
        """Add an image."""
        for variant, sums in self.sums.items():
            for record, part in zip((a, b), sums):
                part.add(record.sums.get(variant, []))
        for number, record in enumerate((a, b)):
            for entry in record.segments:
                self._kinds[entry.side][number][entry.kind] += 1
        won, lost, labels = [], [], set()
        of_b = {entry.id: entry for entry in b.segments if entry.side == 'gt'}
        for entry in a.segments:
            if entry.side != 'gt':
                continue
            other = of_b[entry.id]
            self._changes[entry.kind, other.kind] += 1
            if entry.kind == 'ignored':
                continue
            labels.add(entry.label)
            self.segments[entry.label] += 1
            if entry.kind == 'matched' and other.kind != 'matched':
                won.append(_change(entry, other))
                self.won[entry.label] += 1
            elif entry.kind != 'matched' and other.kind == 'matched':
                lost.append(_change(entry, other))
                self.lost[entry.label] += 1
        self.images.append(ImageComparison(
            a.image_id, a.name, a.number, b.number, a.size, a.pq, b.pq,
            None if a.pq is None or b.pq is None else a.pq - b.pq,
            tuple(won), tuple(lost), a.fp, b.fp, tuple(sorted(labels)), a.pictures, b.pictures))

    def kind_counts(self) -> dict[str, dict[str, list[int]]]:
        """Return the segments of each kind of both models."""
        return {side: {kind: [a[kind], b[kind]] for kind in SEGMENT_KINDS if a[kind] or b[kind]}
                for side, (a, b) in self._kinds.items()}

    def change_counts(self) -> dict[str, dict[str, int]]:
        """Return the ground truth segments by the kinds of both models."""
        return {kind: counts for kind in SEGMENT_KINDS if (counts := {
            other: self._changes[kind, other] for other in SEGMENT_KINDS
            if self._changes[kind, other]})}


def _pairs(folder_a: Path, folder_b: Path, only: tuple[list[str], list[str]]
           ) -> Iterator[tuple[ImageRecord, ImageRecord]]:
    """Yield the records of the images that both reports score; name the others in ``only``.

    The reports are read in step. In memory are the records whose partners were not read yet: none,
    if the reports have the same order.
    """
    folders = folder_a, folder_b
    readers = [read_records(folder) for folder in folders]
    waiting: tuple[dict[int | str, ImageRecord], dict[int | str, ImageRecord]] = ({}, {})
    seen: tuple[set[int | str], set[int | str]] = (set(), set())
    ended = [False, False]
    while not all(ended):
        for side, reader in enumerate(readers):
            record = next(reader, None)
            if record is None:
                ended[side] = True
                continue
            if record.image_id in seen[side]:
                raise ValueError(f'{folders[side]} has two images with id {record.image_id}, so '
                                 'that it cannot be compared; make reports of one data set each')
            seen[side].add(record.image_id)
            if record.error is not None:
                continue
            partner = waiting[1 - side].pop(record.image_id, None)
            if partner is not None:
                yield (partner, record) if side else (record, partner)
            elif ended[1 - side]:
                only[side].append(record.name)
            else:
                waiting[side][record.image_id] = record
    for names, left in zip(only, waiting):
        names.extend(record.name for record in left.values())
        names.sort()


def _change(a: SegmentRecord, b: SegmentRecord) -> SegmentChange:
    text = b.text if a.kind == 'matched' else a.text
    return SegmentChange(a.id, a.label, a.area, a.kind, b.kind, a.iou, b.iou, text)
