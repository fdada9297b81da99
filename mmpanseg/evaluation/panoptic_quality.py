"""Panoptic quality (Kirillov et al., "Panoptic Segmentation", CVPR 2019, section 4).

Shapes: H, W image size; C classes; G ground-truth segments and P predicted segments of one image.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


class PanopticDataError(ValueError, KeyError):
    """Annotations, predictions and maps that contradict each other.

    A ValueError by nature; a KeyError too, because the official evaluation raises that one and
    existing scripts may catch it.
    """

    def __str__(self) -> str:
        # KeyError would show the repr of the message.
        return str(self.args[0])


@dataclass
class PanopticMap:
    """Segments of one image: either its ground truth or its prediction.

    Attributes:
        map: integer [H, W], pixel -> segment id or ``void``.
        ids: integer [N] in 0 .. 2**31 - 1, the ids in ``map`` that are segments, each once.
        labels: integer [N], class of each segment, 0 .. C - 1.
        crowd: bool [N], segments that count neither for nor against; none by default.
        void: value of pixels without a label.
        name: what error messages call it, e.g. ``'prediction 0001.png'``.
    """
    map: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray | None = None
    void: int = 0
    name: str = 'segmentation'

    def __post_init__(self) -> None:
        self.ids = self._integers('ids', self.ids)
        self.labels = self._integers('labels', self.labels)
        self.crowd = np.zeros(len(self.ids), bool) if self.crowd is None \
            else np.asarray(self.crowd, bool)
        known = set(self.ids.tolist())
        if len(known) != len(self.ids):
            twice = next(i for i in known if (self.ids == i).sum() > 1)
            raise PanopticDataError(f'{self.name}: segment {twice} is listed more than once in '
                                    'segments_info; ids must differ in an image')
        if known and (min(known) < 0 or max(known) >= 1 << 31):
            raise PanopticDataError(f'{self.name}: segment ids must lie in 0 .. {(1 << 31) - 1}, '
                                    f'got {min(known)} .. {max(known)}')
        if self.void in known:
            raise PanopticDataError(f'{self.name}: segments_info lists id {self.void}, which '
                                    'means void; give that segment another id')

    def _integers(self, what: str, values: Sequence[int]) -> np.ndarray:
        values = np.asarray(values)
        whole = values.dtype.kind in 'iu' or (
            values.dtype.kind == 'f' and bool((values == np.trunc(values)).all()))
        if values.size and not whole:
            raise PanopticDataError(
                f'{self.name}: {what} must be whole numbers, got {values.tolist()}')
        return values.astype(np.int64)


class PQStat:
    """Sums over images from which the panoptic quality of each class follows.

    Statistics of disjoint sets of images add up: ``total += part``.

    Args:
        num_classes: C.
        sums: float64 [C, 4] with columns iou, tp, fp, fn; zeros by default.
    """

    def __init__(self, num_classes: int, sums: np.ndarray | None = None) -> None:
        self.sums = np.zeros((num_classes, 4)) if sums is None else sums

    @property
    def iou(self) -> np.ndarray:
        """float64 [C], sum of the IoU of matched pairs."""
        return self.sums[:, 0]

    @property
    def tp(self) -> np.ndarray:
        """int64 [C], matched pairs."""
        return self.sums[:, 1].astype(np.int64)

    @property
    def fp(self) -> np.ndarray:
        """int64 [C], predicted segments without a match."""
        return self.sums[:, 2].astype(np.int64)

    @property
    def fn(self) -> np.ndarray:
        """int64 [C], ground-truth segments without a match."""
        return self.sums[:, 3].astype(np.int64)

    def __iadd__(self, other: 'PQStat') -> 'PQStat':
        self.sums += other.sums
        return self

    def per_class(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """PQ, SQ, RQ of each class (equation 1 and 2), float64 [C] in 0 .. 1, and where defined.

        Returns:
            pq, sq, rq, and bool [C]: classes that occur in ground truth or prediction. The others
            have 0 everywhere and do not count in averages.
        """
        iou, tp, fp, fn = self.sums.T
        size = tp + 0.5 * fp + 0.5 * fn
        zero = np.zeros(len(size))
        pq = np.divide(iou, size, out=zero.copy(), where=size > 0)
        sq = np.divide(iou, tp, out=zero.copy(), where=tp > 0)
        rq = np.divide(tp, size, out=zero.copy(), where=size > 0)
        return pq, sq, rq, size > 0

    def average(self, classes: np.ndarray | None = None) -> dict:
        """Mean quality over the classes that occur.

        Args:
            classes: bool [C], restrict the mean to these (e.g. things only).

        Returns:
            dict with pq, sq, rq in 0 .. 1 and n, the number of classes in the mean; zeros when no
            class occurs.
        """
        pq, sq, rq, counted = self.per_class()
        if classes is not None:
            counted = counted & classes
        n = int(counted.sum())
        return dict(pq=float(pq[counted].sum() / max(n, 1)),
                    sq=float(sq[counted].sum() / max(n, 1)),
                    rq=float(rq[counted].sum() / max(n, 1)), n=n)


@dataclass
class Matching:
    """Which segments of an image go together; indices into the ``ids`` of either side.

    Attributes:
        gt, pred: int64 [M], the two sides of each matched pair.
        iou: float64 [M], IoU of each pair.
        missed: bool [G], ground-truth segments that count as false negatives.
        wrong: bool [P], predicted segments that count as false positives.
    """
    gt: np.ndarray
    pred: np.ndarray
    iou: np.ndarray
    missed: np.ndarray
    wrong: np.ndarray

    def sums(self, gt: PanopticMap, pred: PanopticMap, num_classes: int) -> PQStat:
        """IoU, true and false positives and false negatives of each class."""
        sums = np.empty((num_classes, 4))
        matched_labels = gt.labels[self.gt]
        sums[:, 0] = np.bincount(matched_labels, self.iou, num_classes)
        sums[:, 1] = np.bincount(matched_labels, minlength=num_classes)
        sums[:, 2] = np.bincount(pred.labels[self.wrong], minlength=num_classes)
        sums[:, 3] = np.bincount(gt.labels[self.missed], minlength=num_classes)
        return PQStat(num_classes, sums)


def map_ids(segment_map: np.ndarray) -> np.ndarray:
    """Sorted distinct values of an integer map [H, W]; faster than np.unique on real maps."""
    flat = segment_map.ravel()
    return np.unique(flat[_run_edges(flat[1:] != flat[:-1])[:-1]])


def index_map(segments: PanopticMap, image: str = 'image') -> np.ndarray:
    """int32 [H, W]: 0 for void, 1 + index into ``segments.ids`` for the pixels of a segment.

    Raises:
        PanopticDataError: when the map holds a value that is neither listed nor void.
    """
    flat = segments.map.ravel()
    edges = _run_edges(flat[1:] != flat[:-1])
    index = _positions(flat[edges[:-1]], segments, image).astype(np.int32)
    return np.repeat(index, edges[1:] - edges[:-1]).reshape(segments.map.shape)


def image_pq(gt: PanopticMap, pred: PanopticMap, num_classes: int, image: str = 'image') -> PQStat:
    """Match the segments of one image and count, things and stuff alike.

    A pair of one class matches when its IoU exceeds 0.5, where pixels that are void in the ground
    truth do not count as predicted. Crowd segments never match and are never missed; an unmatched
    prediction is forgiven when more than half of it lies on void and on the crowd of its class.

    Args:
        gt: ground truth.
        pred: prediction; its ``crowd`` is not used.
        num_classes: C.
        image: what error messages call the image, e.g. ``'image 139'``.

    Raises:
        PanopticDataError: when the maps differ in size, a segment is listed but not in its map,
            or in the map but not listed, or a label is none of the classes.
    """
    check_labels(gt, pred, num_classes, image)
    overlap = segment_overlaps(gt, pred, image)
    return match_segments(gt, pred, overlap, image).sums(gt, pred, num_classes)


def match_segments(gt: PanopticMap, pred: PanopticMap, overlap: np.ndarray, image: str,
                   boundary: tuple[np.ndarray, np.ndarray] | None = None) -> Matching:
    """Match segments as :func:`image_pq` says.

    Args:
        gt, pred, image: as there.
        overlap: int64 [G + 1, P + 1] of :func:`segment_overlaps`.
        boundary: int64 [G, P] twice, intersection and union of the segments' boundaries. Given,
            the IoU of a pair is the smaller one of its masks' and its boundaries'.
    """
    gt_area, pred_area = overlap[1:].sum(1), overlap[:, 1:].sum(0)
    for side, area in ((gt, gt_area), (pred, pred_area)):
        if not area.all():
            raise PanopticDataError(
                f'{image}: segment(s) {side.ids[area == 0].tolist()} of {side.name} are listed in '
                'segments_info but have no pixel in the map; remove them from the list or write '
                'the map that belongs to it')
    on_void, inter = overlap[0, 1:], overlap[1:, 1:]
    union = gt_area[:, None] + (pred_area - on_void) - inter
    # IoU > 0.5 holds for at most one partner on either side, so no assignment is needed.
    same_class = gt.labels[:, None] == pred.labels
    matched = same_class & (2 * inter > union) & ~gt.crowd[:, None]
    if boundary is not None:
        matched &= 2 * boundary[0] > boundary[1]
    match = np.nonzero(matched)
    gt_match, pred_match = match
    iou = inter[match] / union[match]
    if boundary is not None:
        iou = np.minimum(iou, boundary[0][match] / boundary[1][match])

    missed = ~gt.crowd
    missed[gt_match] = False
    forgiven = on_void.copy()
    # Of several crowds of a class only the one listed last counts: the official evaluation does so,
    # and published numbers follow it.
    for crowd in np.flatnonzero(gt.crowd):
        of_class = pred.labels == gt.labels[crowd]
        forgiven[of_class] = (on_void + inter[crowd])[of_class]
    wrong = 2 * forgiven <= pred_area
    wrong[pred_match] = False
    return Matching(gt_match, pred_match, iou, missed, wrong)


def segment_overlaps(gt: PanopticMap, pred: PanopticMap, image: str,
                     layers: np.ndarray | None = None) -> np.ndarray:
    """Pixels that each pair of segments shares, int64 [G + 1, P + 1]; row and column 0 are void.

    Neighboring pixels mostly agree in both maps, so ids are looked up once per run of equal
    pairs in reading order, not once per pixel.

    Args:
        gt, pred, image: as in :func:`image_pq`.
        layers: uint8 [H, W], values 0 .. 3; given, pixels of each value are counted apart, and
            the result is [4, G + 1, P + 1].
    """
    check_same_size(gt, pred, image)
    gt_flat, pred_flat = gt.map.ravel(), pred.map.ravel()
    change = gt_flat[1:] != gt_flat[:-1]
    change |= pred_flat[1:] != pred_flat[:-1]
    if layers is not None:
        layers = layers.ravel()
        change |= layers[1:] != layers[:-1]
    edges = _run_edges(change)
    rows = _positions(gt_flat[edges[:-1]], gt, image)
    columns = _positions(pred_flat[edges[:-1]], pred, image)
    shape = (len(gt.ids) + 1, len(pred.ids) + 1)
    cells = rows * shape[1] + columns
    if layers is not None:
        cells += layers[edges[:-1]].astype(np.int64) * (shape[0] * shape[1])
        shape = (4, *shape)
    counts = np.bincount(cells, edges[1:] - edges[:-1], math.prod(shape))
    return counts.astype(np.int64).reshape(shape)


def _run_edges(change: np.ndarray) -> np.ndarray:
    """Where runs start, and the end, given where an element differs from the one before it."""
    inner = np.flatnonzero(change)
    edges = np.empty(len(inner) + 2, np.int64)
    edges[0], edges[-1] = 0, len(change) + 1
    np.add(inner, 1, out=edges[1:-1])
    return edges


def _positions(values: np.ndarray, segments: PanopticMap, image: str) -> np.ndarray:
    """0 for void, 1 + index into ``segments.ids`` for a segment; other values are an error."""
    known = np.concatenate(([segments.void], segments.ids))
    values = values.astype(np.int64)
    # A table indexed by the ids' last bits, as few as tell them apart, is faster than a search.
    mask = 0xFFF
    while len(set((known & mask).tolist())) < len(known):
        mask = mask << 4 | 0xF
    table = np.zeros(mask + 1, np.int64)
    table[known & mask] = np.arange(len(known))
    at = table.take(values & mask)
    unlisted = known.take(at) != values
    if unlisted.any():
        ids = np.unique(values[unlisted])
        raise PanopticDataError(
            f'{image}: segment(s) {ids[:10].tolist()}{" ..." if len(ids) > 10 else ""} are in the '
            f'map of {segments.name} but not in its segments_info; list them there, or paint them '
            f'{segments.void} (void)')
    return at


def check_labels(gt: PanopticMap, pred: PanopticMap, num_classes: int, image: str) -> None:
    """Raise a PanopticDataError unless all labels are 0 .. C - 1."""
    for side in (gt, pred):
        wrong = np.flatnonzero((side.labels < 0) | (side.labels >= num_classes))
        if wrong.size:
            raise PanopticDataError(
                f'{image}: segment {side.ids[wrong[0]]} of {side.name} has label '
                f'{side.labels[wrong[0]]}, but there are {num_classes} classes; labels are '
                f'0 .. {num_classes - 1}')


def check_same_size(gt: PanopticMap, pred: PanopticMap, image: str) -> None:
    """Raise a PanopticDataError unless ground truth and prediction have the same size."""
    if gt.map.shape != pred.map.shape:
        raise PanopticDataError(
            f'{image}: {pred.name} has {_size(pred.map)} pixels, but {gt.name} has '
            f'{_size(gt.map)} (width x height); predict at the size of the original image')


def _size(segment_map: np.ndarray) -> str:
    return 'x'.join(str(side) for side in segment_map.shape[::-1])
