"""Costs of giving a prediction to a segment, for all images of a batch at once.

Shapes: B images, Q queries, N segments (columns beyond an image's count are ignored later),
P points, K classes plus "no object".
"""
from dataclasses import dataclass
from functools import cached_property
from typing import Optional, Sequence

import torch.nn.functional as F
from torch import Tensor

from mmpanseg.registry import TASK_UTILS


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

    reads: Optional[type] = None
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
