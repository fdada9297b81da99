"""Which kind of segment every query likes, and how good it is at either (Panoptic SegFormer, B.4).

Shapes: N queries.
"""
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmpanseg.evaluation.ground_truth import read_ground_truth
from mmpanseg.evaluation.metric_base import make_table, sample_name
from mmpanseg.evaluation.panoptic_metric import predicted_segments
from mmpanseg.evaluation.panoptic_quality import PanopticDataError, match_segments, segment_overlaps
from mmpanseg.models.heads import PanopticSegFormerHead
from mmpanseg.structures.mask_logits import MaskLogits

GROUPS = 10


class QueryRows(NamedTuple):
    """What the head predicts, a row for each candidate, and the query behind each row."""
    cls_logits: Tensor
    mask_logits: MaskLogits
    queries: Tensor


class QueryCounts:
    """Segments of the panoptic results, by the query they come from.

    Attributes:
        right, wrong: int64 [N, 2], true and false positives; column 0 things, column 1 stuff.
    """

    def __init__(self) -> None:
        self.right = np.zeros((0, 2), np.int64)
        self.wrong = np.zeros((0, 2), np.int64)

    def add(self, queries: np.ndarray, is_stuff: np.ndarray, right: np.ndarray) -> None:
        """Count segments: int64 [n] query, bool [n] whether it is stuff, bool [n] whether true."""
        missing = queries.max(initial=-1) + 1 - len(self.right)
        if missing > 0:
            self.right, self.wrong = (np.pad(counts, ((0, missing), (0, 0)))
                                      for counts in (self.right, self.wrong))
        for counts, chosen in ((self.right, right), (self.wrong, ~right)):
            np.add.at(counts, (queries[chosen], is_stuff[chosen].astype(int)), 1)

    @property
    def preference(self) -> np.ndarray:
        """P_t of every query (Equation 1), float64 [N]: share of things; nan without segments."""
        things, stuff = (self.right + self.wrong).T
        with np.errstate(invalid='ignore'):
            return things / (things + stuff)


@torch.no_grad()
def predict_rows(model: nn.Module, data: dict) -> tuple[QueryRows, list]:
    """Predictions of a batch before fusion with their queries, and its samples."""
    batch = model.data_preprocessor(data, False)
    metainfos = [sample.metainfo for sample in batch['data_samples']]
    if isinstance(model.panoptic_head, PanopticSegFormerHead):
        rows = model.panoptic_head(model.extract_feat(batch['inputs']), metainfos)
        rows = QueryRows(rows.cls_logits.float(), rows.masks.float(), rows.queries)
    else:
        cls_logits, mask_logits = model.predict_queries(batch['inputs'], metainfos)
        queries = torch.arange(cls_logits.shape[1]).expand(len(cls_logits), -1)
        rows = QueryRows(cls_logits, mask_logits, queries)
    return rows, batch['data_samples']


def count_queries(model: nn.Module, batches: Iterable[dict]) -> QueryCounts:
    """Count the segments of a model's panoptic results query by query.

    A segment is right when its IoU with one of the ground truth of its class is above 0.5, as in
    panoptic quality; segments that panoptic quality forgives (void, crowd) do not count.

    Args:
        model: a :class:`MaskTransformer` in evaluation mode with ``dataset_meta``.
        batches: of samples with ground truth, as from a test data loader.

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
    """Rows of Table B.6: ten groups of P_t, the last one closed, and the total.

    Returns:
        dicts with ``low``, ``high`` (of P_t), ``queries``, and for 'stuff' and 'thing' a tuple
        (TP, TP + FP). Queries that never give a segment are in no group.
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
    """Table B.6: precision on stuff and things by P_t."""
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
