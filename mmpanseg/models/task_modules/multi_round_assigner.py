"""Matching in several rounds: which queries are promising (Panoptic SegFormer, CVPR B.2)."""
from typing import Sequence

import numpy as np
import torch
from torch import Tensor

from mmpanseg.models.task_modules.assigners import solve_assignment
from mmpanseg.registry import TASK_UTILS


@TASK_UTILS.register_module()
class MultiRoundAssigner:
    """One-to-one matching again and again, each time with the queries not matched before.

    The queries of all rounds pass on to the mask decoder; only the first round is a supervision.

    Args:
        num_rounds: rounds, as long as enough queries are left for all segments. The paper tells of
            several; the released code stops after one, although its configs ask for 3.

    Raises:
        ValueError: ``num_rounds`` is below 1.
    """

    def __init__(self, num_rounds: int = 3) -> None:
        if num_rounds < 1:
            raise ValueError(f'num_rounds={num_rounds} must be at least 1')
        self.num_rounds = num_rounds

    def __call__(self, costs: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """Promising queries of every image.

        Args:
            costs: [B, Q, N].
            counts: segments of each image; columns beyond are ignored.

        Returns:
            int64 [n] for each image, ascending, on the device of the costs; empty without
            segments.
        """
        table = costs.detach().cpu().numpy()
        kept = []
        for cost, count in zip(table, counts, strict=True):
            rounds = self.rounds(cost[:, :count])
            found = np.sort(np.concatenate([query for query, _ in rounds]))
            kept.append(torch.from_numpy(found).to(costs.device, non_blocking=True))
        return kept

    def rounds(self, cost: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Matched queries and segments of every round of one image, from costs [Q, N]."""
        num_queries, count = cost.shape
        cost = cost.copy()
        rounds = []
        for _ in range(max(1, min(self.num_rounds, num_queries // max(count, 1)))):
            query, segment = solve_assignment(cost)
            cost[query] = np.inf
            rounds.append((query, segment))
        return rounds
