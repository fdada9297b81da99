"""Preference of queries for things or stuff and their precision (Panoptic SegFormer, B.4).

N: number of queries.
"""
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmpanseg.evaluation.ground_truth import read_ground_truth
from mmpanseg.evaluation.metric_base import make_table, sample_name
from mmpanseg.evaluation.panoptic_metric import predicted_segments
from mmpanseg.evaluation.panoptic_quality import PanopticDataError, match_segments, segment_overlaps
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.structures.mask_logits import MaskLogits

GROUPS = 10


class QueryRows(NamedTuple):
    """Predictions of a head, one row per candidate.

    Args:
        cls_logits: class logits.
        mask_logits: mask logits.
        queries: index of the query of each row.
    """
    cls_logits: Tensor
    mask_logits: MaskLogits
    queries: Tensor


class QueryCounts:
    """Numbers of segments of panoptic results by query.

    Attributes:
        right: true positives, int64 [N, 2]; column 0 things, column 1 stuff.
        wrong: false positives, the same.
    """

    def __init__(self) -> None:
        self.right: np.ndarray = np.zeros((0, 2), np.int64)
        self.wrong: np.ndarray = np.zeros((0, 2), np.int64)

    def add(self, queries: np.ndarray, is_stuff: np.ndarray, right: np.ndarray) -> None:
        """Add n segments.

        Args:
            queries: their queries, int64 [n].
            is_stuff: whether each one is stuff, bool [n].
            right: whether each one is a true positive, bool [n].
        """
        missing = queries.max(initial=-1) + 1 - len(self.right)
        if missing > 0:
            self.right, self.wrong = (np.pad(counts, ((0, missing), (0, 0)))
                                      for counts in (self.right, self.wrong))
        for counts, chosen in ((self.right, right), (self.wrong, ~right)):
            np.add.at(counts, (queries[chosen], is_stuff[chosen].astype(int)), 1)

    @property
    def preference(self) -> np.ndarray:
        """P_t of each query (Equation 1): share of things, float64 [N]; nan without segments."""
        things, stuff = (self.right + self.wrong).T
        with np.errstate(invalid='ignore'):
            return things / (things + stuff)


@torch.no_grad()
def predict_rows(model: MaskTransformer, data: dict) -> tuple[QueryRows, list]:
    """Predict a batch up to the fusion; return the rows with their queries, and the samples."""
    batch = model.get_submodule('data_preprocessor')(data, False)
    metainfos = [sample.metainfo for sample in batch['data_samples']]
    rows = QueryRows(*model.panoptic_head.predict_with_queries(
        model.extract_feat(batch['inputs']), metainfos))
    return rows, batch['data_samples']


def count_queries(model: MaskTransformer, batches: Iterable[dict]) -> QueryCounts:
    """Count the segments of a model's panoptic results query by query.

    As in panoptic quality, a segment is right if its IoU with a segment of its class in the ground
    truth is above 0.5; segments that panoptic quality ignores (void, crowd) are not counted.

    Args:
        model: segmentor in evaluation mode with ``dataset_meta``.
        batches: batches of a test data loader with ground truth.

    Raises:
        PanopticDataError: an image has no ground truth.
    """
    counts, num_classes = QueryCounts(), model.num_classes
    for data in batches:
        rows, samples = predict_rows(model, data)
        results = model.panoptic_fusion_head.predict(
            rows.cls_logits, rows.mask_logits, [sample.metainfo for sample in samples])
        for sample, result, queries in zip(samples, results, rows.queries.cpu().numpy()):
            for name, value in result.items():
                setattr(sample, name, value)
            _count_image(counts, sample.to_dict(), queries, model.dataset_meta, num_classes)
    return counts


def _count_image(counts: QueryCounts, sample: dict, queries: np.ndarray, dataset_meta: dict,
                 num_classes: int) -> None:
    gt, pred = read_ground_truth(sample, dataset_meta), predicted_segments(sample, num_classes)
    image = sample_name(sample)
    if gt is None:
        raise PanopticDataError(f'{image} has no panoptic annotation; query preference needs a '
                                'data set with ground truth')
    matching = match_segments(gt, pred, segment_overlaps(gt, pred, image), image)
    infos = {info['id']: info for info in sample['pred_panoptic_seg']['segments_info']}
    chosen = np.zeros(len(pred.ids), bool)
    chosen[matching.pred] = True
    counted = np.flatnonzero(chosen | matching.wrong)
    rows = [infos[pred.ids[k]]['query'] for k in counted]
    is_stuff = np.array([not infos[pred.ids[k]]['isthing'] for k in counted], bool)
    counts.add(queries[rows], is_stuff, chosen[counted])


def group_by_preference(counts: QueryCounts) -> list[dict]:
    """Compute the rows of Table B.6: ten intervals of P_t, the last one closed, and the total.

    Returns:
        dicts with the limits of P_t, ``low`` and ``high``, the number of ``queries``, and a tuple
        (TP, TP + FP) for each of ``stuff`` and ``thing``. Queries without segments are in no row.
    """
    preference = counts.preference
    used = ~np.isnan(preference)
    group = np.full(len(preference), -1)
    group[used] = np.minimum((preference[used] * GROUPS + 1e-9).astype(int), GROUPS - 1)
    rows = []
    for number in [*range(GROUPS), None]:
        members = used if number is None else group == number
        right = counts.right[members].sum(0).tolist()
        all_ = (counts.right + counts.wrong)[members].sum(0).tolist()
        rows.append(dict(
            low=0.0 if number is None else number / GROUPS,
            high=1.0 if number is None else (number + 1) / GROUPS,
            queries=int(members.sum()), thing=(right[0], all_[0]), stuff=(right[1], all_[1])))
    return rows


def table_b6(counts: QueryCounts) -> str:
    """Format Table B.6: precision on stuff and things by P_t."""
    *groups, total = group_by_preference(counts)
    rows = [['P_t', 'queries', 'stuff TP', 'stuff TP+FP', 'precision', 'thing TP', 'thing TP+FP',
             'precision']]
    for row in groups:
        rows.append([f'{row["low"]:.1f} - {row["high"]:.1f}', *_cells(row)])
    return make_table([*rows, ['total', *_cells(total)]])


def _cells(row: Mapping) -> list:
    cells = [row['queries']]
    for right, all_ in (row['stuff'], row['thing']):
        cells += [right, all_, f'{right / all_:.2f}' if all_ else '-']
    return cells
