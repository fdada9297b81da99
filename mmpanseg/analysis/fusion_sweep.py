"""Comparison of fusion heads on saved outputs (Panoptic SegFormer, appendix B)."""
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from mmdet.structures import DetDataSample

from mmpanseg.analysis.raw_outputs import RawOutputs
from mmpanseg.evaluation.ground_truth import read_ground_truth
from mmpanseg.evaluation.metric_base import make_table, sample_name
from mmpanseg.evaluation.panoptic_metric import predicted_segments
from mmpanseg.evaluation.panoptic_quality import PanopticDataError, PQStat, image_pq
from mmpanseg.models.fusion_heads.base import READING
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.registry import MODELS

Key = TypeVar('Key', bound=Hashable)

EXPONENTS = ((1, 0), (0, 1), (1, 1), (1, 2), (1, 3))
T_CNF = (0.20, 0.25, 0.30, 0.35, 0.40)
T_KEEP = (0.9, 0.8, 0.7, 0.6, 0.5)
MASK_WISE = 'mmpanseg.MaskWiseFusionHead'


def score_fusion_heads(raw: RawOutputs,
                       heads: Mapping[Key, dict]) -> dict[Key, dict[str, float]]:
    """Compute the PQ of several fusion heads on the same outputs; each image is read once.

    Args:
        raw: outputs of a model.
        heads: configs of fusion heads by name.

    Returns:
        ``PQ``, ``PQ_th`` and ``PQ_st`` in percent by name of the head.

    Raises:
        PanopticDataError: no image has ground truth.
    """
    classes = raw.dataset_meta['classes']
    built = {name: MODELS.build(config, default_args=raw.num_classes)
             for name, config in heads.items()}
    total = {name: PQStat(len(classes)) for name in heads}
    annotated = 0
    for output in raw:
        gt = read_ground_truth(output.sample, raw.dataset_meta)
        if gt is None:
            continue
        annotated += 1
        for name, head in built.items():
            result = head.fuse([output.view(head)], OutputOptions())
            sample = DetDataSample(metainfo=output.sample, **result).to_dict()
            total[name] += image_pq(gt, predicted_segments(sample, len(classes)), len(classes),
                                    sample_name(sample))
    if not annotated:
        raise PanopticDataError(f'no image of {raw.folder} has a panoptic annotation, so there is '
                                'nothing to score against; save outputs of a validation set')
    is_thing = np.arange(len(classes)) < raw.num_classes['num_things_classes']
    groups = {'PQ': np.ones_like(is_thing), 'PQ_th': is_thing, 'PQ_st': ~is_thing}
    return {name: {key: 100 * stat.average(group)['pq'] for key, group in groups.items()}
            for name, stat in total.items()}


def mask_wise(raw: RawOutputs, **settings) -> dict:
    """Return a config of mask-wise merging: the settings of the model, updated."""
    own = raw.fusion_head
    if own['type'] != MASK_WISE:
        own = reading(raw)
    return {**own, 'type': MASK_WISE, **settings}


def reading(raw: RawOutputs) -> dict:
    """Return the options of the model's fusion head on the form of its outputs."""
    return {key: raw.fusion_head[key] for key in READING if key in raw.fusion_head}


def heads_of_table_b2(raw: RawOutputs, t_cnf: float = 0.25, t_keep: float = 0.6,
                      stuff_area_limit: int = 64 * 64) -> dict[str, dict]:
    """Return the configs of the procedures of Table B.2.

    The paper does not mention the thresholds of the comparison.

    Args:
        raw: outputs of a model.
        t_cnf: score threshold of both kinds of arg-max and of mask-wise merging.
        t_keep: smallest share of its mask that a query must win in these procedures.
        stuff_area_limit: smallest area of stuff in pixels in the heuristic procedure; the default
            is that of the public tool.
    """
    pixel_wise = dict(reading(raw), type='mmpanseg.PixelwiseFusionHead', object_mask_thr=t_cnf,
                      iou_thr=t_keep, filter_low_score=False)
    return {
        'model as configured': raw.fusion_head,
        'pixel-wise arg-max': dict(pixel_wise, weighted=False),
        'pixel-wise arg-max x score': pixel_wise,
        'heuristic procedure': dict(reading(raw), type='mmpanseg.HeuristicFusionHead',
                                    stuff_area_limit=stuff_area_limit),
        'mask-wise merging': mask_wise(raw, t_cnf=t_cnf, t_keep=t_keep)}


def table_b2(raw: RawOutputs, **options) -> str:
    """Format PQ, PQ_th and PQ_st by procedure, see :func:`heads_of_table_b2`."""
    scores = score_fusion_heads(raw, heads_of_table_b2(raw, **options))
    return _table(['method'], {(name, ): row for name, row in scores.items()})


def table_b3(raw: RawOutputs, exponents: Sequence[tuple[float, float]] = EXPONENTS) -> str:
    """Format PQ, PQ_th and PQ_st by alpha and beta."""
    return _table(['alpha', 'beta'], score_fusion_heads(raw, {
        (alpha, beta): mask_wise(raw, alpha=alpha, beta=beta) for alpha, beta in exponents}))


def table_b4(raw: RawOutputs, t_cnf: Sequence[float] = T_CNF,
             t_keep: Sequence[float] = T_KEEP) -> str:
    """Format PQ by t_cnf (rows) and t_keep (columns)."""
    scores = score_fusion_heads(raw, {
        (confidence, keep): mask_wise(raw, t_cnf=confidence, t_keep=keep)
        for confidence in t_cnf for keep in t_keep})
    rows = [['t_cnf \\ t_keep', *(f'{keep:g}' for keep in t_keep)]]
    rows += [[f'{confidence:g}', *(f'{scores[confidence, keep]["PQ"]:.1f}' for keep in t_keep)]
             for confidence in t_cnf]
    return make_table(rows)


def _table(heads: Sequence[str], scores: Mapping[tuple, dict[str, float]]) -> str:
    columns = next(iter(scores.values()))
    return make_table([[*heads, *columns]] + [
        [*name, *(f'{row[column]:.1f}' for column in columns)] for name, row in scores.items()])
