"""Consistency of queries between decoder layers (MP-Former, section 3).

Shapes: L decoder layers with L + 1 predictions, number 0 before the first layer; N queries, h, w
mask size, O segments of an image.
"""
from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmpanseg.registry import METRICS


def mask_consistency(masks: Tensor) -> Tensor:
    """Compute the IoU of each query's masks in consecutive predictions (equation 1 per query).

    Args:
        masks: bool [L + 1, N, h, w].

    Returns:
        float [L, N] in 0 .. 1; 1 for two empty masks.
    """
    flat = masks.flatten(2)
    overlap = (flat[1:] & flat[:-1]).sum(2)
    area = flat.sum(2)
    union = area[1:] + area[:-1] - overlap
    return torch.where(union > 0, overlap / union.clamp(min=1), 1.0)


def query_utilization(assignments: Tensor, num_segments: int) -> Tensor:
    """Compute the share of segments with the same query as in the last prediction (equation 3).

    Args:
        assignments: int64 [L + 1, N], segment matched to each query, or -1 (equation 2).
        num_segments: O, at least 1.

    Returns:
        float [L + 1] in 0 .. 1; the last value is min(N, O) / O.
    """
    kept = (assignments == assignments[-1]) & (assignments != -1)
    return kept.sum(1) / num_segments


@METRICS.register_module()
class QueryConsistencyMetric(BaseMetric):
    """mIoU-L^i and Util^i in percent, averaged over images (MP-Former, table 1).

    Samples need ``query_trace``: a dict of ``masks`` bool [L + 1, N, h, w], ``assignments``
    int64 [L + 1, N] and ``num_segments``, as returned by
    :func:`mmpanseg.evaluation.query_trace.trace_queries`. Images without segments are excluded from
    Util, images without queries from mIoU-L. The scores are ``mIoU-L_1`` to ``mIoU-L_{L}`` and
    ``Util_0`` to ``Util_{L}``.

    Args:
        collect_device: device on which mmengine's BaseMetric collects results, ``'cpu'`` or
            ``'gpu'``.
        prefix: prefix of the score names; none by default.
    """

    def __init__(self, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Append (mIoU-L or None, Util or None) of each sample to ``results``."""
        for sample in data_samples:
            trace = sample['query_trace']
            consistency = mask_consistency(trace['masks'])
            count = trace['num_segments']
            self.results.append((
                consistency.mean(1).cpu() if consistency.shape[1] else None,
                query_utilization(trace['assignments'], count).cpu() if count else None))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Average the scores; a score without any image is omitted."""
        metrics: dict[str, float] = {}
        for name, first, per_image in zip(('mIoU-L', 'Util'), (1, 0), zip(*results)):
            values = [value for value in per_image if value is not None]
            if values:
                means = 100 * torch.stack(values).double().mean(0)
                metrics.update(
                    (f'{name}_{i}', mean) for i, mean in enumerate(means.tolist(), first))
        return metrics
