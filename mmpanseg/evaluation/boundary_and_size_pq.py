"""Boundary PQ and PQ by segment size, beside PQ."""
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

# Areas in pixels at which medium and large begin, as in COCO's average precision.
SIZE_LIMITS = (32 ** 2, 96 ** 2)
SIZES = ('small', 'medium', 'large')


def image_pq_variants(gt: PanopticMap, pred: PanopticMap, num_classes: int, image: str = 'image', *,
                      boundary_width: float | None = None,
                      by_size: bool = False) -> dict[str, PQStat]:
    """Statistics of one image for PQ and for what is asked besides.

    Boundary PQ (Cheng et al., "Boundary IoU", CVPR 2021, section 6) differs from PQ in the IoU of a
    pair only: it is the smaller one of mask IoU and boundary IoU, also for matching. Pixels of a
    predicted boundary that are void in the ground truth are left out of the boundaries' union.

    By size, a matched pair and a missed segment count where the ground-truth segment belongs; a
    false positive, which has none, where the predicted segment itself belongs (void pixels
    included). So each count of PQ appears in one size, and the sizes sum up to PQ's statistics.

    Args:
        gt, pred, num_classes, image: as in :func:`image_pq`.
        boundary_width: share of the image diagonal; None leaves Boundary PQ out.
        by_size: count segments below 32**2, below 96**2 pixels and larger ones apart.

    Returns:
        ``'all'`` -> PQ's statistics; with ``boundary_width`` also ``'boundary'``, with ``by_size``
        also ``'small'``, ``'medium'`` and ``'large'``.

    Raises:
        PanopticDataError: as :func:`image_pq`.
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
    """What :func:`image_pq_variants` gives for an image without any segment."""
    names = ['all', *(['boundary'] if boundary_width is not None else []),
             *(SIZES if by_size else [])]
    return {name: PQStat(num_classes) for name in names}


def sum_stats(parts: Iterable[dict[str, PQStat]]) -> dict[str, PQStat]:
    """Sum of the statistics of disjoint sets of images, variant by variant; not empty."""
    total: dict[str, PQStat] = {}
    for part in parts:
        for name, stat in part.items():
            if name not in total:
                total[name] = PQStat(len(stat.sums))
            total[name] += stat
    return total


def nonzero_stats(stats: dict[str, PQStat]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Statistics of an image without the classes that do not occur: labels [n], sums [n, 4]."""
    rows = {name: np.flatnonzero(stat.sums.any(1)) for name, stat in stats.items()}
    return {name: (labels, stats[name].sums[labels]) for name, labels in rows.items()}


def expand_stats(stats: dict[str, tuple[np.ndarray, np.ndarray]],
                 num_classes: int) -> dict[str, PQStat]:
    """The inverse of :func:`occurring`."""
    total = {name: PQStat(num_classes) for name in stats}
    for name, (labels, sums) in stats.items():
        total[name].sums[labels] = sums
    return total


def _boundary_layers(gt: PanopticMap, pred: PanopticMap, width: float, image: str) -> np.ndarray:
    """uint8 [H, W]: + 1 on the boundary of a true segment, + 2 on that of a predicted one."""
    check_same_size(gt, pred, image)
    distance = boundary_distance(gt.map.shape, width)
    layers = map_boundary(pred.map, distance).astype(np.uint8) << 1
    layers |= map_boundary(gt.map, distance)
    return layers


def _boundary_overlaps(by_layer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intersection and union of boundaries, [G, P], of overlaps counted by boundary layer."""
    gt_area = by_layer[[1, 3], 1:].sum((0, 2))
    predicted = by_layer[2:, :, 1:].sum(0)
    inter = by_layer[3, 1:, 1:]
    return inter, gt_area[:, None] + predicted[1:].sum(0) - inter


def _select(matching: Matching, gt: np.ndarray, pred: np.ndarray) -> Matching:
    """The part of a matching that belongs to some of the segments, bool [G] and bool [P]."""
    kept = gt[matching.gt]
    return Matching(matching.gt[kept], matching.pred[kept], matching.iou[kept],
                    matching.missed & gt, matching.wrong & pred)
