"""Panoptic quality (Kirillov et al., "Panoptic Segmentation", CVPR 2019, section 4).

Shapes: H, W image size; C classes; G ground-truth segments and P predicted segments of one image.
"""
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


class PanopticDataError(ValueError, KeyError):
    """Annotations, predictions or maps are inconsistent.

    Also a KeyError, because the official evaluation raises that and existing scripts may catch it.
    """

    def __str__(self) -> str:
        # KeyError shows the repr of the text
        return str(self.args[0])


class PanopticMap:
    """Panoptic segmentation of one image, the ground truth or a prediction.

    Args:
        map: integer [H, W], pixel -> segment id or ``void``.
        ids: integer [N] in 0 .. 2**31 - 1, the segment ids in ``map``, without duplicates.
        labels: integer [N], class of each segment, 0 .. C - 1.
        crowd: bool [N], segments that are excluded from all counts; none by default.
        void: value of pixels without a label.
        name: name in error texts, e.g. ``'prediction 0001.png'``.

    Raises:
        PanopticDataError: an id is repeated, out of range or equal to ``void``; or ids or labels
            are not integers.
    """

    def __init__(self, map: np.ndarray, ids: ArrayLike, labels: ArrayLike,
                 crowd: ArrayLike | None = None, void: int = 0, name: str = 'segmentation') -> None:
        self.map = map
        self.void = void
        self.name = name
        self.ids = self._integers('ids', ids)
        self.labels = self._integers('labels', labels)
        self.crowd = (np.zeros(len(self.ids), bool) if crowd is None
                      else np.asarray(crowd, bool))
        known = set(self.ids.tolist())
        if len(known) != len(self.ids):
            twice = next(i for i in known if (self.ids == i).sum() > 1)
            raise PanopticDataError(f'{self.name}: segment {twice} is listed more than once in '
                                    'segments_info; ids must differ in an image')
        if known and (min(known) < 0 or max(known) >= 1 << 31):
            raise PanopticDataError(f'{self.name}: segment ids must be in 0 .. {(1 << 31) - 1}, '
                                    f'got {min(known)} .. {max(known)}')
        if self.void in known:
            raise PanopticDataError(f'{self.name}: segments_info lists id {self.void}, which '
                                    'means void; give that segment another id')

    def _integers(self, what: str, numbers: ArrayLike) -> np.ndarray:
        values = np.asarray(numbers)
        whole = values.dtype.kind in 'iu' or (
            values.dtype.kind == 'f' and bool((values == np.trunc(values)).all()))
        if values.size and not whole:
            raise PanopticDataError(
                f'{self.name}: {what} must be whole numbers, got {values.tolist()}')
        return values.astype(np.int64)


