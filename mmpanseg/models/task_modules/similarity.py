"""Similarity of predictions and segments, whose product kMaX-DeepLab matches by.

Shapes: B images, Q queries, N segments (columns beyond an image's count mean nothing), P pixels,
K classes.
"""
import torch
from torch import Tensor

from mmpanseg.structures.chunks import chunk_rows

_EPS = 1e-5


def mask_similarity(mask_logits: Tensor, targets: Tensor, only_labelled: bool = True) -> Tensor:
    """Soft Dice coefficients [B, Q, N] of masks that compete for each pixel.

    Args:
        mask_logits: [B, Q, P]; the masks are their softmax over the queries.
        targets: bool [B, N, P], or numbers in 0..1; as many as fit are looked at at a time.
        only_labelled: leave out pixels without a segment.
    """
    masks = mask_logits.softmax(1)
    if only_labelled:
        masks = masks * targets.any(1, keepdim=True)
    total = masks.sum(2)[:, :, None]
    step = chunk_rows(masks.device, len(targets) * targets.shape[2])
    similarity = []
    for part in targets.split(step, 1):
        part = part.to(masks.dtype)
        similarity.append(masks @ part.transpose(1, 2) / (
            (total + part.sum(2)[:, None]) / 2 + _EPS))
    return torch.cat(similarity, 2)


def class_similarity(cls_logits: Tensor, labels: Tensor) -> Tensor:
    """Probabilities [B, Q, N] that queries give to the segments' classes.

    Args:
        cls_logits: [B, Q, K + 1].
        labels: int64 [B, N].
    """
    index = labels[:, None].expand(-1, cls_logits.shape[1], -1)
    return torch.gather(cls_logits.softmax(-1), 2, index)
