"""Losses of mask logits against targets at points or pixels. Shapes: M masks, P points."""
from typing import Callable

import torch.nn.functional as F
from torch import Tensor


def mask_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the points: [M, P], [M, P] in 0..1 -> [M]."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction='none').mean(1)


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25,
                       gamma: float = 2.0) -> Tensor:
    """Focal loss of every element: logits and targets in 0..1 of one shape.

    Lin et al., Focal Loss for Dense Object Detection, Equation 5.
    """
    probs = logits.sigmoid()
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    missed = probs + targets - 2 * probs * targets
    share = alpha * targets + (1 - alpha) * (1 - targets)
    return share * missed**gamma * loss


def mask_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25,
                    gamma: float = 2.0) -> Tensor:
    """Focal loss, mean over the points: [M, P], [M, P] in 0..1 -> [M]; MaskFormer's mask loss."""
    return sigmoid_focal_loss(logits, targets, alpha, gamma).mean(1)


def dice_loss(logits: Tensor, targets: Tensor, eps: float = 1.0) -> Tensor:
    """Dice loss 1 - (2 p.t + eps) / (|p| + |t| + eps): [M, P], [M, P] in 0..1 -> [M].

    The squares of V-Net's form are left out and eps is 1, as in MaskFormer and Mask2Former.
    """
    masks = logits.sigmoid()
    overlap = 2 * (masks * targets).sum(1)
    return 1 - (overlap + eps) / (masks.sum(1) + targets.sum(1) + eps)


def squared_dice_loss(masks: Tensor, targets: Tensor, eps: float = 1e-6) -> Tensor:
    """Dice loss 1 - 2 p.t / (|p|^2 + |t|^2 + 2 eps): [M, P], [M, P] in 0..1 -> [M].

    V-Net's form, of mask values after their activation, as in Panoptic SegFormer.
    """
    overlap = 2 * (masks * targets).sum(1)
    return 1 - overlap / (masks.square().sum(1) + targets.square().sum(1) + 2 * eps)


MASK_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'cross_entropy': mask_cross_entropy,
    'focal': mask_focal_loss,
}
