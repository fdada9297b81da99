"""Sine positional encoding and reference points, computed once per shape."""
import math

import torch
from torch import Tensor

from mmpanseg.utils.cached_constants import cache_constants

# Multi-scale training meets many shapes; the tables of a few recent ones are worth their memory.
_RECENT_SHAPES = 16


def sine_encoding(size: tuple[int, int], channels: int, device: torch.device,
                  dtype: torch.dtype = torch.float32, temperature: float = 10000.0) -> Tensor:
    """Two-dimensional sinusoid, y in the first half of the channels, x in the second.

    DETR's encoding (Carion et al., appendix A.4) with coordinates normalized to 0..2 pi: the
    1-based index along an axis divided by its last value.

    Args:
        size: (h, w) of the feature map.
        channels: C, a multiple of 4.

    Returns:
        [h * w, C], shared by all callers: do not write into it.
    """
    if channels % 4:
        raise ValueError(f'a sine encoding needs a multiple of 4 channels, got {channels}')
    return _sine_encoding(tuple(size), channels, torch.device(device), dtype, temperature)


@cache_constants(_RECENT_SHAPES)
def _sine_encoding(size: tuple[int, int], channels: int, device: torch.device,
                   dtype: torch.dtype, temperature: float) -> Tensor:
    wide = torch.promote_types(dtype, torch.float32)
    half = channels // 2
    exponent = torch.arange(half, device=device, dtype=wide).div(2, rounding_mode='floor')
    frequency = temperature**(2 * exponent / half)
    axes = []
    for length in size:
        index = torch.arange(1, length + 1, device=device, dtype=wide)
        angle = (index / (length + 1e-6) * (2 * math.pi))[:, None] / frequency
        axes.append(torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], 2).flatten(1))
    height, width = size
    y = axes[0][:, None].expand(height, width, half)
    x = axes[1][None].expand(height, width, half)
    return torch.cat([y, x], dim=2).flatten(0, 1).to(dtype)


def pixel_centers(sizes: tuple[tuple[int, int], ...], device: torch.device,
                  dtype: torch.dtype = torch.float32) -> Tensor:
    """Centers of all pixels of several maps, (x, y) in [0, 1], [sum h * w, 2]; do not modify."""
    return _pixel_centers(tuple(map(tuple, sizes)), torch.device(device), dtype)


@cache_constants(_RECENT_SHAPES)
def _pixel_centers(sizes: tuple[tuple[int, int], ...], device: torch.device,
                   dtype: torch.dtype) -> Tensor:
    points = []
    for height, width in sizes:
        y = (torch.arange(height, device=device, dtype=dtype) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=dtype) + 0.5) / width
        points.append(torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).flatten(0, 1))
    return torch.cat(points)
