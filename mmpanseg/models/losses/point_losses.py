"""Losses of mask logits against targets at points or pixels. Shapes: M masks, P points."""
from typing import Callable

import torch.nn.functional as F
from torch import Tensor


def mask_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the points: [M, P], [M, P] in 0..1 -> [M]."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction='none').mean(1)


def mask_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25,
                    gamma: float = 2.0) -> Tensor:
    """Focal loss, mean over the points: [M, P], [M, P] in 0..1 -> [M].

    Lin et al., Focal Loss for Dense Object Detection, Equation 5; MaskFormer's mask loss.
    """
    masks = logits.sigmoid()
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    missed = masks + targets - 2 * masks * targets
    share = alpha * targets + (1 - alpha) * (1 - targets)
    return (share * missed**gamma * loss).mean(1)


def dice_loss(logits: Tensor, targets: Tensor, eps: float = 1.0) -> Tensor:
    """Dice loss 1 - (2 p.t + eps) / (|p| + |t| + eps): [M, P], [M, P] in 0..1 -> [M].

    The squares of V-Net's form are left out and eps is 1, as in MaskFormer and Mask2Former.
    """
    masks = logits.sigmoid()
    overlap = 2 * (masks * targets).sum(1)
    return 1 - (overlap + eps) / (masks.sum(1) + targets.sum(1) + eps)


MASK_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'cross_entropy': mask_cross_entropy,
    'focal': mask_focal_loss,
}
