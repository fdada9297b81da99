"""Scores one image: its record and its error map.

Shapes: H, W image size; G ground truth and P predicted segments.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmpanseg.evaluation.boundary_and_size_pq import image_pq_variants, nonzero_stats
from mmpanseg.evaluation.panoptic_quality import (
    PanopticMap,
    check_labels,
    match_segments,
    segment_overlaps,
)
from mmpanseg.evaluation.segment_errors import SegmentFinding, describe, error_map, find_errors
from mmpanseg.report.prediction import Prediction
from mmpanseg.report.records import ImageRecord, SegmentRecord
from mmpanseg.report.statistics import image_quality, missed_segments, rows_of_stats
from mmpanseg.structures.error_kinds import PixelKind
from mmpanseg.structures.map_segments import find_segments

# reasons without a query whose mask would match
_SIMILAR = ('nearly_proposed', 'never_proposed')


class Scored(NamedTuple):
    """A scored image.

    Attributes:
        record: without pictures.
        errors: error map, uint8 [H, W] of :class:`PixelKind`.
        gt: ground truth.
        pred: prediction.
    """

    record: ImageRecord
    errors: np.ndarray
    gt: PanopticMap
    pred: Prediction


def score_image(record: ImageRecord, gt: PanopticMap, pred: Prediction, classes: Sequence[str],
                boundary_width: float | None = None) -> Scored:
    """Compute the figures of one image.

    Args:
        record: with number, id, name and path of the image.
        gt: ground truth.
        pred: prediction.
        classes: names by label.
        boundary_width: for Boundary PQ; None leaves it out.

    Returns:
        the record, completed, and the error map.

    Raises:
        PanopticDataError: the maps differ in size, or contain other segments than they list.
    """
    image = f'image {record.image_id} ({record.path})'
    segments = pred.segments
    check_labels(gt, segments, len(classes), image)
    stats = nonzero_stats(image_pq_variants(gt, segments, len(classes), image,
                                            boundary_width=boundary_width, by_size=True))
    overlap = segment_overlaps(gt, segments, image)
    matching = match_segments(gt, segments, overlap, image)
    findings = find_errors(gt, segments, overlap, matching)
    errors = error_map(gt, segments, findings, matching)

    record.size = (gt.map.shape[0], gt.map.shape[1])
    record.sums = rows_of_stats(stats)
    record.tp = len(matching.gt)
    record.fp, record.fn = int(matching.wrong.sum()), int(matching.missed.sum())
    quality = image_quality(record.sums['all'])
    if quality is not None:
        record.pq, record.sq, record.rq = quality
    counts = np.bincount(errors.ravel(), minlength=len(PixelKind)).tolist()
    record.pixels = {kind.name.lower(): counts[kind] for kind in PixelKind if counts[kind]}
    record.segments = _segments(gt, pred, findings, overlap, classes)
    if pred.explain is not None:
        _explain(record.segments, gt, pred)
    return Scored(record, errors, gt, pred)


def _segments(gt: PanopticMap, pred: Prediction, findings: Sequence[SegmentFinding],
              overlap: np.ndarray, classes: Sequence[str]) -> list[SegmentRecord]:
    """Make the records of all segments."""
    sides = {'gt': gt, 'pred': pred.segments}
    partners = _partners(gt, overlap)
    areas = {'gt': overlap[1:].sum(1).tolist(), 'pred': overlap[:, 1:].sum(0).tolist()}
    boxes = {side: _boxes(segments) for side, segments in sides.items()}
    made = []
    for finding in findings:
        side, at = finding.side, finding.position
        own, other = sides[side], sides['pred' if side == 'gt' else 'gt']
        number = int(own.ids[at])
        partner = partners[side].get(at)
        partner = None if partner is None else int(other.ids[partner])
        made.append(SegmentRecord(
            side, number, int(own.labels[at]), areas[side][at], boxes[side][number], finding.kind,
            float(finding.iou), describe(finding, gt, pred.segments, classes),
            score=pred.scores[at] if side == 'pred' else None,
            match=partner if finding.kind == 'matched' else None, partner=partner,
            query=pred.queries[at] if side == 'pred' else None))
    return made


def _partners(gt: PanopticMap, overlap: np.ndarray) -> dict[str, dict[int, int]]:
    """Find the pairs with an IoU above 0.5, of any classes: side -> position -> position."""
    inter = overlap[1:, 1:]
    union = (overlap[1:].sum(1)[:, None] + overlap[1:, 1:].sum(0)) - inter
    pairs = np.argwhere((2 * inter > union) & ~gt.crowd[:, None]).tolist()
    return {'gt': dict(pairs), 'pred': {other: one for one, other in pairs}}


def _boxes(segments: PanopticMap) -> dict[int, tuple[int, int, int, int]]:
    found = find_segments(segments.map)
    return {number: (x1, y1, x2, y2)
            for number, (x1, y1, x2, y2) in zip(found.ids.tolist(), found.boxes.tolist())}


def _explain(segments: list[SegmentRecord], gt: PanopticMap, pred: Prediction) -> None:
    """Add why segments are missed, in place."""
    assert pred.explain is not None
    positions = {number: at for at, number in enumerate(gt.ids.tolist())}
    missed = {positions[entry.id]: entry for entry in missed_segments(segments)}
    for at, (reason, text, query) in pred.explain(gt, sorted(missed)).items():
        entry = missed[at]
        entry.reason, entry.query = reason, query
        # where a predicted segment is at fault, its kind tells more than a mask that is similar
        if text and (entry.kind == 'missed' or reason not in _SIMILAR):
            entry.text = f'{entry.text}; {text}' if entry.text else text
        if reason == 'lost_in_fusion' and entry.kind == 'missed':
            entry.kind = reason
