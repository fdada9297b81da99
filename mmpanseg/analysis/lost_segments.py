"""Why a segment of the ground truth is missing from a prediction.

Q queries; n missing segments; H, W image.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mmpanseg.evaluation.panoptic_quality import PanopticDataError, PanopticMap, index_map
from mmpanseg.models.fusion_heads.base import FusionHead
from mmpanseg.models.fusion_heads.query_fates import Fate
from mmpanseg.models.inference.augmented_views import View, merge_views
from mmpanseg.models.inference.full_size_masks import OutputMasks
from mmpanseg.utils.device import to_device, to_host

# why a segment is missing, with a title in a few words
REASONS = {
    'lost_in_fusion': 'a query had it, the fusion rule lost it',
    'no_object': 'a query had it, and predicts "no object"',
    'other_class': 'a query had its mask, with another class',
    'nearly_proposed': 'a query had a similar mask',
    'never_proposed': 'no query had a similar mask',
}
# IoU of a mask with a segment: above the first it would match, above the second it is similar
MATCH_IOU, SIMILAR_IOU = 0.5, 0.25


@dataclass(frozen=True)
class LostSegment:
    """Why one segment of the ground truth is missing.

    Attributes:
        position: of the segment in ``PanopticMap.ids``.
        reason: a key of :data:`REASONS`.
        query: number of the query that ``text`` is about, the one with the largest IoU among the
            first of these that exist: matches of the class that do not predict "no object", other
            matches of the class, matches of any class, similar masks of the class, all queries.
            None if no mask overlaps the segment.
        iou: IoU of this query's full-size mask with the segment, void excluded; 0 without a query.
        fate: of this query.
        text: one sentence without a full stop: 'query 17 had it (IoU 0.72, car 0.41), but ...'.
    """
    position: int
    reason: str
    query: int | None
    iou: float
    fate: Fate | None
    text: str


def find_lost(head: FusionHead, views: Sequence[View], gt: PanopticMap, positions: Sequence[int],
              classes: Sequence[str]) -> list[LostSegment]:
    """Find out why segments of the ground truth are missing from the prediction.

    A query is of the class that has its highest score, "no object" excluded. Masks are the binary
    masks that the fusion rule uses. Memory does not grow with the number of queries.

    Args:
        head: the fusion head of the prediction.
        views: predictions for the image, as ``head.fuse`` takes them.
        gt: ground truth of the image, at the size of the views' masks.
        positions: of the missing segments in ``gt.ids``.
        classes: names of the model's classes.

    Returns:
        one entry per position, in order.

    Raises:
        PanopticDataError: ground truth and masks differ in size, or a segment has no pixel.
    """
    if not len(positions):
        return []
    probs, masks = merge_views(views)
    if tuple(gt.map.shape) != tuple(masks.size):
        raise PanopticDataError(f'{gt.name} has the size {tuple(gt.map.shape)}, masks of the '
                                f'queries have {tuple(masks.size)}')
    ious = mask_ious(masks, len(probs), probs.device, gt, positions)
    fates = head.fates(views)
    table = to_host(probs)[0].tolist()
    return [_explain(position, int(gt.labels[position]), column, fates, table, classes)
            for position, column in zip(positions, ious.T)]


def mask_ious(masks: OutputMasks, count: int, device: torch.device, gt: PanopticMap,
              positions: Sequence[int]) -> np.ndarray:
    """IoU of the mask of every query with segments, without the pixels that are void.

    Args:
        masks: of the queries.
        count: Q.
        device: of the masks.
        gt: ground truth.
        positions: of n segments in ``gt.ids``.

    Returns:
        float64 [Q, n].
    """
    index = index_map(gt)
    boxes = [_box_of(gt, index, position) for position in positions]
    areas = np.array([np.count_nonzero(index[box] == position + 1)
                      for position, box in zip(positions, boxes)])
    queries = torch.arange(count, device=device)
    labeled, *shapes = to_device(device, index > 0, *(
        index[box] == position + 1 for position, box in zip(positions, boxes)))
    counts = [torch.stack([
        (inside[:, rows, columns] & shape).sum((1, 2), dtype=torch.int32)
        for (rows, columns), shape in zip([np.s_[:, :], *boxes], [labeled, *shapes])], 1)
        for inside in (logits > masks.activation.threshold for logits in masks.chunks(queries))]
    table = to_host(torch.cat(counts))[0].numpy().astype(np.float64)
    sizes, shared = table[:, :1], table[:, 1:]
    return shared / (sizes + areas - shared)


def _box_of(gt: PanopticMap, index: np.ndarray, position: int) -> tuple[slice, slice]:
    """Smallest box around a segment, as slices of rows and columns."""
    inside = index == position + 1
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    if not len(rows):
        raise PanopticDataError(f'segment {gt.ids[position]} of {gt.name} has no pixel in the map')
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _explain(position: int, label: int, ious: np.ndarray, fates: Sequence[Fate],
             probs: Sequence[Sequence[float]], classes: Sequence[str]) -> LostSegment:
    """Explain one segment.

    Args:
        position: of the segment.
        label: its class.
        ious: float64 [Q], of the masks with it.
        fates: of the queries.
        probs: class probabilities of each query.
        classes: names.
    """
    best = int(ious.argmax()) if len(ious) else 0
    if not len(ious) or not ious[best]:
        return LostSegment(position, 'never_proposed', None, 0.0, None,
                           'no mask of a query overlaps it')
    reason, query = _choose(label, best, ious, fates)
    fate, iou = fates[query], float(ious[query])
    guess = f'{classes[fate.label]} {fate.score:.2f}'
    if fate.label != label:
        guess += f', {classes[label]} {probs[query][label]:.2f}'
    mask = f'IoU {iou:.2f}, {guess}'
    text = {
        'lost_in_fusion': f'query {query} had it ({mask}), but {_loss(fate)}',
        'no_object': f'query {query} had it ({mask}), but {fate.text}',
        'other_class': f'query {query} had it, but as another class ({mask}); {fate.text}',
        'nearly_proposed': f'query {query} has the most similar mask ({mask}); {fate.text}',
        'never_proposed': f'no mask is similar; the best is of query {query} ({mask})',
    }[reason]
    return LostSegment(position, reason, query, iou, fate, text)


def _choose(label: int, best: int, ious: np.ndarray, fates: Sequence[Fate]) -> tuple[str, int]:
    """Reason and query for a segment of a class; ``best`` is the query with the largest IoU."""
    own = [fate.query for fate in fates if fate.label == label]
    objects = [query for query in own if fates[query].rule != 'no_object']
    for reason, queries, least in (
            ('lost_in_fusion', objects, MATCH_IOU), ('no_object', own, MATCH_IOU),
            ('other_class', [best], MATCH_IOU), ('nearly_proposed', own, SIMILAR_IOU),
            ('nearly_proposed', [best], SIMILAR_IOU)):
        query = max(queries, key=lambda query: ious[query], default=-1)
        if query >= 0 and ious[query] > least:
            return reason, query
    return 'never_proposed', best


def _loss(fate: Fate) -> str:
    """How a query with a match lost it, the second half of a sentence."""
    if fate.segment is None:
        return fate.text
    if fate.rule == 'merged':
        return 'its pixels are merged into the stuff segment of another query, which does not match'
    return 'its segment lost or gained too many pixels to match'
