"""Boundary PQ and PQ by segment size.

Shapes: H, W image size; C classes; G ground truth segments and P predicted segments of one image.
"""
from collections.abc import Iterable

import numpy as np

from mmpanseg.evaluation.boundary import boundary_distance, map_boundary
from mmpanseg.evaluation.panoptic_quality import (
    Matching,
    PanopticMap,
    PQStat,
    check_labels,
    check_same_size,
    image_pq,
    match_segments,
    segment_overlaps,
)

# Smallest areas, in pixels, of medium and of large segments, as in COCO's average precision.
SIZE_LIMITS = (32 ** 2, 96 ** 2)
SIZES = ('small', 'medium', 'large')


def image_pq_variants(gt: PanopticMap, pred: PanopticMap, num_classes: int, image: str = 'image', *,
                      boundary_width: float | None = None,
                      by_size: bool = False) -> dict[str, PQStat]:
    """Compute the statistics of one image for PQ, Boundary PQ and PQ by size.

    Boundary PQ (Cheng et al., "Boundary IoU", CVPR 2021, section 6) replaces the IoU of a pair, for
    matching too, by the minimum of mask IoU and boundary IoU. Pixels of a predicted boundary that
    are void in the ground truth are excluded from the union of the boundaries.

    By size, matched pairs and false negatives count for the size of the ground truth segment, false
    positives for the size of the predicted segment, including its void pixels. Each count of PQ
    belongs to one size, so that the sum over sizes equals the statistics of PQ.

    Args:
        gt: ground truth.
        pred: prediction.
        num_classes: C.
        image: name of the image in error texts.
        boundary_width: share of the image diagonal; None omits Boundary PQ.
        by_size: separate segments below 32**2 pixels, below 96**2 pixels, and larger ones.

    Returns:
        ``'all'`` -> statistics of PQ; with ``boundary_width`` also ``'boundary'``, with ``by_size``
        also ``'small'``, ``'medium'`` and ``'large'``.

    Raises:
        PanopticDataError: see :func:`image_pq`.
    """
    check_labels(gt, pred, num_classes, image)
    if boundary_width is None and not by_size:
        return {'all': image_pq(gt, pred, num_classes, image)}
    if boundary_width is None:
        overlap = segment_overlaps(gt, pred, image)
    else:
        layers = _boundary_layers(gt, pred, boundary_width, image)
        by_layer = segment_overlaps(gt, pred, image, layers)
        overlap = by_layer.sum(0)
    matching = match_segments(gt, pred, overlap, image)
    stats = {'all': matching.sums(gt, pred, num_classes)}
    if boundary_width is not None:
        matched = match_segments(gt, pred, overlap, image, _boundary_overlaps(by_layer))
        stats['boundary'] = matched.sums(gt, pred, num_classes)
    if by_size:
        gt_size = np.digitize(overlap[1:].sum(1), SIZE_LIMITS)
        pred_size = np.digitize(overlap[:, 1:].sum(0), SIZE_LIMITS)
        for size, name in enumerate(SIZES):
            part = _select(matching, gt_size == size, pred_size == size)
            stats[name] = part.sums(gt, pred, num_classes)
    return stats


def zero_stats(num_classes: int, boundary_width: float | None,
               by_size: bool) -> dict[str, PQStat]:
    """Create the statistics of an image without segments.

    Args:
        num_classes: C.
        boundary_width: see :func:`image_pq_variants`.
        by_size: see :func:`image_pq_variants`.

    Returns:
        zeros under the same names as :func:`image_pq_variants`.
    """
    names = ['all', *(['boundary'] if boundary_width is not None else []),
             *(SIZES if by_size else [])]
    return {name: PQStat(num_classes) for name in names}


def sum_stats(parts: Iterable[dict[str, PQStat]]) -> dict[str, PQStat]:
    """Add the statistics of disjoint sets of images.

    Args:
        parts: results of :func:`image_pq_variants` or of this function, at least one.
    """
    total: dict[str, PQStat] = {}
    for part in parts:
        for name, stat in part.items():
            if name not in total:
                total[name] = PQStat(len(stat.sums))
            total[name] += stat
    return total


def nonzero_stats(stats: dict[str, PQStat]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Remove the classes that do not occur from statistics.

    Returns:
        name -> labels int64 [n] and sums float64 [n, 4] of the classes that occur.
    """
    rows = {name: np.flatnonzero(stat.sums.any(1)) for name, stat in stats.items()}
    return {name: (labels, stats[name].sums[labels]) for name, labels in rows.items()}


def expand_stats(stats: dict[str, tuple[np.ndarray, np.ndarray]],
                 num_classes: int) -> dict[str, PQStat]:
    """Restore the statistics of all C classes, the inverse of :func:`nonzero_stats`."""
    total = {name: PQStat(num_classes) for name in stats}
    for name, (labels, sums) in stats.items():
        total[name].sums[labels] = sums
    return total


def _boundary_layers(gt: PanopticMap, pred: PanopticMap, width: float, image: str) -> np.ndarray:
    """Mark boundaries, uint8 [H, W]: 1 ground truth, 2 prediction, 3 both, 0 none."""
    check_same_size(gt, pred, image)
    distance = boundary_distance((gt.map.shape[0], gt.map.shape[1]), width)
    layers = map_boundary(pred.map, distance).astype(np.uint8) << 1
    layers |= map_boundary(gt.map, distance)
    return layers


def _boundary_overlaps(by_layer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute intersection and union of boundaries.

    Args:
        by_layer: overlaps for each value of :func:`_boundary_layers`, int64 [4, G + 1, P + 1].

    Returns:
        intersection and union, each int64 [G, P].
    """
    gt_area = by_layer[[1, 3], 1:].sum((0, 2))
    predicted = by_layer[2:, :, 1:].sum(0)
    inter = by_layer[3, 1:, 1:]
    return inter, gt_area[:, None] + predicted[1:].sum(0) - inter


def _select(matching: Matching, gt: np.ndarray, pred: np.ndarray) -> Matching:
    """Restrict a matching to some segments, given by bool [G] and bool [P]."""
    kept = gt[matching.gt]
    return Matching(matching.gt[kept], matching.pred[kept], matching.iou[kept],
                    matching.missed & gt, matching.wrong & pred)
