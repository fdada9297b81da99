"""Overlap of boxes (x1, y1, x2, y2) without waiting for the device."""
import torch
from torch import Tensor

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
