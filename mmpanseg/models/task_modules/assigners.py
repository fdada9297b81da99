"""Assignment of predictions to segments, for all layers and images in one transfer."""
from dataclasses import dataclass
from typing import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmpanseg.registry import TASK_UTILS
from mmpanseg.structures.mask_logits import MaskRows
from mmpanseg.structures.staging import fetch, stage


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

    @classmethod
    def of(cls, pairs: Tensor, splits: list[int]) -> 'Matches':
        """From layer, image, query and segment of the pairs, int64 [4, M], and pairs per image."""
        *rows, segment = pairs
        return cls(MaskRows(*rows, splits), segment)


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
        table, = fetch(costs)  # what a training step waits for
        pairs, splits = self.pairs(table.numpy(), counts)
        pairs, = stage(costs.device, pairs)
        return Matches.of(pairs, splits)

    def pairs(self, table: np.ndarray, counts: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """The same on the host: int64 [4, M] for :meth:`Matches.of`, and pairs per image."""
        found, splits = [np.zeros((4, 0), np.int64)], []
        for image, count in enumerate(counts):
            size = 0
            for layer in range(len(table)):
                query, segment = self.solve(table[layer, image, :, :count])
                found.append(np.stack([
                    np.full_like(query, layer), np.full_like(query, image), query, segment]))
                size += len(query)
            splits.append(size)
        return np.concatenate(found, axis=1), splits

    def solve(self, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of one image and layer, see :func:`solve_assignment`."""
        return solve_assignment(cost)


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