class PQStat:
    """Sums over images, from which the panoptic quality of each class is computed.

    Statistics of disjoint sets of images are added by ``total += part``.

    Args:
        num_classes: C.
        sums: float64 [C, 4], columns iou, tp, fp, fn; zeros by default.
    """

    def __init__(self, num_classes: int, sums: np.ndarray | None = None) -> None:
        self.sums = np.zeros((num_classes, 4)) if sums is None else sums

    @property
    def iou(self) -> np.ndarray:
        """Sum of the IoU of matched pairs, float64 [C]."""
        return self.sums[:, 0]

    @property
    def tp(self) -> np.ndarray:
        """Number of matched pairs, int64 [C]."""
        return self.sums[:, 1].astype(np.int64)

    @property
    def fp(self) -> np.ndarray:
        """Number of predicted segments without a match, int64 [C]."""
        return self.sums[:, 2].astype(np.int64)

    @property
    def fn(self) -> np.ndarray:
        """Number of ground truth segments without a match, int64 [C]."""
        return self.sums[:, 3].astype(np.int64)

    def __iadd__(self, other: 'PQStat') -> 'PQStat':
        self.sums += other.sums
        return self

    def per_class(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Compute PQ, SQ and RQ of each class (equations 1 and 2).

        Returns:
            pq, sq, rq, each float64 [C] in 0 .. 1, and bool [C], True for classes that occur in
            the ground truth or a prediction. The scores of other classes are 0 and excluded from
            averages.
        """
        iou, tp, fp, fn = self.sums.T
        size = tp + 0.5 * fp + 0.5 * fn
        zero = np.zeros(len(size))
        pq = np.divide(iou, size, out=zero.copy(), where=size > 0)
        sq = np.divide(iou, tp, out=zero.copy(), where=tp > 0)
        rq = np.divide(tp, size, out=zero.copy(), where=size > 0)
        return pq, sq, rq, size > 0

    def average(self, classes: np.ndarray | None = None) -> dict:
        """Average the quality over the classes that occur.

        Args:
            classes: bool [C], classes to average, e.g. the things; all by default.

        Returns:
            dict with pq, sq, rq in 0 .. 1 and n, the number of averaged classes; zeros if no class
            occurs.
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
    """Matched segments of one image, M pairs.

    Attributes:
        gt: int64 [M], index of the ground truth segment of each pair.
        pred: int64 [M], index of the predicted segment of each pair.
        iou: float64 [M], IoU of each pair.
        missed: bool [G], ground truth segments that count as false negatives.
        wrong: bool [P], predicted segments that count as false positives.
    """
    gt: np.ndarray
    pred: np.ndarray
    iou: np.ndarray
    missed: np.ndarray
    wrong: np.ndarray

    def sums(self, gt: PanopticMap, pred: PanopticMap, num_classes: int) -> PQStat:
        """Sum IoU, true positives, false positives and false negatives of each class.

        Args:
            gt: the matched ground truth.
            pred: the matched prediction.
            num_classes: C.
        """
        sums = np.empty((num_classes, 4))
        matched_labels = gt.labels[self.gt]
        sums[:, 0] = np.bincount(matched_labels, self.iou, num_classes)
        sums[:, 1] = np.bincount(matched_labels, minlength=num_classes)
        sums[:, 2] = np.bincount(pred.labels[self.wrong], minlength=num_classes)
        sums[:, 3] = np.bincount(gt.labels[self.missed], minlength=num_classes)
        return PQStat(num_classes, sums)


def index_map(segments: PanopticMap, image: str = 'image') -> np.ndarray:
    """Replace segment ids by indices.

    Args:
        segments: map and ids.
        image: name of the image in error texts.

    Returns:
        int32 [H, W], 0 for void, 1 + index into ``segments.ids`` for a segment.

    Raises:
        PanopticDataError: the map contains a value that is neither a listed id nor void.
    """
    flat = segments.map.ravel()
    edges = _run_edges(flat[1:] != flat[:-1])
    index = _positions(flat[edges[:-1]], segments, image).astype(np.int32)
    return np.repeat(index, edges[1:] - edges[:-1]).reshape(segments.map.shape)


def image_pq(gt: PanopticMap, pred: PanopticMap, num_classes: int, image: str = 'image') -> PQStat:
    """Match the segments of one image, things and stuff, and sum their statistics.

    Two segments of a class match if their IoU exceeds 0.5. Pixels that are void in the ground truth
    are removed from predicted segments. Crowd segments neither match nor count as false negatives.
    An unmatched predicted segment is no false positive if more than half of it covers void and the
    crowd of its class.

    Args:
        gt: ground truth.
        pred: prediction; its ``crowd`` is ignored.
        num_classes: C.
        image: name of the image in error texts, e.g. ``'image 139'``.

    Raises:
        PanopticDataError: the maps differ in size, a segment is listed but not in its map or in the
            map but not listed, or a label is out of range.
    """
    check_labels(gt, pred, num_classes, image)
    overlap = segment_overlaps(gt, pred, image)
    return match_segments(gt, pred, overlap, image).sums(gt, pred, num_classes)


def match_segments(gt: PanopticMap, pred: PanopticMap, overlap: np.ndarray, image: str,
                   boundary: tuple[np.ndarray, np.ndarray] | None = None) -> Matching:
    """Match segments as described in :func:`image_pq`.

    Args:
        gt: ground truth.
        pred: prediction.
        overlap: result of :func:`segment_overlaps`, int64 [G + 1, P + 1].
        image: name of the image in error texts.
        boundary: intersection and union of the boundaries, each int64 [G, P]. If set, the IoU of
            a pair is the minimum of mask IoU and boundary IoU.
    """
    gt_area, pred_area = overlap[1:].sum(1), overlap[:, 1:].sum(0)
    for side, area in ((gt, gt_area), (pred, pred_area)):
        if not area.all():
            raise PanopticDataError(
                f'{image}: segment(s) {side.ids[area == 0].tolist()} of {side.name} are listed in '
                'segments_info but have no pixel in the map; remove them from the list or write '
                'the matching map')
    on_void, inter = overlap[0, 1:], overlap[1:, 1:]
    union = gt_area[:, None] + (pred_area - on_void) - inter
    # a segment has IoU > 0.5 with at most one other segment, so that no assignment is needed
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
    ignored = on_void.copy()
    # of several crowds of a class only the last one counts, as in the official evaluation
    for crowd in np.flatnonzero(gt.crowd):
        of_class = pred.labels == gt.labels[crowd]
        ignored[of_class] = (on_void + inter[crowd])[of_class]
    wrong = 2 * ignored <= pred_area
    wrong[pred_match] = False
    return Matching(gt_match, pred_match, iou, missed, wrong)


def segment_overlaps(gt: PanopticMap, pred: PanopticMap, image: str,
                     layers: np.ndarray | None = None) -> np.ndarray:
    """Count the pixels that each pair of segments shares.

    Ids are looked up once per run of equal pairs of ids, not once per pixel.

    Args:
        gt: ground truth.
        pred: prediction.
        image: name of the image in error texts.
        layers: uint8 [H, W], values 0 .. 3; if set, the pixels of each value are counted
            separately.

    Returns:
        int64 [G + 1, P + 1], row and column 0 are void; [4, G + 1, P + 1] with ``layers``.
    """
    cells, lengths = pair_runs(gt, pred, image, layers)
    shape: tuple[int, ...] = (len(gt.ids) + 1, len(pred.ids) + 1)
    if layers is not None:
        shape = (4, *shape)
    counts = np.bincount(cells, lengths, math.prod(shape))
    return counts.astype(np.int64).reshape(shape)


def pair_runs(gt: PanopticMap, pred: PanopticMap, image: str,
              layers: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Divide the pixels of an image, row after row, into runs of one pair of segments.

    Args:
        gt: ground truth.
        pred: prediction.
        image: name of the image in error texts.
        layers: uint8 [H, W], values 0 .. 3; if set, runs end where it changes.

    Returns:
        place of each run in the flat result of :func:`segment_overlaps`, and its pixels; both
        int64 [runs].
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
    width = len(pred.ids) + 1
    cells = rows * width + columns
    if layers is not None:
        cells += layers[edges[:-1]].astype(np.int64) * ((len(gt.ids) + 1) * width)
    return cells, edges[1:] - edges[:-1]


def _run_edges(change: np.ndarray) -> np.ndarray:
    """Find the start of each run and the end of the last one.

    Args:
        change: bool [n - 1], True where an element differs from its predecessor.
    """
    inner = np.flatnonzero(change)
    edges = np.empty(len(inner) + 2, np.int64)
    edges[0], edges[-1] = 0, len(change) + 1
    np.add(inner, 1, out=edges[1:-1])
    return edges


def _positions(values: np.ndarray, segments: PanopticMap, image: str) -> np.ndarray:
    """Map segment ids to 1 + their index in ``segments.ids``, and void to 0."""
    known = np.concatenate(([segments.void], segments.ids))
    values = values.astype(np.int64)
    # a table indexed by the lowest bits that distinguish all ids is faster than a search
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
            f'map of {segments.name} but not in its segments_info; list them there, or set their '
            f'pixels to {segments.void} (void)')
    return at


def check_labels(gt: PanopticMap, pred: PanopticMap, num_classes: int, image: str) -> None:
    """Check that all labels are in 0 .. C - 1.

    Args:
        gt: ground truth.
        pred: prediction.
        num_classes: C.
        image: name of the image in error texts.

    Raises:
        PanopticDataError: a label is out of range.
    """
    for side in (gt, pred):
        wrong = np.flatnonzero((side.labels < 0) | (side.labels >= num_classes))
        if wrong.size:
            raise PanopticDataError(
                f'{image}: segment {side.ids[wrong[0]]} of {side.name} has label '
                f'{side.labels[wrong[0]]}, but there are {num_classes} classes; labels are '
                f'0 .. {num_classes - 1}')


def check_same_size(gt: PanopticMap, pred: PanopticMap, image: str) -> None:
    """Check that ground truth and prediction are of equal size.

    Args:
        gt: ground truth.
        pred: prediction.
        image: name of the image in error texts.

    Raises:
        PanopticDataError: the sizes differ.
    """
    if gt.map.shape != pred.map.shape:
        raise PanopticDataError(
            f'{image}: {pred.name} has {_size(pred.map)} pixels, but {gt.name} has '
            f'{_size(gt.map)} (width x height); predict at the size of the original image')


def _size(segment_map: np.ndarray) -> str:
    return 'x'.join(str(side) for side in segment_map.shape[::-1])
