"""Sine positional encoding and reference points, cached per shape."""
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmpanseg.utils.cached_constants import cache_constants

# Multi-scale training alternates between many shapes; tables of the recent ones are cached.
_RECENT_SHAPES = 16


def sine_encoding(size: Sequence[int], channels: int, device: torch.device,
                  dtype: torch.dtype = torch.float32, temperature: float = 10000.0) -> Tensor:
    """Compute the two-dimensional sinusoidal encoding of DETR.

    The first half of the channels encodes y, the second half x. Coordinates are the 1-based index
    along an axis divided by its last value, scaled to 0..2 pi.

    Source: Carion et al., DETR, appendix A.4.

    Args:
        size: (h, w) of the feature map.
        channels: number of channels C, a multiple of 4.
        device: device of the result.
        dtype: floating-point type of the result; computed in float32 or wider.
        temperature: ratio of the longest to the shortest period, about.

    Returns:
        encoding [h * w, C], shared by all callers: do not modify it.

    Raises:
        ValueError: ``channels`` is not a multiple of 4.
    """
    if channels % 4:
        raise ValueError(f'channels={channels} of a sine encoding must be a multiple of 4')
    height, width = size
    return _sine_encoding((height, width), channels, torch.device(device), dtype, temperature)


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


def pixel_centers(sizes: Sequence[Sequence[int]], device: torch.device,
                  dtype: torch.dtype = torch.float32) -> Tensor:
    """Compute the centers of all pixels of several maps.

    Args:
        sizes: (h, w) of each map.
        device: device of the result.
        dtype: floating-point type of the result.

    Returns:
        points (x, y) in 0..1 [S, 2] with S the sum of ``h * w``, the maps one after the other;
        shared by all callers: do not modify it.
    """
    return _pixel_centers(
        tuple((height, width) for height, width in sizes), torch.device(device), dtype)


@cache_constants(_RECENT_SHAPES)
def _pixel_centers(sizes: tuple[tuple[int, int], ...], device: torch.device,
                   dtype: torch.dtype) -> Tensor:
    points = []
    for height, width in sizes:
        y = (torch.arange(height, device=device, dtype=dtype) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=dtype) + 0.5) / width
        points.append(torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).flatten(0, 1))
    return torch.cat(points)
