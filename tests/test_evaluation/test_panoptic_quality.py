"""Panoptic quality of one image, against its definition written with masks."""
import pickle

import numpy as np
import pytest

from mmpanseg.evaluation import PanopticDataError, PanopticMap, PQStat, image_pq

NUM_CLASSES = 5


def random_segments(rng: np.random.Generator, size: tuple, big_ids: bool, **kwargs) -> PanopticMap:
    """A map of random rectangles, some of them painted over, void where none lies."""
    count = rng.integers(1, 12)
    ids = rng.choice(1 << 24 if big_ids else 40, count, replace=False) + 1
    segment_map = np.zeros(size, np.int32)
    for segment in ids:
        top, left = (rng.integers(0, side) for side in size)
        height, width = rng.integers(1, 12, 2)
        segment_map[top:top + height, left:left + width] = segment
    ids = rng.permutation(np.setdiff1d(segment_map, 0))
    return PanopticMap(segment_map, ids, rng.integers(0, NUM_CLASSES, len(ids)), **kwargs)


def noisy_copy(rng: np.random.Generator, gt: PanopticMap) -> PanopticMap:
    """A prediction near the ground truth: shifted, partly relabeled, with other ids."""
    segment_map = np.roll(gt.map, rng.integers(-2, 3), axis=1)
    segment_map[rng.random(gt.map.shape) < 0.05] = 0
    ids = np.setdiff1d(segment_map, 0)
    labels = dict(zip(gt.ids.tolist(), gt.labels.tolist()))
    labels = [labels[i] if rng.random() < 0.8 else rng.integers(NUM_CLASSES) for i in ids.tolist()]
    return PanopticMap(segment_map, ids, labels)


def definition(gt: PanopticMap, pred: PanopticMap) -> np.ndarray:
    """iou, tp, fp, fn of each class, [C, 4], pair by pair with boolean masks."""
    sums = np.zeros((NUM_CLASSES, 4))
    void = gt.map == gt.void
    missed = {int(i) for i, crowd in zip(gt.ids, gt.crowd) if not crowd}
    for pred_id, label in zip(pred.ids, pred.labels):
        predicted = pred.map == pred_id
        matched = False
        forgiven = void.copy()
        crowd_of_class = np.zeros_like(void)
        for gt_id, gt_label, crowd in zip(gt.ids, gt.labels, gt.crowd):
            true = gt.map == gt_id
            if gt_label != label:
                continue
            if crowd:
                crowd_of_class = true  # the last one listed
                continue
            iou = (true & predicted).sum() / (true | (predicted & ~void)).sum()
            if iou > 0.5:
                sums[label] += iou, 1, 0, 0
                missed.remove(int(gt_id))
                matched = True
        forgiven |= crowd_of_class
        if not matched and (predicted & forgiven).sum() / predicted.sum() <= 0.5:
            sums[label, 2] += 1
    for gt_id, gt_label in zip(gt.ids, gt.labels):
        sums[gt_label, 3] += int(gt_id) in missed
    return sums


@pytest.mark.parametrize('seed', range(60))
def test_image_pq_matches_definition(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(5, 30, 2))
    gt = random_segments(rng, size, big_ids=seed % 2 == 0)
    gt.crowd = rng.random(len(gt.ids)) < 0.3
    pred = noisy_copy(rng, gt) if seed % 3 else random_segments(rng, size, big_ids=True)
    expected = definition(gt, pred)
    np.testing.assert_allclose(image_pq(gt, pred, NUM_CLASSES).sums, expected, atol=1e-12)


def test_every_pixel_its_own_segment():
    rng = np.random.default_rng(0)
    gt_map = rng.permutation(np.arange(1, 401)).reshape(20, 20)
    gt = PanopticMap(gt_map, np.arange(1, 401), rng.integers(0, NUM_CLASSES, 400))
    stat = image_pq(gt, PanopticMap(gt_map * 40000, gt.ids * 40000, gt.labels), NUM_CLASSES)
    assert stat.tp.sum() == 400 and stat.fp.sum() == stat.fn.sum() == 0
    assert stat.iou.sum() == 400


def hand_made(gt_rows: list, pred_rows: list, crowd: tuple = ()) -> PQStat:
    """One class; crowd names ids of the ground truth."""
    gt_map, pred_map = np.array(gt_rows), np.array(pred_rows)
    gt_ids, pred_ids = np.setdiff1d(gt_map, 0), np.setdiff1d(pred_map, 0)
    return image_pq(
        PanopticMap(gt_map, gt_ids, np.zeros(len(gt_ids)), np.isin(gt_ids, crowd)),
        PanopticMap(pred_map, pred_ids, np.zeros(len(pred_ids))), 1)


