"""Noise on the masks that pilot queries (MP-Former section 4.3, Table 8).

Every kind takes masks on the grid of a feature map, bool [B, G, N, h, w] (B images, G copies of
N segments), and a ratio, and gives noised masks of that shape; every copy has its own noise. The
paper prints no ratio for shift and scale.
"""
import math
from typing import Callable, Optional

import torch
from torch import Tensor

MaskNoise = Callable[[Tensor, float], Tensor]


def point_noise(masks: Tensor, ratio: float) -> Tensor:
    """Invert cells at random places, up to ``ratio`` times the mask's area (the paper's law).

    The number is uniform in that range, and rounded up or down at random, so that the smallest
    masks meet noise too. Places are drawn with replacement over the whole grid; one that is drawn
    twice counts once.
    """
    flat = masks.flatten(-2)
    num_cells = flat.shape[-1]
    share, rounding = torch.rand(2, *flat.shape[:-1], 1, device=masks.device)
    number = (share * ratio * flat.sum(-1, keepdim=True) + rounding).floor()
    # enough for the largest mask: how many are needed would have to be asked from the device
    draws = math.ceil(ratio * num_cells)
    place = torch.randint(num_cells, (*flat.shape[:-1], draws), device=masks.device)
    # places beyond the number fall into a column that is cut off
    place.masked_fill_(torch.arange(draws, device=masks.device) >= number, num_cells)
    hit = flat.new_zeros(*flat.shape[:-1], num_cells + 1).scatter_(-1, place, True)
    return masks ^ hit[..., :num_cells].view(masks.shape)


def cell_noise(masks: Tensor, ratio: float) -> Tensor:
    """Invert every cell with probability :func:`flip_probability` (the released code's law)."""
    draws = torch.rand(masks.shape, device=masks.device)
    return masks ^ (draws < flip_probability(masks, ratio))


def flip_probability(masks: Tensor, ratio: float) -> Tensor:
    """``ratio`` times the share of the grid that a mask covers: [..., h, w] -> [..., 1, 1]."""
    return ratio * masks.float().mean((-2, -1), keepdim=True)


def shift_noise(masks: Tensor, ratio: float) -> Tensor:
    """Move masks by up to ``ratio`` times half their bounding box, vertically and horizontally.

    With a ratio of at most 1 the centre stays within the box, as the paper asks.
    """
    centre, extent = boxes(masks)
    shift = (2 * torch.rand(extent.shape, device=masks.device) - 1) * ratio * extent / 2
    return resample(masks, centre, shift, torch.ones_like(shift))


def scale_noise(masks: Tensor, ratio: float) -> Tensor:
    """Enlarge or shrink masks about their centre by a factor in 1 - ``ratio`` to 1 + ``ratio``."""
    centre, _ = boxes(masks)
    factor = 1 + ratio * (2 * torch.rand(*masks.shape[:-2], 1, device=masks.device) - 1)
    return resample(masks, centre, torch.zeros_like(centre), factor.expand_as(centre))


def boxes(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Centres and extents (y, x) in cells of the bounding boxes, each [..., 2]; zero if empty."""
    centres, extents = [], []
    for axis in (-1, -2):
        touched = masks.any(axis)
        index = torch.arange(touched.shape[-1], device=masks.device)
        first = torch.where(touched, index, touched.shape[-1]).amin(-1)
        last = torch.where(touched, index, -1).amax(-1)
        centres.append((first + last) / 2)
        extents.append((last - first + 1).clamp(min=0))
    return torch.stack(centres, -1), torch.stack(extents, -1).float()


def resample(masks: Tensor, centre: Tensor, shift: Tensor, factor: Tensor) -> Tensor:
    """Masks scaled about their centres, then shifted: nearest cell, nothing comes from outside.

    Args:
        masks: bool [..., h, w].
        centre, shift, factor: [..., 2], (y, x), the first two in cells.
    """
    inside, sources = [], []
    for axis, length in enumerate(masks.shape[-2:]):
        c, s, f = (x[..., axis, None] for x in (centre, shift, factor))
        cell = torch.arange(length, device=masks.device)
        source = ((cell - s - c) / f + c).round().long()
        inside.append((source >= 0) & (source < length))
        sources.append(source.clamp(0, length - 1))
    (y, x), (y_inside, x_inside) = sources, inside
    rows = masks.gather(-2, y[..., None].expand_as(masks))
    moved = rows.gather(-1, x[..., None, :].expand_as(masks))
    return moved & y_inside[..., None] & x_inside[..., None, :]


MASK_NOISE: dict[str, Optional[MaskNoise]] = {
    'none': None,
    'point': point_noise,
    'cell': cell_noise,
    'shift': shift_noise,
    'scale': scale_noise,
}
