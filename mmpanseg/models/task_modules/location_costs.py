"""Match costs of Panoptic SegFormer: focal class cost, location, dice with squares.

Shapes: ... any leading dimensions (layers, images), Q predictions, N segments, D numbers of a
location, K classes, P pixels.
"""
from dataclasses import dataclass
from typing import Optional

import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from torch import Tensor

from mmpanseg.models.task_modules.boxes import generalized_iou
from mmpanseg.models.task_modules.match_costs import MatchCost
from mmpanseg.registry import TASK_UTILS


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
    locations: Optional[Tensor] = None
    target_locations: Optional[Tensor] = None
    image_sizes: Optional[Tensor] = None
    masks: Optional[Tensor] = None
    target_masks: Optional[Tensor] = None


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
    """Minus generalised IoU of boxes in pixels."""

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