@pytest.mark.parametrize('gt, pred, crowd, expected', [
    # IoU of exactly 0.5 is no match
    ([[1, 1, 2, 2]], [[1, 0, 2, 2]], (), (1, 1, 1, 1)),
    # void is not part of the union: 3 / 3
    ([[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 1]], (), (1, 1, 0, 0)),
    # exactly half on void is still a false positive, more is forgiven
    ([[1, 1, 1, 1, 0]], [[0, 0, 0, 1, 1]], (), (0, 0, 1, 1)),
    ([[1, 1, 1, 0, 0]], [[0, 0, 1, 1, 1]], (), (0, 0, 0, 1)),
    # a crowd is neither matched nor missed, and half void half crowd is forgiven
    ([[1, 1, 0]], [[1, 1, 0]], (1,), (0, 0, 0, 0)),
    ([[1, 0, 2, 2]], [[3, 3, 0, 0]], (1,), (0, 0, 0, 1)),
    # nothing predicted, nothing annotated
    ([[1, 1, 2]], [[0, 0, 0]], (), (0, 0, 0, 2)),
    ([[0, 0, 0]], [[1, 1, 2]], (), (0, 0, 0, 0)),
    ([[0, 0, 0]], [[0, 0, 0]], (), (0, 0, 0, 0)),
])
def test_hand_made_cases(gt, pred, crowd, expected):
    assert hand_made(gt, pred, crowd).sums.tolist() == [list(expected)]


def test_other_void_values():
    gt_map, pred_map = np.array([[7, 7, -1]]), np.array([[1000, 1000, 3]], np.int64)
    stat = image_pq(PanopticMap(gt_map, [7], [0], void=-1),
                    PanopticMap(pred_map, [1000], [0], void=3), 3)
    assert stat.sums[0].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.uint32, np.int64])
def test_map_types(dtype):
    gt_map = np.array([[5, 5, 0, 100]], dtype)
    segments = PanopticMap(gt_map, [100, 5], [1, 0])
    assert image_pq(segments, segments, 2).sums.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]


def test_ids_that_differ_in_high_bits_only():
    ids = np.array([7, 7 + (1 << 12), 7 + (1 << 23), (1 << 24) - 1])
    segments = PanopticMap(np.append(ids, -1)[None], ids, np.zeros(4), void=-1)
    assert image_pq(segments, segments, 1).sums.tolist() == [[4, 4, 0, 0]]


def test_stat_adds_up_and_averages():
    stat = PQStat(3)
    stat += PQStat(3, np.array([[0.8, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 2.]]))
    stat += PQStat(3, np.array([[0.6, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0.]]))
    stat = pickle.loads(pickle.dumps(stat))
    assert (stat.tp.tolist(), stat.fp.tolist(), stat.fn.tolist()) == ([2, 0, 0], [1, 0, 1],
                                                                      [1, 0, 2])
    pq, sq, rq, occurs = stat.per_class()
    assert pq == pytest.approx([1.4 / 3, 0, 0]) and sq == pytest.approx([0.7, 0, 0])
    assert rq == pytest.approx([2 / 3, 0, 0]) and occurs.tolist() == [True, False, True]
    assert stat.average() == pytest.approx(dict(pq=0.7 / 3, sq=0.35, rq=1 / 3, n=2))
    assert stat.average(np.array([False, True, False])) == dict(pq=0, sq=0, rq=0, n=0)


@pytest.mark.parametrize('gt, pred, message', [
    (([[1, 1]], [1]), ([[1], [1]], [1]), 'has 1x2 pixels, but .* has 2x1'),
    (([[1, 1]], [1]), ([[2, 0]], [2, 3]), r'segment\(s\) \[3\] of prediction p.png .* no pixel'),
    (([[1, 1]], [1, 9]), ([[2, 0]], [2]), r'segment\(s\) \[9\] of truth t.png .* no pixel'),
    (([[1, 1]], [1]), ([[2, 4]], [2]), r'segment\(s\) \[4\] .* map of prediction p.png but not'),
    (([[1, 4097]], [1]), ([[2, 2]], [2]), r'segment\(s\) \[4097\] .* map of truth t.png but not'),
    (([[1, 1]], [1]), ([[2, 2]], [2, 2]), 'prediction p.png: segment 2 is listed more than once'),
    (([[1, 1]], [1]), ([[2, 2]], [1 << 31]), 'prediction p.png: segment ids must be in 0'),
    (([[1, 1]], [1]), ([[2, 0]], [2, 0]), 'prediction p.png: segments_info lists id 0'),
])
def test_contradictions(gt, pred, message):
    with pytest.raises(PanopticDataError, match=message) as error:
        sides = [PanopticMap(np.array(rows), ids, [0] * len(ids), name=name)
                 for (rows, ids), name in ((gt, 'truth t.png'), (pred, 'prediction p.png'))]
        image_pq(*sides, 1, 'image 5')
    # existing scripts may catch the official evaluation's KeyError
    assert isinstance(error.value, KeyError) and not str(error.value).startswith("'")
