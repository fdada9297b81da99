"""Bipartite matching of predictions and segments: match costs and assigners.

Shapes: L predictions (decoder layers), B images, Q queries, N segments (padded; columns beyond an
image's count are ignored), P points or pixels, M matched pairs, K classes plus "no object".
"""
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.registry import TASK_UTILS
from mmpanseg.structures.mask_logits import MaskRows
from mmpanseg.utils.device import to_device, to_host

Inputs = TypeVar('Inputs')


class MatchCost(ABC, Generic[Inputs]):
    """Base class of the match costs; a subclass computes the unweighted cost.

    Args:
        weight: factor of the cost.

    Attributes:
        reads: class of the inputs that the cost reads; None: not declared, and not checked.
        needs: names of the inputs that must not be None.
    """

    reads: type | None = None
    needs: Sequence[str] = ()

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def __call__(self, inputs: Inputs) -> Tensor:
        """Compute the weighted cost [..., Q, N]."""
        return self.cost(inputs) * self.weight

    @abstractmethod
    def cost(self, inputs: Inputs) -> Tensor:
        """Compute the unweighted cost [..., Q, N]."""


def sum_costs(costs: Sequence[MatchCost[Inputs]], inputs: Inputs) -> Tensor:
    """Sum the weighted costs of all queries and segments, [..., Q, N]."""
    first, *others = costs
    total = first(inputs)
    for cost in others:
        total = total + cost(inputs)
    return total


@dataclass
class MaskMatchInputs:
    """Inputs of the costs of mask classification, for one prediction.

    Attributes:
        cls_logits: [B, Q, K + 1].
        labels: int64 [B, N].
        mask_logits: [B, Q, P], logits at the points of each image.
        targets: [B, P, N], segments at the same points, in 0..1.
    """
    cls_logits: Tensor
    labels: Tensor
    mask_logits: Tensor
    targets: Tensor

    @cached_property
    def masks(self) -> Tensor:
        """Sigmoid of the mask logits [B, Q, P], computed once for all costs."""
        return self.mask_logits.sigmoid()


@TASK_UTILS.register_module()
class ClassificationCost(MatchCost[MaskMatchInputs]):
    """Negative softmax probability of the segment's class (DETR, Equation 1).

    Args:
        weight: factor of the cost.
    """

    reads = MaskMatchInputs

    def cost(self, inputs: MaskMatchInputs) -> Tensor:
        prob = inputs.cls_logits.softmax(-1)
        index = inputs.labels[:, None].expand(-1, prob.shape[1], -1)
        return -prob.gather(2, index)


@TASK_UTILS.register_module()
class MaskCrossEntropyCost(MatchCost[MaskMatchInputs]):
    """Binary cross-entropy of masks, mean over the points (Mask2Former section 3.3).

    BCE(x, t) = softplus(x) - x t, so one product with the targets is enough.

    Args:
        weight: factor of the cost.
    """

    reads = MaskMatchInputs

    def cost(self, inputs: MaskMatchInputs) -> Tensor:
        x = inputs.mask_logits
        total = F.softplus(x).sum(-1, keepdim=True) - x @ inputs.targets
        return total / x.shape[-1]


@TASK_UTILS.register_module()
class MaskFocalCost(MatchCost[MaskMatchInputs]):
    """Focal loss of masks, mean over the points, as in MaskFormer.

    A target t in 0..1 blends the losses of the targets 0 and 1 linearly, so one product with the
    targets is enough.

    Args:
        weight: factor of the cost.
        alpha: weight of the positive part; 1 - alpha is that of the negative part.
        gamma: exponent of the modulating factor.
    """

    reads = MaskMatchInputs

    def __init__(self, weight: float = 1.0, alpha: float = 0.25, gamma: float = 2.0) -> None:
        super().__init__(weight)
        self.alpha = alpha
        self.gamma = gamma

    def cost(self, inputs: MaskMatchInputs) -> Tensor:
        x, masks = inputs.mask_logits, inputs.masks
        positive = self.alpha * (1 - masks)**self.gamma * F.softplus(-x)
        negative = (1 - self.alpha) * masks**self.gamma * F.softplus(x)
        total = negative.sum(-1, keepdim=True) + (positive - negative) @ inputs.targets
        return total / x.shape[-1]


@TASK_UTILS.register_module()
class MaskDiceCost(MatchCost[MaskMatchInputs]):
    """Dice loss 1 - (2 p.t + eps) / (|p| + |t| + eps) over the points (Mask2Former section 3.3).

    Args:
        weight: factor of the cost.
        eps: smoothing term, 1 in Mask2Former.
    """

    reads = MaskMatchInputs

    def __init__(self, weight: float = 1.0, eps: float = 1.0) -> None:
        super().__init__(weight)
        self.eps = eps

    def cost(self, inputs: MaskMatchInputs) -> Tensor:
        overlap = 2 * (inputs.masks @ inputs.targets)
        total = inputs.masks.sum(-1)[..., None] + inputs.targets.sum(1)[:, None]
        return 1 - (overlap + self.eps) / (total + self.eps)


