"""Boundary PQ and PQ by size, against their definitions written with masks."""
import math

import cv2
import numpy as np
import pytest

from mmpanseg.evaluation import PanopticDataError, PanopticMap, image_pq, image_pq_variants

NUM_CLASSES = 4


def random_pair(rng: np.random.Generator) -> tuple[PanopticMap, PanopticMap]:
    """Ground truth of rectangles and discs with crowds and void, and a shifted, noisy copy."""
    height, width = rng.integers(40, 220, 2)
    y, x = np.mgrid[:height, :width]
    gt_map = np.zeros((height, width), np.int32)
    for number in range(1, 9):
        top, left, size = rng.integers(0, height), rng.integers(0, width), rng.integers(2, 190)
        shape = ((x - left) ** 2 + (y - top) ** 2 < size ** 2 / 4 if number % 2 else
                 (abs(x - left) < size / 2) & (abs(y - top) < size / 3))
        gt_map[shape] = number * 1000
    ids = np.setdiff1d(gt_map, 0)
    labels = rng.integers(0, NUM_CLASSES, len(ids))
    gt = PanopticMap(gt_map, ids, labels, rng.random(len(ids)) < 0.2)
    pred_map = np.roll(gt_map, rng.integers(-3, 4), 1)
    pred_map[rng.random(gt_map.shape) < 0.002] = 0
    kept = np.setdiff1d(pred_map, 0)
    of = dict(zip(ids.tolist(), labels.tolist()))
    return gt, PanopticMap(pred_map, kept, [of[i] if rng.random() < 0.75 else 0
                                         for i in kept.tolist()])


def boundary_of(mask: np.ndarray, width: float) -> np.ndarray:
    distance = max(1, round(width * math.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2)))
    padded = np.pad(mask.astype(np.uint8), 1)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    return mask & (inner == 0)


def definition(gt: PanopticMap, pred: PanopticMap, width: float) -> tuple[list, list]:
    """[(class, column of the sums, value, area)] pair by pair: for PQ and for Boundary PQ."""
    void = gt.map == gt.void
    results = []
    for use_boundary in (False, True):
        events, matched_gt = [], set()
        for pred_id, label in zip(pred.ids, pred.labels):
            predicted = pred.map == pred_id
            forgiven, matched = void, False
            for gt_id, gt_label, crowd in zip(gt.ids, gt.labels, gt.crowd):
                true = gt.map == gt_id
                if gt_label != label:
                    continue
                if crowd:
                    forgiven = void | true
                    continue
                iou = (true & predicted).sum() / (true | (predicted & ~void)).sum()
                if use_boundary:
                    edge, true_edge = boundary_of(predicted, width), boundary_of(true, width)
                    iou = min(iou, (true_edge & edge).sum() / (true_edge | (edge & ~void)).sum())
                if iou > 0.5:
                    events += [(label, 0, iou, true.sum()), (label, 1, 1, true.sum())]
                    matched_gt.add(gt_id)
                    matched = True
            if not matched and (predicted & forgiven).sum() <= predicted.sum() / 2:
                events.append((label, 2, 1, predicted.sum()))
        for gt_id, label, crowd in zip(gt.ids, gt.labels, gt.crowd):
            if not crowd and gt_id not in matched_gt:
                events.append((label, 3, 1, (gt.map == gt_id).sum()))
        results.append(events)
    return results


def add_up(events: list, low: float = 0, high: float = math.inf) -> np.ndarray:
    sums = np.zeros((NUM_CLASSES, 4))
    for label, column, value, area in events:
        if low <= area < high:
            sums[label, column] += value
    return sums


@pytest.mark.parametrize('seed', range(30))
def test_against_definition(seed):
    rng = np.random.default_rng(seed)
    gt, pred = random_pair(rng)
    width = [0.02, 0.005, 0.1][seed % 3]
    stats = image_pq_variants(gt, pred, NUM_CLASSES, boundary_width=width, by_size=True)
    assert list(stats) == ['all', 'boundary', 'small', 'medium', 'large']
    by_mask, by_boundary = definition(gt, pred, width)
    for name, expected in (
            ('all', add_up(by_mask)), ('boundary', add_up(by_boundary)),
            ('small', add_up(by_mask, 0, 32 ** 2)),
            ('medium', add_up(by_mask, 32 ** 2, 96 ** 2)),
            ('large', add_up(by_mask, 96 ** 2))):
        np.testing.assert_allclose(stats[name].sums, expected, atol=1e-12, err_msg=name)
    np.testing.assert_array_equal(stats['all'].sums, image_pq(gt, pred, NUM_CLASSES).sums)
    only = image_pq_variants(gt, pred, NUM_CLASSES, by_size=True)
    assert list(only) == ['all', 'small', 'medium', 'large']
    for name, stat in only.items():
        np.testing.assert_array_equal(stat.sums, stats[name].sums)


