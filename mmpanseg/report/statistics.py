"""The figures of a report, summed from records one image after the other.

C classes. Every figure here is computed from the records alone, so that ``images.jsonl`` gives the
same figures again.
"""
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mmpanseg.evaluation.boundary_and_size_pq import expand_stats, sum_stats
from mmpanseg.evaluation.panoptic_quality import PQStat
from mmpanseg.report.records import ClassSums, ImageRecord, SegmentRecord
from mmpanseg.structures.error_kinds import SEGMENT_KINDS

SIDES = ('gt', 'pred')
# borders of the sizes of segments: sides of 8, 16, ... 512 pixels
AREA_LIMITS = tuple(4 ** power for power in range(3, 10))
SCORE_BINS = 10
# further row and column of the confusion matrix
INVENTED, MISSED = 'invented', 'missed'


class Confusion:
    """Confusion matrix of segments: true class by predicted class, missed and invented.

    Two segments belong together if their IoU exceeds 0.5, whatever their classes; as in PQ, void
    pixels of the ground truth are removed from predicted segments, and each segment has at most one
    such partner. Rows are classes of the ground truth and columns predicted classes:

    - [t, p]: pairs of a ground truth segment of class t and a predicted segment of class p. The
      diagonal contains the true positives of PQ;
    - [t, C]: ground truth segments of class t without a partner ("missed");
    - [C, p]: predicted segments of class p without a partner that PQ counts as false positives
      ("invented"). Segments that PQ ignores, because most of their area is void or crowd, are not
      there;
    - [C, C] is 0.

    Crowd segments are left out. Row t sums to tp + fn of class t. Column p sums to tp + fp of class
    p, plus the partners of other classes that PQ ignores.

    Args:
        num_classes: C.

    Attributes:
        counts: int64 [C + 1, C + 1].
    """

    def __init__(self, num_classes: int) -> None:
        self.counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)

    def add(self, record: ImageRecord) -> None:
        """Add an image."""
        rest = len(self.counts) - 1
        predicted = {entry.id: entry for entry in record.segments if entry.side == 'pred'}
        paired = set()
        for entry in record.segments:
            if entry.side == 'gt' and entry.kind != 'ignored':
                column = rest
                if entry.partner is not None:
                    column = predicted[entry.partner].label
                    paired.add(entry.partner)
                self.counts[entry.label, column] += 1
        for entry in predicted.values():
            if entry.id not in paired and entry.kind != 'ignored':
                self.counts[rest, entry.label] += 1

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Convert to JSON's types: names of rows and columns, and counts."""
        return dict(rows=[*names, INVENTED], columns=[*names, MISSED],
                    counts=self.counts.tolist())


class Calibration:
    """Reliability of scores: in ten bins of equal width, the share of segments that are right.

    A predicted segment is right if it is a true positive of PQ. Segments that PQ ignores and
    segments without a score are left out. Bin k contains scores from k / 10 to below (k + 1) / 10,
    the last one also 1. The expected calibration error (Naeini et al., "Obtaining Well Calibrated
    Probabilities Using Bayesian Binning", AAAI 2015) is the mean over bins of the
    absolute difference of share right and mean score, weighted by their segments.

    Attributes:
        sums: float64 [10, 3]: segments, sum of scores, right segments.
    """

    def __init__(self) -> None:
        self.sums = np.zeros((SCORE_BINS, 3))

    def add(self, record: ImageRecord) -> None:
        """Add an image."""
        for entry in record.segments:
            if entry.side == 'pred' and entry.score is not None and entry.kind != 'ignored':
                place = min(max(int(entry.score * SCORE_BINS), 0), SCORE_BINS - 1)
                self.sums[place] += 1, entry.score, entry.kind == 'matched'

    def as_dict(self) -> dict[str, Any] | None:
        """Convert to JSON's types: bins, ece, n; None without a score."""
        total = self.sums[:, 0].sum()
        if not total:
            return None
        bins, error = [], 0.0
        for place, (n, scores, right) in enumerate(self.sums.tolist()):
            bins.append(dict(low=place / SCORE_BINS, high=(place + 1) / SCORE_BINS, n=int(n),
                             score=scores / n if n else None, right=right / n if n else None))
            error += abs(right - scores) / total
        return dict(bins=bins, ece=error, n=int(total))


