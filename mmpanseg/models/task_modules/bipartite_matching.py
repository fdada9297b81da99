"""Bipartite matching of predictions and segments: costs and assigner.

Shapes: B images, Q queries, N segments (columns beyond an image's count are ignored later),
P points, K classes plus "no object".
"""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmpanseg.registry import TASK_UTILS
from mmpanseg.structures.mask_logits import MaskRows
from mmpanseg.utils.device import to_device, to_host


@dataclass
class MatchInputs:
    """What a cost may look at, for one prediction (decoder layer).

    Attributes:
        cls_logits: [B, Q, K + 1].
        labels: int64 [B, N].
        mask_logits: [B, Q, P], logits at the image's points.
        targets: [B, P, N], segments at the same points, in 0..1.
    """
    cls_logits: Tensor
    labels: Tensor
    mask_logits: Tensor
    targets: Tensor

    @cached_property
    def masks(self) -> Tensor:
        """Sigmoid of the mask logits [B, Q, P]."""
        return self.mask_logits.sigmoid()


class MatchCost:
    """A weighted cost; subclasses give the unweighted [B, Q, N].

    Attributes:
        reads: class of the inputs that the cost is for; None: not said, any are given.
        needs: attributes of theirs without which it cannot work, where some may be None.
    """

    reads: type | None = None
    needs: Sequence[str] = ()

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def __call__(self, inputs: MatchInputs) -> Tensor:
        return self.cost(inputs) * self.weight

    def cost(self, inputs: MatchInputs) -> Tensor:
        """Unweighted cost [B, Q, N]."""
        raise NotImplementedError


@TASK_UTILS.register_module()
class ClassificationCost(MatchCost):
    """Minus the softmax probability of the segment's class (DETR, Equation 1)."""

    reads = MatchInputs

    def cost(self, inputs: MatchInputs) -> Tensor:
        prob = inputs.cls_logits.softmax(-1)
        index = inputs.labels[:, None].expand(-1, prob.shape[1], -1)
        return -prob.gather(2, index)


@TASK_UTILS.register_module()
class MaskCrossEntropyCost(MatchCost):
    """Mean binary cross-entropy over the points (Mask2Former section 3.3).

    With BCE(x, t) = softplus(x) - x t, one product with the targets is enough.
    """

    reads = MatchInputs

    def cost(self, inputs: MatchInputs) -> Tensor:
        x = inputs.mask_logits
        total = F.softplus(x).sum(-1, keepdim=True) - x @ inputs.targets
        return total / x.shape[-1]


@TASK_UTILS.register_module()
class MaskFocalCost(MatchCost):
    """Mean focal loss over the points or pixels, as in MaskFormer.

    The loss of a target t is linear in t between those of 0 and 1, so one product with the targets
    is enough.

    Args:
        weight: factor of the cost.
        alpha: share of the target; 1 - alpha is the background's.
        gamma: power of the focus on badly predicted points.
    """

    reads = MatchInputs

    def __init__(self, weight: float = 1.0, alpha: float = 0.25, gamma: float = 2.0) -> None:
        super().__init__(weight)
        self.alpha = alpha
        self.gamma = gamma

    def cost(self, inputs: MatchInputs) -> Tensor:
        x, masks = inputs.mask_logits, inputs.masks
        inside = self.alpha * (1 - masks)**self.gamma * F.softplus(-x)
        outside = (1 - self.alpha) * masks**self.gamma * F.softplus(x)
        total = outside.sum(-1, keepdim=True) + (inside - outside) @ inputs.targets
        return total / x.shape[-1]


@TASK_UTILS.register_module()
class MaskDiceCost(MatchCost):
    """Dice cost 1 - (2 p.t + eps) / (|p| + |t| + eps) over the points.

    Args:
        weight: factor of the cost.
        eps: smoothing term, 1 in Mask2Former.
    """

    reads = MatchInputs

    def __init__(self, weight: float = 1.0, eps: float = 1.0) -> None:
        super().__init__(weight)
        self.eps = eps

    def cost(self, inputs: MatchInputs) -> Tensor:
        overlap = 2 * (inputs.masks @ inputs.targets)
        total = inputs.masks.sum(-1)[..., None] + inputs.targets.sum(1)[:, None]
        return 1 - (overlap + self.eps) / (total + self.eps)


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
    """Hungarian matching: each segment gets the one prediction that minimizes the total cost.

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
        table, = to_host(costs)  # what a training step waits for
        pairs, splits = self.pairs(table.numpy(), counts)
        pairs, = to_device(costs.device, pairs)
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


def build_assigner(config: dict, kind: type, key: str = 'assigner') -> object:
    """An assigner of a criterion.

    Args:
        config: of the assigner; without a type that of ``kind`` is built.
        kind: class that the criterion works with.
        key: what the criterion calls it.

    Raises:
        TypeError: the config builds anything else.
    """
    assigner = TASK_UTILS.build(config, default_args=dict(type=f'mmpanseg.{kind.__name__}'))
    if not isinstance(assigner, kind):
        raise TypeError(
            f'criterion.{key} builds {_name(assigner)}, but what is needed here is '
            f'mmpanseg.{kind.__name__} or a class derived from it')
    return assigner


def build_costs(key: str, configs: Sequence[dict], inputs: type,
                missing: Sequence[str] = ()) -> list[MatchCost]:
    """Match costs of a criterion.

    Args:
        key: what the criterion calls them.
        configs: one of each cost.
        inputs: class of what the criterion gives them to read.
        missing: attributes of these inputs that are None at this stage.

    Raises:
        TypeError: one is no :class:`MatchCost`, or reads other inputs.
        ValueError: one reads what does not exist at this stage.
    """
    costs = [TASK_UTILS.build(config) for config in configs]
    for cost in costs:
        if not isinstance(cost, MatchCost) or cost.reads not in (None, inputs):
            raise TypeError(
                f'criterion.{key} has {_name(cost)}, which does not read what this criterion '
                f'compares ({inputs.__name__}); use costs of mmpanseg.models.task_modules that '
                'do, or derive one from MatchCost')
        absent = sorted(set(cost.needs) & set(missing))
        if absent:
            raise ValueError(f'criterion.{key} has {_name(cost)}, but there are no '
                             f'{" and ".join(absent)} at this stage; leave it out')
    return costs


def _name(built: object) -> str:
    return f'{type(built).__module__.split(".")[0]}.{type(built).__name__}'
