"""Why the segments of an image have no match, and what is wrong at each pixel.

Everything is computed from the overlaps that panoptic quality counts, with its rules: pixels that
are void in the ground truth belong to no predicted segment, crowd segments are never an error, and
an unmatched prediction that lies mostly on void or crowd is not scored. A kind of error says what
would repair the segment. The first kind that applies is its kind. *Most of* a segment is more than
half of its pixels.

Ground truth segments:

1. ``ignored``: it is a crowd.
2. ``matched``: it is a true positive.
3. ``wrong_class``: a predicted segment of another class has IoU > 0.5. Another label repairs it.
4. ``merged``: most of it lies in a merged segment of its class: a predicted segment that contains
   most of each of at least two ground truth segments of its class, and most of which lies on
   segments of the class. Cutting that segment at the true borders repairs it.
5. ``split``: at least two predicted segments of its class lie mostly in it, and as one segment they
   would have IoU > 0.5. Joining them repairs it.
6. ``near_miss``: an unmatched predicted segment of its class has IoU in 0.25 .. 0.5, without 0.25.
   Better borders repair it.
7. ``missed``: anything else.

Predicted segments:

1. ``matched``: it is a true positive.
2. ``ignored``: it is neither a true nor a false positive.
3. ``wrong_class``: a ground truth segment of another class has IoU > 0.5.
4. ``merged``: as above.
5. ``split``: it is one of the parts of a ground truth segment whose kind is ``split``.
6. ``duplicate``: most of it lies in a ground truth segment of its class that another segment
   matches.
7. ``near_miss``: an unmatched ground truth segment of its class has IoU in 0.25 .. 0.5.
8. ``invented``: anything else.

Ground truth segments of the kinds 3 to 7 are the false negatives, predicted ones of the kinds 3 to
8 the false positives.

The kind of a pixel depends on its ground truth segment and its predicted segment only; the first
that applies:

1. ``VOID``: void or crowd in the ground truth.
2. ``RIGHT``: the two match.
3. ``WRONG_CLASS``, ``SPLIT``: the predicted segment is the reason why the true one is
   ``wrong_class`` or ``split``. A duplicate on its object is ``SPLIT``, too.
4. ``MERGED``: true segments are merged into the predicted one, whose class the true one has, and
   the true one is ``merged``, ``near_miss`` or ``missed``.
5. The true segment is a ``near_miss`` or ``missed``: ``WRONG_CLASS`` if the predicted one is
   ``invented`` and has another class, else ``MISSED``.
6. ``INVENTED``: the predicted segment is a ``near_miss``, ``duplicate`` or ``invented``.
7. ``BOUNDARY``: anything else. The true segment was found, with the right class or number of parts
   or not, and the pixel is not in what was found; the segment that is there, if any, belongs
   elsewhere.
"""
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from mmpanseg.evaluation.panoptic_quality import (
    Matching,
    PanopticMap,
    check_labels,
    check_same_size,
    match_segments,
    pair_runs,
    segment_overlaps,
)
from mmpanseg.structures.error_kinds import PixelKind

# below it, "the same object with other borders" is no explanation
NEAR_MISS = 0.25


@dataclass(frozen=True)
class SegmentFinding:
    """What became of a segment.

    Args:
        side: 'gt' for a ground truth segment, 'pred' for a predicted one.
        position: in ``PanopticMap.ids`` of its side.
        kind: one of :data:`mmpanseg.structures.error_kinds.SEGMENT_KINDS`.
        iou: with the first of ``others``; without one the best with a segment of the other side,
            whatever its class.
        others: positions on the other side that explain the kind: its match; what it is confused
            with, merged into or split into, the largest common part first; what a missed or
            invented segment lies in, if that is more than what lies in no segment.
        siblings: positions on its own side: the segments that it is merged with, the other parts of
            a split segment, the match of a duplicate's object.
        share: part of the segment, 0..1, that lies in the first of ``others``, or in no segment if
            there is none. Void counts as no segment.
    """
    side: str
    position: int
    kind: str
    iou: float
    others: tuple[int, ...] = ()
    siblings: tuple[int, ...] = ()
    share: float = 0.0


