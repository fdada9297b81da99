"""Counts by query against panoptic quality, and groups against Table B.6."""
import numpy as np
import pytest

from mmpanseg.analysis.query_preference import (
    QueryCounts,
    count_queries,
    group_by_preference,
    table_b6,
)
from mmpanseg.evaluation import PanopticDataError, PanopticMetric
from mmpanseg.evaluation.boundary_and_size_pq import expand_stats, sum_stats


def test_counts_are_those_of_panoptic_quality(model_and_loader):
    _, model, loader = model_and_loader
    counts = count_queries(model, loader)
    metric = PanopticMetric(classwise=False)
    metric.dataset_meta = model.dataset_meta
    model.panoptic_head.restart()
    for data in loader:
        metric.process(data, [sample.to_dict() for sample in model.test_step(data)])
    total = sum_stats(expand_stats(stats, len(model.dataset_meta['classes']))
                      for stats, _ in metric.results)['all']
    for column, classes in enumerate((slice(0, 6), slice(6, 12))):
        assert counts.right[:, column].sum() == total.tp[classes].sum() > 0
        assert counts.wrong[:, column].sum() == total.fp[classes].sum()
    assert total.fp.sum() > 0


def test_queries_are_told_apart():
    counts = QueryCounts()
    counts.add(np.array([2, 0, 2]), np.array([False, True, True]), np.array([True, False, True]))
    counts.add(np.array([4]), np.array([False]), np.array([False]))
    counts.add(np.array([], int), np.array([], bool), np.array([], bool))
    assert counts.right.tolist() == [[0, 0], [0, 0], [1, 1], [0, 0], [0, 0]]
    assert counts.wrong.tolist() == [[0, 1], [0, 0], [0, 0], [0, 0], [1, 0]]
    np.testing.assert_equal(counts.preference, [0, np.nan, 0.5, np.nan, 1])


# queries, stuff TP, stuff TP + FP, precision, the same of things (Table B.6)
TABLE = [(44, 7318, 10060, 0.73, 136, 222, 0.61), (17, 839, 1308, 0.64, 140, 198, 0.71),
         (4, 121, 212, 0.57, 53, 69, 0.77), (11, 339, 646, 0.52, 252, 368, 0.68),
         (10, 211, 446, 0.47, 212, 365, 0.58), (15, 327, 684, 0.48, 477, 903, 0.53),
         (24, 339, 810, 0.42, 1001, 1465, 0.68), (40, 400, 1094, 0.37, 2019, 3255, 0.62),
         (83, 539, 1586, 0.34, 6325, 9687, 0.65), (105, 309, 1029, 0.30, 11252, 16724, 0.67)]


def test_table_b6_is_printed_as_published():
    counts = QueryCounts()
    for queries, stuff, all_stuff, _, things, all_things, _ in TABLE:
        # one query has them all, the others of the group as few as P_t allows
        right = np.zeros((queries, 2), int)
        right[0] = things, stuff
        wrong = np.zeros((queries, 2), int)
        wrong[0] = all_things - things, all_stuff - stuff
        counts.right = np.concatenate([counts.right, right])
        counts.wrong = np.concatenate([counts.wrong, wrong])
    lines = [[cell.strip() for cell in line.split('|')[1:-1]]
             for line in table_b6(counts).splitlines() if line.startswith('|')]
    for line, (_, *expected) in zip(lines[1:11], TABLE, strict=True):
        expected[2], expected[5] = f'{expected[2]:.2f}', f'{expected[5]:.2f}'
        assert line[1:] == ['1', *(str(x) for x in expected)]
    assert lines[11][2:] == ['10742', '17875', '0.60', '21867', '33256', '0.66']


@pytest.mark.parametrize('things, stuff, group', [
    (0, 5, 0), (1, 9, 1), (3, 7, 3), (6, 4, 6), (7, 3, 7), (9, 1, 9), (4, 0, 9)])
def test_groups_begin_at_tenths_and_the_last_is_closed(things, stuff, group):
    counts = QueryCounts()
    counts.right = np.array([[things, stuff]])
    counts.wrong = np.zeros((1, 2), int)
    assert [row['queries'] for row in group_by_preference(counts)] == [
        int(number in (group, 10)) for number in range(11)]


def test_no_ground_truth(model_and_loader):
    _, model, loader = model_and_loader
    batches = list(loader)
    batches[0]['data_samples'][0].set_metainfo(dict(seg_map_path=None))
    with pytest.raises(PanopticDataError, match='ground truth'):
        count_queries(model, batches)
