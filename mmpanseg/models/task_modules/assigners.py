"""Assignment of predictions to segments, for all layers and images in one transfer."""
from dataclasses import dataclass
from typing import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmpanseg.registry import TASK_UTILS
from mmpanseg.structures.mask_logits import MaskRows


@dataclass
class Matches:
    """Matched (prediction, segment) pairs of a batch, ordered by image, then layer, then query.

    Attributes:
        rows: addresses of the M matched masks.
        segment: int64 [M], index of the segment within its image.
    """
    rows: MaskRows
    segment: Tensor

    def __len__(self) -> int:
        return len(self.segment)

    def to(self, device: torch.device) -> 'Matches':
        """Copy on another device."""
        rows = self.rows
        return Matches(MaskRows(*(index.to(device, non_blocking=True) for index in rows[:3]),
                                rows.splits), self.segment.to(device, non_blocking=True))


@TASK_UTILS.register_module()
class OneToOneAssigner:
    """Hungarian matching: each segment gets the one prediction that minimises the total cost.

    A prediction whose costs are not all finite (NaN or inf after a diverging step) is never
    matched; where an image has more segments than predictions, the cheapest subset is matched.
    """

    def __call__(self, costs: Tensor, counts: Sequence[int]) -> Matches:
        """Match every layer and image by itself.

        Args:
            costs: [L, B, Q, N].
            counts: segments of each image; columns beyond are ignored.

        Returns:
            :class:`Matches` on the device of the costs.
        """
        table = costs.detach().cpu().numpy()  # the one device-to-host copy of a training step
        found, splits = [], []
        for image, count in enumerate(counts):
            size = 0
            for layer in range(len(table)):
                query, segment = solve_assignment(table[layer, image, :, :count])
                found.append(np.stack([
                    np.full_like(query, layer), np.full_like(query, image), query, segment]))
                size += len(query)
            splits.append(size)
        pairs = np.concatenate(found, axis=1) if found else np.zeros((4, 0), np.int64)
        layer, image, query, segment = torch.from_numpy(pairs).to(costs.device)
        return Matches(MaskRows(layer, image, query, splits), segment)


def solve_assignment(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cheapest one-to-one pairs of rows and columns of a cost matrix, rows ascending.

    Args:
        cost: [Q, N]; rows with a value that is not finite take no part.

    Returns:
        int64 row and column indices, min(finite rows, N) of them.
    """
    finite = np.isfinite(cost).all(axis=1)
    if finite.all():
        rows, columns = linear_sum_assignment(cost)
        return rows.astype(np.int64), columns.astype(np.int64)
    kept = np.flatnonzero(finite)
    rows, columns = linear_sum_assignment(cost[kept])
    return kept[rows].astype(np.int64), columns.astype(np.int64)