def find_errors(gt: PanopticMap, pred: PanopticMap, overlap: np.ndarray,
                matching: Matching) -> list[SegmentFinding]:
    """Find the kind of every segment, as described in this module.

    Args:
        gt: ground truth.
        pred: prediction.
        overlap: result of :func:`segment_overlaps`, int64 [G + 1, P + 1].
        matching: result of :func:`match_segments` without boundaries.

    Returns:
        G findings of the ground truth, then P findings of the prediction, each in the order of
        ``ids``.
    """
    relations = _Relations(gt, pred, overlap, matching)
    of_gt = [relations.of_gt(position) for position in range(len(gt.ids))]
    split = {part: finding for finding in of_gt if finding.kind == 'split'
             for part in finding.others}
    return of_gt + [relations.of_pred(position, split.get(position))
                    for position in range(len(pred.ids))]


def _pair_kinds(gt: PanopticMap, pred: PanopticMap, findings: Sequence[SegmentFinding],
               matching: Matching) -> np.ndarray:
    """Find the kind of the pixels of every pair of segments.

    Args:
        gt: ground truth.
        pred: prediction.
        findings: result of :func:`find_errors`.
        matching: see :func:`find_errors`.

    Returns:
        uint8 [G + 1, P + 1], :class:`PixelKind` of the pixels that a ground truth segment (row) and
        a predicted one (column) share; row and column 0 are void.
    """
    of_gt, of_pred = findings[:len(gt.ids)], findings[len(gt.ids):]
    kind_of_gt = np.array(['', *(finding.kind for finding in of_gt)])[:, None]
    kind_of_pred = np.array(['', *(finding.kind for finding in of_pred)])
    same_class = np.zeros((len(gt.ids) + 1, len(pred.ids) + 1), bool)
    same_class[1:, 1:] = gt.labels[:, None] == pred.labels

    # from the last rule to the first
    kinds = np.full(same_class.shape, PixelKind.BOUNDARY, np.uint8)
    kinds[:, np.isin(kind_of_pred, ('near_miss', 'duplicate', 'invented'))] = PixelKind.INVENTED
    lost = np.isin(kind_of_gt, ('near_miss', 'missed'))
    kinds[lost & np.ones_like(same_class)] = PixelKind.MISSED
    kinds[lost & ~same_class & (kind_of_pred == 'invented')] = PixelKind.WRONG_CLASS
    merged = np.zeros(len(pred.ids) + 1, bool)
    for finding in findings:
        columns = [1 + other for other in finding.others]
        if finding.side == 'gt' and finding.kind == 'merged':
            merged[columns] = True
        elif finding.side == 'gt' and finding.kind in ('wrong_class', 'split'):
            kinds[1 + finding.position, columns] = PixelKind[finding.kind.upper()]
        elif finding.kind == 'duplicate':
            kinds[1 + finding.others[0], 1 + finding.position] = PixelKind.SPLIT
    kinds[(lost | (kind_of_gt == 'merged')) & merged & same_class] = PixelKind.MERGED
    kinds[1 + matching.gt, 1 + matching.pred] = PixelKind.RIGHT
    kinds[0] = PixelKind.VOID
    kinds[1:][gt.crowd] = PixelKind.VOID
    return kinds


def error_map(gt: PanopticMap, pred: PanopticMap, findings: Sequence[SegmentFinding],
              matching: Matching) -> np.ndarray:
    """Draw up the kind of every pixel.

    Args:
        gt: ground truth.
        pred: prediction.
        findings: result of :func:`find_errors`.
        matching: see :func:`find_errors`.

    Returns:
        uint8 [H, W] of :class:`PixelKind`.
    """
    kinds = _pair_kinds(gt, pred, findings, matching)
    cells, lengths = pair_runs(gt, pred, gt.name)
    return np.repeat(kinds.ravel()[cells], lengths).reshape(gt.map.shape)


def map_errors(gt: PanopticMap, pred: PanopticMap, num_classes: int,
               image: str) -> tuple[np.ndarray, Matching]:
    """Match two maps, and draw up the kind of every pixel.

    Args:
        gt: ground truth.
        pred: prediction.
        num_classes: C.
        image: name of the image in error texts.

    Returns:
        uint8 [H, W] of :class:`PixelKind`, and the matches.

    Raises:
        PanopticDataError: the maps differ in size, contain other segments than they list, or a
            label is out of range.
    """
    check_same_size(gt, pred, image)
    check_labels(gt, pred, num_classes, image)
    overlap = segment_overlaps(gt, pred, image)
    matching = match_segments(gt, pred, overlap, image)
    return error_map(gt, pred, find_errors(gt, pred, overlap, matching), matching), matching


