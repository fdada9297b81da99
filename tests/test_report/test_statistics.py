"""Figures of records, by hand and against plain definitions."""
import numpy as np
import pytest

from mmpanseg.evaluation.panoptic_quality import PanopticMap
from mmpanseg.report.prediction import in_order
from mmpanseg.report.records import ImageRecord, SegmentRecord
from mmpanseg.report.scoring import score_image
from mmpanseg.report.statistics import Calibration, Confusion, SizeRecall, Totals, image_quality

from .made_sets import NAMES, maps


def segment(side, number, label, kind, partner=None, **values):
    return SegmentRecord(side, number, label, values.pop('area', 10), (0, 0, 1, 1), kind,
                         values.pop('iou', 0.0), partner=partner,
                         match=partner if kind == 'matched' else None, **values)


def image(*segments):
    return ImageRecord(0, 0, 'a', 'a', (1, 1), segments=list(segments))


def test_confusion_by_hand():
    """One of each: match, wrong class, missed, invented, ignored, crowd."""
    confusion = Confusion(3)
    confusion.add(image(
        segment('gt', 1, 0, 'matched', 11), segment('gt', 2, 0, 'wrong_class', 12),
        segment('gt', 3, 1, 'missed'), segment('gt', 4, 1, 'ignored'),
        segment('pred', 11, 0, 'matched', 1), segment('pred', 12, 2, 'wrong_class', 2),
        segment('pred', 13, 1, 'invented'), segment('pred', 14, 2, 'ignored')))
    assert confusion.counts.tolist() == [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    made = confusion.as_dict(['a', 'b', 'c'])
    assert made['rows'] == ['a', 'b', 'c', 'invented']
    assert made['columns'] == ['a', 'b', 'c', 'missed']


def test_calibration_by_hand():
    """Bins 0.2 .. 0.3 and 0.9 .. 1: the error is the weighted mean of 0.25 and 0.04."""
    calibration = Calibration()
    assert calibration.as_dict() is None
    calibration.add(image(
        segment('pred', 1, 0, 'matched', 1, score=1.0), segment('pred', 2, 0, 'matched', 2,
                                                                  score=0.92),
        segment('pred', 3, 0, 'invented', score=0.25), segment('pred', 4, 0, 'ignored', score=0.5),
        segment('pred', 5, 0, 'invented'), segment('gt', 1, 0, 'matched', 1)))
    made = calibration.as_dict()
    assert made['n'] == 3
    assert [entry['n'] for entry in made['bins']] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 2]
    assert made['bins'][9] == dict(low=0.9, high=1.0, n=2, score=pytest.approx(0.96), right=1.0)
    assert made['bins'][0]['score'] is None
    assert made['ece'] == pytest.approx(0.25 / 3 + 0.04 * 2 / 3)


def test_size_recall_by_hand():
    """Limits belong to the larger bin; crowds do not count."""
    sizes = SizeRecall()
    sizes.add(image(
        segment('gt', 1, 0, 'matched', 1, area=63, iou=0.8), segment('gt', 2, 0, 'missed', area=64),
        segment('gt', 3, 0, 'matched', 3, area=255, iou=0.6),
        segment('gt', 4, 0, 'ignored', area=64), segment('pred', 1, 0, 'matched', 1, area=64),
        segment('gt', 5, 0, 'near_miss', area=4 ** 9)))
    made = sizes.as_list()
    assert made[0] == dict(low=0, high=64, n=1, found=1, iou=0.8)
    assert made[1] == dict(low=64, high=256, n=2, found=1, iou=0.6)
    assert made[-1] == dict(low=4 ** 9, high=None, n=1, found=0, iou=None)
    assert sum(entry['n'] for entry in made) == 4