class SizeRecall:
    """Recall by the size of ground truth segments: how many of each size have a match.

    Crowd segments are left out. Sizes are areas between powers of 4, that is sides of 8, 16, ...
    512 pixels of a square; the first bin is below, the last one above.

    Attributes:
        sums: float64 [8, 3]: segments, those that are matched, sum of their IoU.
    """

    def __init__(self) -> None:
        self.sums = np.zeros((len(AREA_LIMITS) + 1, 3))

    def add(self, record: ImageRecord) -> None:
        """Add an image."""
        for entry in record.segments:
            if entry.side == 'gt' and entry.kind != 'ignored':
                found = entry.kind == 'matched'
                self.sums[bisect_right(AREA_LIMITS, entry.area)] += 1, found, found * entry.iou

    def as_list(self) -> list[dict[str, Any]]:
        """Convert to JSON's types: low, high (None: no limit), n, found, and the mean iou."""
        limits = [0, *AREA_LIMITS, None]
        return [dict(low=low, high=high, n=int(n), found=int(found),
                     iou=iou / found if found else None)
                for low, high, (n, found, iou) in zip(limits, limits[1:], self.sums.tolist())]


class Totals:
    """All sums over images.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.num_scored = self.num_failed = 0
        self.stats: dict[str, PQStat] = {}
        self.confusion = Confusion(num_classes)
        self.calibration = Calibration()
        self.sizes = SizeRecall()
        # side, label, kind -> segments
        self.kinds: Counter[tuple[str, int, str]] = Counter()
        self.reasons: Counter[str] = Counter()
        self.pixels: Counter[str] = Counter()
        self.num_with_queries = 0

    def add(self, record: ImageRecord) -> None:
        """Add an image."""
        if record.error is not None:
            self.num_failed += 1
            return
        self.num_scored += 1
        parts = [expand_stats(stats_of_rows(record.sums), self.num_classes)]
        self.stats = sum_stats([self.stats, *parts] if self.stats else parts)
        self.confusion.add(record)
        self.calibration.add(record)
        self.sizes.add(record)
        self.pixels.update(record.pixels)
        for entry in record.segments:
            self.kinds[entry.side, entry.label, entry.kind] += 1
            self.num_with_queries += entry.query is not None
            if entry.reason is not None:
                self.reasons[entry.reason] += 1

    def kinds_of(self, labels: Iterable[int] | None = None) -> dict[str, dict[str, int]]:
        """Count the segments of each kind.

        Args:
            labels: classes to count; all by default.

        Returns:
            side -> kind -> number; all kinds of :data:`SEGMENT_KINDS`.
        """
        wanted = set(range(self.num_classes) if labels is None else labels)
        counts = {side: dict.fromkeys(SEGMENT_KINDS, 0) for side in SIDES}
        for (side, label, kind), number in self.kinds.items():
            if label in wanted:
                counts[side][kind] += number
        return counts


def rows_of_stats(stats: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, list[ClassSums]]:
    """Convert the result of :func:`nonzero_stats` to rows [label, iou, tp, fp, fn]."""
    return {name: [[label, iou, int(tp), int(fp), int(fn)] for label, (iou, tp, fp, fn) in zip(
        labels.tolist(), sums.tolist())] for name, (labels, sums) in stats.items()}


def stats_of_rows(rows: dict[str, list[ClassSums]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Convert rows back to what :func:`expand_stats` takes."""
    return {name: (np.array([row[0] for row in part], np.int64),
                   np.array([row[1:] for row in part], float).reshape(-1, 4))
            for name, part in rows.items()}


def image_quality(rows: Sequence[ClassSums]) -> tuple[float, float, float] | None:
    """Average PQ, SQ and RQ over the classes of one image; None without any."""
    quality = [(iou / (tp + fp / 2 + fn / 2), iou / tp if tp else 0.0,
                tp / (tp + fp / 2 + fn / 2)) for _, iou, tp, fp, fn in rows]
    if not quality:
        return None
    pq, sq, rq = (math.fsum(values) / len(quality) for values in zip(*quality))
    return pq, sq, rq


def missed_segments(segments: Iterable[SegmentRecord]) -> list[SegmentRecord]:
    """Select the ground truth segments that count as false negatives."""
    return [entry for entry in segments
            if entry.side == 'gt' and entry.kind not in ('matched', 'ignored')]