class _Relations:
    """Overlaps of two maps, and the relations that are derived from them.

    Arrays are [G, P].
    """

    def __init__(self, gt: PanopticMap, pred: PanopticMap, overlap: np.ndarray,
                 matching: Matching) -> None:
        self.overlap = overlap
        self.inter = inter = overlap[1:, 1:]
        self.gt_area = overlap[1:].sum(1)
        self.pred_area = inter.sum(0)  # without void
        union = self.gt_area[:, None] + self.pred_area - inter
        self.iou = inter / np.maximum(union, 1)
        self.crowd = gt.crowd
        self.same_class = gt.labels[:, None] == pred.labels
        of_class = self.same_class & ~gt.crowd[:, None]
        # which of the two lies mostly in the other one
        self.gt_inside = of_class & (2 * inter > self.gt_area[:, None])
        self.pred_inside = of_class & (2 * inter > self.pred_area)
        self.confused = ~self.same_class & ~gt.crowd[:, None] & (2 * inter > union)
        self.match_of_gt = np.full(len(gt.ids), -1)
        self.match_of_gt[matching.gt] = matching.pred
        self.match_of_pred = np.full(len(pred.ids), -1)
        self.match_of_pred[matching.pred] = matching.gt
        self.wrong = matching.wrong
        on_class = np.where(self.same_class, inter, 0).sum(0)
        self.merged = (self.gt_inside.sum(0) > 1) & (2 * on_class > self.pred_area)
        near = of_class & (self.iou > NEAR_MISS)
        self.near = (near & (self.match_of_gt < 0)[:, None] & (self.match_of_pred < 0))

    def of_gt(self, position: int) -> SegmentFinding:
        """Find the kind of a ground truth segment."""
        inter, area = self.inter[position], self.gt_area[position]
        if self.crowd[position]:
            return self._without_reason('gt', position, 'ignored')
        if self.match_of_gt[position] >= 0:
            return self._found('gt', position, 'matched', self.match_of_gt[position])
        confused = np.flatnonzero(self.confused[position])
        if confused.size:
            return self._found('gt', position, 'wrong_class', confused)
        into = np.flatnonzero(self.gt_inside[position] & self.merged)
        if into.size:
            together = np.flatnonzero(self.gt_inside[:, into[0]])
            return self._found('gt', position, 'merged', into, together)
        parts = np.flatnonzero(self.pred_inside[position])
        joined = inter[parts].sum()
        if len(parts) > 1 and 2 * joined > area + self.pred_area[parts].sum() - joined:
            return self._found('gt', position, 'split',
                               parts[np.argsort(-inter[parts], kind='stable')])
        near = self.near[position]
        if near.any():
            return self._found('gt', position, 'near_miss',
                               np.where(near, self.iou[position], 0).argmax())
        return self._without_reason('gt', position, 'missed')

    def of_pred(self, position: int, whole: SegmentFinding | None) -> SegmentFinding:
        """Find the kind of a predicted segment; ``whole`` is split into it and others."""
        inter = self.inter[:, position]
        if self.match_of_pred[position] >= 0:
            return self._found('pred', position, 'matched', self.match_of_pred[position])
        if not self.wrong[position]:
            return self._without_reason('pred', position, 'ignored')
        confused = np.flatnonzero(self.confused[:, position])
        if confused.size:
            return self._found('pred', position, 'wrong_class', confused)
        if self.merged[position]:
            covered = np.flatnonzero(self.gt_inside[:, position])
            return self._found('pred', position, 'merged',
                               covered[np.argsort(-inter[covered], kind='stable')])
        if whole is not None:
            return self._found('pred', position, 'split', whole.position, whole.others)
        holder = np.flatnonzero(self.pred_inside[:, position] & (self.match_of_gt >= 0))
        if holder.size:
            return self._found('pred', position, 'duplicate', holder, self.match_of_gt[holder])
        near = self.near[:, position]
        if near.any():
            return self._found('pred', position, 'near_miss',
                               np.where(near, self.iou[:, position], 0).argmax())
        return self._without_reason('pred', position, 'invented')

    def _found(self, side: str, position: int, kind: str, others: ArrayLike,
               siblings: ArrayLike = ()) -> SegmentFinding:
        """Create a finding; ``siblings`` may contain the segment itself."""
        explaining = [int(other) for other in np.ravel(others)]
        place = (position, explaining[0]) if side == 'gt' else (explaining[0], position)
        area = self.gt_area[position] if side == 'gt' else self.overlap[:, 1 + position].sum()
        return SegmentFinding(
            side, position, kind, float(self.iou[place]), tuple(explaining),
            tuple(int(other) for other in np.ravel(siblings) if other != position),
            float(self.inter[place] / area))

    def _without_reason(self, side: str, position: int, kind: str) -> SegmentFinding:
        """Say where most of a segment lies that nothing accounts for."""
        if side == 'gt':
            common, ious = self.overlap[1 + position], self.iou[position]
        else:
            common, ious = self.overlap[:, 1 + position], self.iou[:, position]
        place = int(common.argmax())
        found = SegmentFinding(side, position, kind, float(ious.max(initial=0)),
                               share=float(common[place] / common.sum()))
        if place == 0 or kind == 'ignored':
            return replace(found, share=float(common[0] / common.sum()))
        return replace(found, others=(place - 1, ), iou=float(ious[place - 1]))