def plain_confusion(truth, segments, pred, predicted):
    """The definition, with a mask for each segment; no crowds of predictions."""
    labels = {name: label for label, name in enumerate(NAMES)}
    counts = np.zeros((5, 5), int)
    void = truth == 0
    paired = set()
    for gt_id, gt_name, crowd in segments:
        if crowd:
            continue
        column = 4
        for pred_id, pred_name, _ in predicted:
            one, other = truth == gt_id, (pred == pred_id) & ~void
            if (one & other).sum() > 0.5 * (one | other).sum():
                column = labels[pred_name]
                paired.add(pred_id)
        counts[labels[gt_name], column] += 1
    for pred_id, pred_name, _ in predicted:
        mask = pred == pred_id
        ignored = void.copy()
        for gt_id, gt_name, crowd in segments:
            if crowd and gt_name == pred_name:
                ignored = void | (truth == gt_id)  # the last crowd counts, as in PQ
        if pred_id not in paired and (mask & ignored).sum() <= 0.5 * mask.sum():
            counts[4, labels[pred_name]] += 1
    return counts


def scored(seed):
    truth, segments, pred, predicted = made = maps(np.random.default_rng(seed))
    labels = {name: label for label, name in enumerate(NAMES)}
    gt = PanopticMap(truth, [entry[0] for entry in segments],
                     [labels[entry[1]] for entry in segments], [entry[2] for entry in segments])
    prediction = in_order(PanopticMap(
        pred, [entry[0] for entry in predicted], [labels[entry[1]] for entry in predicted]),
        {entry[0]: 0.5 for entry in predicted}, {})
    record = ImageRecord(seed, seed, str(seed), '', (0, 0))
    return made, score_image(record, gt, prediction, NAMES, 0.02)


def test_confusion_against_the_definition():
    """Random scenes; the margins are those of PQ."""
    totals, expected = Totals(4), np.zeros((5, 5), int)
    for seed in range(25):
        made, found = scored(seed)
        totals.add(found.record)
        expected += plain_confusion(*made)
    counts = totals.confusion.counts
    np.testing.assert_array_equal(counts, expected)
    assert counts[:4, :4].diagonal().sum() > 20 and counts[4].any() and counts[:, 4].any()
    stat = totals.stats['all']
    np.testing.assert_array_equal(counts.diagonal()[:4], stat.tp)
    np.testing.assert_array_equal(counts[:4].sum(1), stat.tp + stat.fn)
    assert (counts[:, :4].sum(0) >= stat.tp + stat.fp).all()


def test_records_agree_with_their_sums():
    """Kinds, pixels and averages of an image are those of its sums."""
    for seed in range(10):
        _, found = scored(seed)
        record = found.record
        assert sum(record.pixels.values()) == record.size[0] * record.size[1]
        matched = [entry for entry in record.segments if entry.kind == 'matched']
        assert len(matched) == 2 * record.tp
        for side, errors in (('gt', record.fn), ('pred', record.fp)):
            assert sum(entry.side == side and entry.kind not in ('matched', 'ignored')
                       for entry in record.segments) == errors
        for entry in record.segments:
            ids = found.gt.map if entry.side == 'gt' else found.pred.segments.map
            rows, columns = np.nonzero(ids == entry.id)
            assert entry.area == len(rows)
            assert entry.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        small = [sum(row[2] for row in record.sums[size]) for size in ('small', 'medium', 'large')]
        assert sum(small) == record.tp


def test_image_quality():
    """The mean over the classes that occur."""
    assert image_quality([]) is None
    assert image_quality([[0, 1.4, 2, 0, 0], [3, 0.0, 0, 1, 1]]) == (
        pytest.approx(0.35), pytest.approx(0.35), pytest.approx(0.5))


def test_order_of_segments_does_not_depend_on_ids():
    """Two codings of one prediction become equal; scores stay with their segments."""
    first = np.array([[5, 5, 9], [2, 2, 9]])
    second = np.array([[1, 1, 3], [7, 7, 3]])
    one = in_order(PanopticMap(first, [9, 5, 2], [0, 1, 0]), {9: 0.9, 5: 0.5, 2: 0.2}, {2: 4})
    two = in_order(PanopticMap(second, [1, 3, 7], [1, 0, 0]), {3: 0.9, 1: 0.5, 7: 0.2}, {7: 4})
    np.testing.assert_array_equal(one.segments.map, two.segments.map)
    np.testing.assert_array_equal(one.segments.map, [[3, 3, 1], [2, 2, 1]])
    assert one.segments.labels.tolist() == [0, 0, 1]
    assert one.scores == two.scores == [0.9, 0.2, 0.5]
    assert one.queries == two.queries == [None, 4, None]