@dataclass
class Matches:
    """Matched pairs of predicted masks and segments, ordered by image, then layer, then query.

    Attributes:
        rows: addresses of the M matched masks.
        segment: int64 [M], index of the segment within its image.
    """
    rows: MaskRows
    segment: Tensor

    def __len__(self) -> int:
        return len(self.segment)

    @classmethod
    def from_pairs(cls, pairs: Tensor, splits: list[int]) -> 'Matches':
        """Build matches from what :meth:`Assigner.assign_on_host` returns, on any device.

        Args:
            pairs: int64 [4, M]: layer, image, query and segment.
            splits: number of pairs of each image.
        """
        layer, image, query, segment = pairs
        return cls(MaskRows(layer, image, query, splits), segment)


class Assigner(ABC):
    """Interface of the assigners: from costs to matched pairs.

    Criteria and mask piloting know this interface only. A subclass decides on the host.
    """

    def __call__(self, costs: Tensor, counts: Sequence[int]) -> Matches:
        """Match every prediction of every image separately.

        Args:
            costs: [L, B, Q, N].
            counts: number of segments of each image; the columns beyond are ignored.

        Returns:
            Matches on the device of the costs.
        """
        # the one copy that the host waits for in a training step
        table = to_host(costs)[0].numpy()
        pairs, splits = self.assign_on_host(table, counts)
        return Matches.from_pairs(to_device(costs.device, pairs)[0], splits)

    @abstractmethod
    def assign_on_host(self, costs: np.ndarray,
                       counts: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """Match as :meth:`__call__`, with NumPy arrays.

        Returns:
            Layer, image, query and segment of the pairs, int64 [4, M], and the number of pairs of
            each image.
        """


@TASK_UTILS.register_module()
class OneToOneAssigner(Assigner):
    """Hungarian matching: one prediction for each segment, with the smallest total cost.

    A prediction whose costs are not all finite (NaN or inf after a diverging step) is never
    matched. In an image with more segments than predictions, the cheapest subset is matched.
    """

    def assign_on_host(self, costs: np.ndarray,
                       counts: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        pairs: list[np.ndarray] = [np.zeros((4, 0), np.int64)]
        splits = []
        for image, count in enumerate(counts):
            size = 0
            for layer in range(len(costs)):
                query, segment = self.solve(costs[layer, image, :, :count])
                pairs.append(np.stack([
                    np.full_like(query, layer), np.full_like(query, image), query, segment]))
                size += len(query)
            splits.append(size)
        return np.concatenate(pairs, axis=1), splits

    def solve(self, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Match one prediction of one image; see :func:`solve_assignment`."""
        return solve_assignment(cost)


def solve_assignment(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the cheapest one-to-one pairs of rows and columns of a cost matrix.

    Args:
        cost: [Q, N]; rows with a value that is not finite are left out.

    Returns:
        Row indices in ascending order and column indices, int64 [min(number of finite rows, N)].
    """
    from scipy.optimize import linear_sum_assignment  # predictions start without it

    finite = np.isfinite(cost).all(axis=1)
    if finite.all():
        rows, columns = linear_sum_assignment(cost)
        return rows.astype(np.int64), columns.astype(np.int64)
    kept = np.flatnonzero(finite)
    rows, columns = linear_sum_assignment(cost[kept])
    return kept[rows].astype(np.int64), columns.astype(np.int64)


AssignerT = TypeVar('AssignerT', bound=Assigner)


def build_assigner(config: dict, kind: type[AssignerT], key: str = 'assigner') -> AssignerT:
    """Build an assigner of a criterion.

    Args:
        config: of the assigner; without ``type``, ``kind`` is built.
        kind: class that the criterion needs.
        key: key of the config in the criterion, for error texts.

    Raises:
        TypeError: the config builds something else.
    """
    assigner = TASK_UTILS.build(config, default_args=dict(type=f'mmpanseg.{kind.__name__}'))
    if not isinstance(assigner, kind):
        raise TypeError(
            f'criterion.{key} builds {_full_name(assigner)}, but this criterion needs '
            f'mmpanseg.{kind.__name__} or a class derived from it')
    return assigner


def build_costs(key: str, configs: Sequence[dict], inputs: type,
                missing: Sequence[str] = ()) -> list[MatchCost[Any]]:
    """Build the match costs of a criterion.

    Args:
        key: key of the configs in the criterion, for error texts.
        configs: one for each cost, at least one.
        inputs: class of the inputs that the criterion passes to the costs.
        missing: names of the inputs that are None at this stage.

    Raises:
        TypeError: one is not a :class:`MatchCost`, or reads other inputs.
        ValueError: there is no cost, or one needs inputs that are missing.
    """
    costs = [TASK_UTILS.build(config) for config in configs]
    if not costs:
        raise ValueError(f'criterion.{key} is empty: matching needs at least one cost')
    for cost in costs:
        if not isinstance(cost, MatchCost) or cost.reads not in (None, inputs):
            raise TypeError(
                f'criterion.{key} has {_full_name(cost)}, which does not read the inputs of this '
                f'criterion ({inputs.__name__}); use a cost of mmpanseg.models.task_modules that '
                'does, or derive one from MatchCost')
        absent = sorted(set(cost.needs) & set(missing))
        if absent:
            raise ValueError(f'criterion.{key} has {_full_name(cost)}, but there are no '
                             f'{" and ".join(absent)} at this stage; remove this cost')
    return costs


def _full_name(built: object) -> str:
    return f'{type(built).__module__.split(".")[0]}.{type(built).__name__}'