def describe(finding: SegmentFinding, gt: PanopticMap, pred: PanopticMap,
             classes: Sequence[str]) -> str:
    """Describe a finding in one short sentence.

    Args:
        finding: result of :func:`find_errors`.
        gt: ground truth.
        pred: prediction.
        classes: name of each label.

    Returns:
        without the class of the segment itself and without a stop, e.g. 'merged with another car
        into one segment (IoU 0.41)'.
    """
    own, opposite = (gt, pred) if finding.side == 'gt' else (pred, gt)
    name = classes[own.labels[finding.position]]
    labels = [opposite.labels[other] for other in finding.others]
    other = classes[labels[0]] if labels else ''
    iou, share = f'IoU {finding.iou:.2f}', _percent(finding.share)
    if finding.kind == 'near_miss':
        return f'IoU {finding.iou:.3f} with its nearest segment, a match needs more than 0.5'
    if finding.side == 'gt':
        return _describe_gt(finding, name, other, iou, share)
    return _describe_pred(finding, name, other, iou, share)


def _percent(share: float) -> str:
    """Write a share; part of a segment is neither 0% nor 100% of it."""
    text = f'{100 * share:.0f}%'
    if 0 < share < 1:
        return {'0%': '<1%', '100%': '>99%'}.get(text, text)
    return text


def _describe_gt(finding: SegmentFinding, name: str, other: str, iou: str, share: str) -> str:
    others = (f'another {name}' if len(finding.siblings) == 1
              else f'{len(finding.siblings)} others of its class')
    texts = {
        'matched': f'found ({iou})',
        'ignored': 'a crowd, not scored',
        'wrong_class': f'predicted as {other} ({iou})',
        'merged': f'merged with {others} into one segment ({iou})',
        'split': f'split into {len(finding.others)} segments (largest {iou})'}
    if finding.kind in texts:
        return texts[finding.kind]
    if not finding.others:
        return f'missed, {share} of it is in no segment'
    if other == name:
        return (f'missed, {share} of it is in a much larger segment of its class ({iou})'
                if finding.share > 0.5 else
                f'missed, a segment of its class covers only {share} of it ({iou})')
    return f'missed, {share} of it is predicted as {other}'


def _describe_pred(finding: SegmentFinding, name: str, other: str, iou: str, share: str) -> str:
    texts = {
        'matched': f'right ({iou})',
        'ignored': 'mostly on void or a crowd, not scored',
        'wrong_class': f'truly {other} ({iou})',
        'merged': f'one segment for {len(finding.others)} of its class',
        'split': f'one of {1 + len(finding.siblings)} parts of one {name} ({iou})',
        'duplicate': f'a second segment on one {name}, {share} of it is inside'}
    if finding.kind in texts:
        return texts[finding.kind]
    if not finding.others:
        return f'invented, {share} of it is on void'
    if other == name:
        return f'invented, {share} of it is on one {name}, which it does not fit ({iou})'
    return f'invented, {share} of it is on {other}'