def test_random_pairs_cover_every_case():
    """The comparison above sees matches that only the boundary prevents, and all sizes."""
    total = {}
    for seed in range(30):
        gt, pred = random_pair(np.random.default_rng(seed))
        stats = image_pq_variants(gt, pred, NUM_CLASSES, boundary_width=0.02, by_size=True)
        for name, stat in stats.items():
            total[name] = total.get(name, 0) + stat.sums.sum(0)
    assert 0 < total['boundary'][1] < total['all'][1]
    assert total['boundary'][2] > total['all'][2] > 0
    assert all((total[size] > 0).all() for size in ('small', 'medium', 'large'))


def one_pair(true: tuple, predicted: tuple, shape=(100, 100), void=None, **kwargs) -> dict:
    """Two boxes (top, left, height, width) of class 1; ``void`` is a box without a label."""
    maps = np.ones((2, *shape), int)
    for segment_map, (top, left, height, width) in zip(maps, (true, predicted)):
        segment_map[top:top + height, left:left + width] = 2
    if void is not None:
        top, left, height, width = void
        maps[0, top:top + height, left:left + width] = 0
    # 1, the surroundings, is of class 0; the box, 2, of class 1
    sides = []
    for segment_map in maps:
        ids = np.setdiff1d(segment_map, 0)
        sides.append(PanopticMap(segment_map, ids, ids - 1))
    return image_pq_variants(*sides, 2, **kwargs)


def test_thin_shift_is_a_match_by_mask_only():
    # 60x60, shifted by 6: mask IoU 3240 / 3960; boundary of 3 pixels (0.02 of 141): frames of
    # 60^2 - 54^2 = 684 pixels, which share two horizontal strips of 3 x 54 pixels
    stats = one_pair((20, 20, 60, 60), (20, 26, 60, 60), boundary_width=0.02)
    assert stats['all'].sums[1].tolist() == [3240 / 3960, 1, 0, 0]
    assert 324 / (2 * 684 - 324) < 0.5
    assert stats['boundary'].sums[1].tolist() == [0, 0, 1, 1]


def test_boundary_iou_of_a_match():
    # shifted by 1: frames of 684 pixels; shared: two strips of 3 x 59 and two of 2 x 54
    stats = one_pair((20, 20, 60, 60), (20, 21, 60, 60), boundary_width=0.02)
    inter = 2 * 3 * 59 + 2 * 2 * 54
    assert stats['boundary'].sums[1].tolist() == [inter / (2 * 684 - inter), 1, 0, 0]


def test_void_is_no_part_of_the_boundary_union():
    # the prediction reaches 10 pixels further, over void only
    stats = one_pair((20, 20, 60, 50), (20, 20, 60, 60), void=(20, 70, 60, 10), boundary_width=0.02)
    assert stats['all'].sums[1].tolist() == [1, 1, 0, 0]
    true = 60 * 50 - 54 * 44  # the annotated side at the void is missing in the prediction
    inter, predicted = true - 54 * 3, 60 * 60 - 54 * 54 - (2 * 3 * 10 + 54 * 3)
    assert stats['boundary'].sums[1].tolist() == [inter / (true + predicted - inter), 1, 0, 0]


@pytest.mark.parametrize('side, size', [(31, 'small'), (32, 'medium'), (95, 'medium'),
                                        (96, 'large')])
def test_limits_of_sizes(side, size):
    stats = one_pair((0, 0, side, side), (0, 0, side, side), by_size=True)
    counts = {name: stats[name].tp[1] for name in ('small', 'medium', 'large')}
    assert counts == {name: int(name == size) for name in counts}


def test_size_of_the_ground_truth_decides_and_else_of_the_prediction():
    # 32 x 32 found as 31 x 32: a medium match
    stats = one_pair((0, 0, 32, 32), (0, 0, 31, 32), by_size=True)
    assert stats['medium'].sums[1].tolist() == [31 / 32, 1, 0, 0]
    assert stats['small'].sums[1].tolist() == [0, 0, 0, 0]
    # a medium object of which a small part is found: missed as medium, wrong as small
    stats = one_pair((0, 0, 40, 40), (0, 0, 10, 10), by_size=True)
    assert stats['medium'].sums[1].tolist() == [0, 0, 0, 1]
    assert stats['small'].sums[1].tolist() == [0, 0, 1, 0]


def test_sizes_that_differ():
    gt, pred = (PanopticMap(np.ones(shape, int), [1], [0]) for shape in ((4, 6), (6, 4)))
    with pytest.raises(PanopticDataError, match='4x6 pixels, but segmentation has 6x4'):
        image_pq_variants(gt, pred, 1, boundary_width=0.02)
