"""How steady queries are from decoder layer to decoder layer (MP-Former section 3).

Shapes: L decoder layers, so L + 1 predictions, number 0 before the first layer; N queries, h, w
mask size, O segments of an image.
"""
from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmpanseg.registry import METRICS


def mask_consistency(masks: Tensor) -> Tensor:
    """IoU of every query's masks in consecutive predictions (Equation 1, before the mean).

    Args:
        masks: bool [L + 1, N, h, w].

    Returns:
        float [L, N]; two empty masks are consistent, 1.
    """
    flat = masks.flatten(2)
    overlap = (flat[1:] & flat[:-1]).sum(2)
    area = flat.sum(2)
    union = area[1:] + area[:-1] - overlap
    return torch.where(union > 0, overlap / union.clamp(min=1), 1.0)


def query_utilization(assignments: Tensor, num_segments: int) -> Tensor:
    """Share of segments that a prediction gives to the query that has it at last (Equation 3).

    Args:
        assignments: int64 [L + 1, N], segment of each query or -1 (Equation 2).
        num_segments: O, at least 1.

    Returns:
        float [L + 1]; the last is min(N, O) / O.
    """
    kept = (assignments == assignments[-1]) & (assignments != -1)
    return kept.sum(1) / num_segments


@METRICS.register_module()
class QueryConsistencyMetric(BaseMetric):
    """mIoU-L^i and Util^i in percent, means over images (MP-Former, Table 1).

    Samples need ``query_trace``: a dict of ``masks`` bool [L + 1, N, h, w], ``assignments``
    int64 [L + 1, N] and ``num_segments``, as
    :func:`mmpanseg.evaluation.query_trace.trace_queries` makes it. Images without segments have
    no Util, those without queries no mIoU-L. Results are ``mIoU-L_1`` to ``mIoU-L_{L}`` and
    ``Util_0`` to ``Util_{L}``.
    """

    def __init__(self, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            trace = sample['query_trace']
            consistency = mask_consistency(trace['masks'])
            count = trace['num_segments']
            self.results.append((
                consistency.mean(1).cpu() if consistency.shape[1] else None,
                query_utilization(trace['assignments'], count).cpu() if count else None))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Means by name; a measure that no image has is left out."""
        metrics = {}
        for name, first, values in zip(('mIoU-L', 'Util'), (1, 0), zip(*results)):
            values = [value for value in values if value is not None]
            if values:
                means = 100 * torch.stack(values).double().mean(0)
                metrics.update(
                    (f'{name}_{i}', mean) for i, mean in enumerate(means.tolist(), first))
        return metrics
