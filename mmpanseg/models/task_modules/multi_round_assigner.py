"""Matching in several rounds: which queries are promising (Panoptic SegFormer, CVPR B.2)."""
from typing import Sequence

import numpy as np
from torch import Tensor

from mmpanseg.models.task_modules.assigners import OneToOneAssigner
from mmpanseg.models.task_modules.building import build_assigner
from mmpanseg.registry import TASK_UTILS
from mmpanseg.structures.staging import fetch, stage


@TASK_UTILS.register_module()
class MultiRoundAssigner:
    """One-to-one matching again and again, each time with the queries not matched before.

    The queries of all rounds pass on to the mask decoder; only the first round is a supervision.

    Args:
        num_rounds: rounds, as long as enough queries are left for all segments. The paper tells of
            several; the released code stops after one, although its configs ask for 3.
        one_to_one: config of the matching of every round, which is that of the losses too.

    Raises:
        ValueError: ``num_rounds`` is below 1.
    """

    def __init__(self, num_rounds: int = 3, one_to_one: dict = dict()) -> None:
        if num_rounds < 1:
            raise ValueError(f'num_rounds={num_rounds} must be at least 1')
        self.num_rounds = num_rounds
        self.one_to_one = build_assigner(one_to_one, OneToOneAssigner, 'assigner.one_to_one')

    def __call__(self, costs: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """Promising queries of every image.

        Args:
            costs: [B, Q, N].
            counts: segments of each image; columns beyond are ignored.

        Returns:
            int64 [n] for each image, ascending, on the device of the costs; empty without
            segments.
        """
        table, = fetch(costs)
        return stage(costs.device, *self.promising(table.numpy(), counts))

    def promising(self, table: np.ndarray, counts: Sequence[int]) -> list[np.ndarray]:
        """The same on the host."""
        return [np.sort(np.concatenate([query for query, _ in self.rounds(cost[:, :count])]))
                for cost, count in zip(table, counts, strict=True)]

    def rounds(self, cost: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Matched queries and segments of every round of one image, from costs [Q, N]."""
        num_queries, count = cost.shape
        cost = cost.copy()
        rounds = []
        for _ in range(max(1, min(self.num_rounds, num_queries // max(count, 1)))):
            query, segment = self.one_to_one.solve(cost)
            cost[query] = np.inf
            rounds.append((query, segment))
        return rounds
