"""Matching of Panoptic SegFormer: location costs, and an assigner of several rounds.

Shapes: ... any leading dimensions (layers, images), Q predictions, N segments, D numbers of a
location, K classes, P pixels.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from torch import Tensor

from mmpanseg.models.task_modules.bipartite_matching import (
    MatchCost,
    OneToOneAssigner,
    build_assigner,
)
from mmpanseg.registry import TASK_UTILS
from mmpanseg.utils.device import to_device, to_host

_EPS = 1e-6


def generalized_iou(boxes: Tensor, targets: Tensor) -> Tensor:
    """Generalized IoU (Rezatofighi et al., Algorithm 1) of boxes [..., 4] of broadcast shapes.

    mmdet's ``bbox_overlaps(mode='giou')`` gives the same numbers, but copies a constant to the
    device in every call.
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
    # the gradient of torch.prod looks for zeros on the host
    return sides[..., 0] * sides[..., 1]


@dataclass
class LocatedInputs:
    """What a cost may look at.

    Attributes:
        cls_logits: [..., Q, K] of sigmoid classifiers.
        labels: int64 [..., N].
        locations: [..., Q, D] in 0..1 of the image, None if nothing is located.
        target_locations: [..., N, D].
        image_sizes: (width, height, width, height) of the images in pixels, [..., 4].
        masks: [..., Q, P] mask values after their activation, None at the location stage.
        target_masks: [..., P, N].
    """
    cls_logits: Tensor
    labels: Tensor
    locations: Tensor | None = None
    target_locations: Tensor | None = None
    image_sizes: Tensor | None = None
    masks: Tensor | None = None
    target_masks: Tensor | None = None


@TASK_UTILS.register_module()
class FocalClassificationCost(MatchCost):
    """Focal loss of the segment's class as target minus that as background (Deformable DETR).

    Args:
        weight: factor of the cost.
        alpha, gamma: of the focal loss.
        eps: inside the logarithms.
    """

    reads = LocatedInputs

    def __init__(self, weight: float = 1.0, alpha: float = 0.25, gamma: float = 2.0,
                 eps: float = 1e-12) -> None:
        super().__init__(weight)
        self.alpha = alpha
        self.gamma = gamma
        self.eps = eps

    def cost(self, inputs: LocatedInputs) -> Tensor:
        labels = inputs.labels[..., None, :].expand(*inputs.cls_logits.shape[:-1], -1)
        prob = inputs.cls_logits.gather(-1, labels).sigmoid()
        present = self.alpha * (1 - prob)**self.gamma * -(prob + self.eps).log()
        absent = (1 - self.alpha) * prob**self.gamma * -(1 - prob + self.eps).log()
        return present - absent


@TASK_UTILS.register_module()
class LocationL1Cost(MatchCost):
    """Sum of absolute differences of the numbers of a location, relative to the image."""

    reads = LocatedInputs

    def cost(self, inputs: LocatedInputs) -> Tensor:
        return torch.cdist(inputs.locations, inputs.target_locations, p=1)


@TASK_UTILS.register_module()
class LocationGIoUCost(MatchCost):
    """Minus generalized IoU of boxes in pixels."""

    reads = LocatedInputs

    def cost(self, inputs: LocatedInputs) -> Tensor:
        sizes = inputs.image_sizes[..., None, :]
        boxes, targets = (bbox_cxcywh_to_xyxy(x) * sizes for x in (
            inputs.locations, inputs.target_locations))
        return -generalized_iou(boxes[..., :, None, :], targets[..., None, :, :])


@TASK_UTILS.register_module()
class SquaredDiceCost(MatchCost):
    """1 - 2 p.t / (|p|^2 + |t|^2 + 2 eps) of mask values that are not passed through a sigmoid.

    Args:
        weight: factor of the cost.
        eps: keeps empty masks from dividing by zero.
    """

    reads = LocatedInputs
    needs = ('masks', )

    def __init__(self, weight: float = 1.0, eps: float = 1e-3) -> None:
        super().__init__(weight)
        self.eps = eps

    def cost(self, inputs: LocatedInputs) -> Tensor:
        overlap = 2 * (inputs.masks @ inputs.target_masks)
        total = (inputs.masks.square().sum(-1)[..., None]
                 + inputs.target_masks.square().sum(-2)[..., None, :])
        return 1 - overlap / (total + 2 * self.eps)


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
        table, = to_host(costs)
        return to_device(costs.device, *self.promising(table.numpy(), counts))

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
