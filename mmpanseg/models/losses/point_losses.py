"""Losses of mask logits against targets at points. Shapes: M masks, P points."""
import torch.nn.functional as F
from torch import Tensor


def mask_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the points: [M, P], [M, P] in 0..1 -> [M]."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction='none').mean(1)


def dice_loss(logits: Tensor, targets: Tensor, eps: float = 1.0) -> Tensor:
    """Dice loss 1 - (2 p.t + eps) / (|p| + |t| + eps): [M, P], [M, P] in 0..1 -> [M].

    The squares of V-Net's form are left out and eps is 1, as in MaskFormer and Mask2Former.
    """
    masks = logits.sigmoid()
    overlap = 2 * (masks * targets).sum(1)
    return 1 - (overlap + eps) / (masks.sum(1) + targets.sum(1) + eps)
