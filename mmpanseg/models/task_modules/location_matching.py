"""Matching of Panoptic SegFormer: location costs, and an assigner of several rounds.

Location queries are the queries that pass through the location decoder.

Shapes: ... any leading dimensions (layers, images), B images, Q location queries, N segments,
D numbers of a location, K classes, P pixels.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from torch import Tensor

from mmpanseg.models.task_modules.bipartite_matching import (
    Assigner,
    MatchCost,
    OneToOneAssigner,
    build_assigner,
)
from mmpanseg.registry import TASK_UTILS
from mmpanseg.utils.device import to_device, to_host

_EPS = 1e-6


def generalized_iou(boxes: Tensor, targets: Tensor) -> Tensor:
    """Compute the generalized IoU of boxes (Rezatofighi et al., Algorithm 1).

    mmdet's ``bbox_overlaps(mode='giou')`` computes the same numbers, but copies a constant to the
    device in every call, which the host waits for.

    Args:
        boxes: (x1, y1, x2, y2), [..., 4].
        targets: the same, of a shape that broadcasts with that of ``boxes``.

    Returns:
        Values in -1..1 of the broadcast shape without its last dimension.
    """
    upper, lower = (torch.maximum(boxes[..., :2], targets[..., :2]),
                    torch.minimum(boxes[..., 2:], targets[..., 2:]))
    overlap = _area(upper, lower)
    union = _signed_area(boxes) + _signed_area(targets) - overlap
    hull = _area(torch.minimum(boxes[..., :2], targets[..., :2]),
                 torch.maximum(boxes[..., 2:], targets[..., 2:])).clamp(min=_EPS)
    union = union.clamp(min=_EPS)
    return overlap / union - (hull - union) / hull


def _area(upper_left: Tensor, lower_right: Tensor) -> Tensor:
    return _product((lower_right - upper_left).clamp(min=0))


def _signed_area(boxes: Tensor) -> Tensor:
    return _product(boxes[..., 2:] - boxes[..., :2])


def _product(sides: Tensor) -> Tensor:
    # the gradient of torch.prod searches for zeros on the host
    return sides[..., 0] * sides[..., 1]


@dataclass
class LocationMatchInputs:
    """Inputs of the costs of location queries.

    Attributes:
        cls_logits: [..., Q, K] of sigmoid classifiers.
        labels: int64 [..., N].
        locations: [..., Q, D] in 0..1, relative to the image.
        target_locations: [..., N, D] in 0..1, relative to the image.
        image_sizes: (width, height, width, height) of the images in pixels, [..., 4].
        masks: [..., Q, P] mask values after their activation, None at the location stage.
        target_masks: [..., P, N] in 0..1, None at the location stage.
    """
    cls_logits: Tensor
    labels: Tensor
    locations: Tensor
    target_locations: Tensor
    image_sizes: Tensor
    masks: Tensor | None = None
    target_masks: Tensor | None = None


@TASK_UTILS.register_module()
class FocalClassificationCost(MatchCost[LocationMatchInputs]):
    """Focal loss of the segment's class as target minus that as background (Deformable DETR).

    Args:
        weight: factor of the cost.
        alpha: weight of the positive part; 1 - alpha is that of the negative part.
        gamma: exponent of the modulating factor.
        eps: added inside the logarithms.
    """

    reads = LocationMatchInputs

    def __init__(self, weight: float = 1.0, alpha: float = 0.25, gamma: float = 2.0,
                 eps: float = 1e-12) -> None:
        super().__init__(weight)
        self.alpha = alpha
        self.gamma = gamma
        self.eps = eps

    def cost(self, inputs: LocationMatchInputs) -> Tensor:
        labels = inputs.labels[..., None, :].expand(*inputs.cls_logits.shape[:-1], -1)
        prob = inputs.cls_logits.gather(-1, labels).sigmoid()
        positive = self.alpha * (1 - prob)**self.gamma * -(prob + self.eps).log()
        negative = (1 - self.alpha) * prob**self.gamma * -(1 - prob + self.eps).log()
        return positive - negative


@TASK_UTILS.register_module()
class LocationL1Cost(MatchCost[LocationMatchInputs]):
    """L1 distance of locations, relative to the image (DETR's box cost).

    Args:
        weight: factor of the cost.
    """

    reads = LocationMatchInputs

    def cost(self, inputs: LocationMatchInputs) -> Tensor:
        targets = inputs.target_locations.to(inputs.locations.dtype)
        return torch.cdist(inputs.locations, targets, p=1)


@TASK_UTILS.register_module()
class LocationGIoUCost(MatchCost[LocationMatchInputs]):
    """Negative generalized IoU of boxes in pixels (DETR's box cost).

    Args:
        weight: factor of the cost.
    """

    reads = LocationMatchInputs

    def cost(self, inputs: LocationMatchInputs) -> Tensor:
        sizes = inputs.image_sizes[..., None, :]
        boxes, targets = (bbox_cxcywh_to_xyxy(x) * sizes for x in (
            inputs.locations, inputs.target_locations))
        return -generalized_iou(boxes[..., :, None, :], targets[..., None, :, :])


@TASK_UTILS.register_module()
class SquaredDiceCost(MatchCost[LocationMatchInputs]):
    """Dice loss 1 - 2 p.t / (|p|^2 + |t|^2 + 2 eps) in V-Net's form.

    The mask values p are used as they are, without a sigmoid.

    Args:
        weight: factor of the cost.
        eps: keeps the denominator of empty masks above zero.
    """

    reads = LocationMatchInputs
    needs = ('masks', )

    def __init__(self, weight: float = 1.0, eps: float = 1e-3) -> None:
        super().__init__(weight)
        self.eps = eps

    def cost(self, inputs: LocationMatchInputs) -> Tensor:
        masks, targets = inputs.masks, inputs.target_masks
        assert masks is not None and targets is not None  # ``needs`` is checked at build
        overlap = 2 * (masks @ targets)
        total = masks.square().sum(-1)[..., None] + targets.square().sum(-2)[..., None, :]
        return 1 - overlap / (total + 2 * self.eps)


@TASK_UTILS.register_module()
class MultiRoundAssigner(Assigner):
    """One-to-one matching in several rounds, each with the queries not matched before.

    The matches of the first round supervise the location decoder. The queries of all rounds pass
    on to the mask decoder (Panoptic SegFormer, query filtering in training).

    Args:
        num_rounds: number of rounds, at least 1; fewer if too few queries remain for all segments.
            The paper describes several rounds; the released code stops after one, although its
            configs set 3.
        round_assigner: config of the :class:`OneToOneAssigner` of every round.

    Raises:
        ValueError: ``num_rounds`` is below 1.
        TypeError: ``round_assigner`` builds something of a wrong kind.
    """

    def __init__(self, num_rounds: int = 3, round_assigner: dict = dict()) -> None:
        if num_rounds < 1:
            raise ValueError(f'num_rounds={num_rounds} must be at least 1')
        self.num_rounds = num_rounds
        self.round_assigner = build_assigner(
            round_assigner, OneToOneAssigner, 'assigner.round_assigner')

    def assign_on_host(self, costs: np.ndarray,
                       counts: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        return self.round_assigner.assign_on_host(costs, counts)

    def select_queries(self, costs: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """Select the queries that any round matches.

        Args:
            costs: [B, Q, N].
            counts: number of segments of each image; the columns beyond are ignored.

        Returns:
            Indices in ascending order, int64 [n] for each image, on the device of the costs; empty
            without segments.
        """
        return to_device(costs.device, *self.select_on_host(to_host(costs)[0].numpy(), counts))

    def select_on_host(self, costs: np.ndarray, counts: Sequence[int]) -> list[np.ndarray]:
        """Select queries as :meth:`select_queries`, with NumPy arrays."""
        return [np.sort(np.concatenate([query for query, _ in self.rounds(cost[:, :count])]))
                for cost, count in zip(costs, counts, strict=True)]

    def rounds(self, cost: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Match one image in all rounds.

        Args:
            cost: [Q, N].

        Returns:
            Queries and segments of the pairs, int64, for each round.
        """
        num_queries, count = cost.shape
        cost = cost.copy()
        rounds = []
        for _ in range(max(1, min(self.num_rounds, num_queries // max(count, 1)))):
            query, segment = self.round_assigner.solve(cost)
            cost[query] = np.inf
            rounds.append((query, segment))
        return rounds
