"""Multi-scale deformable sampling in plain PyTorch, with an analytic backward pass.

Shapes: B images, S = sum of h * w tokens over L levels, H heads of D channels, Q queries with P
points per level and head. Internally the points of one query are one row of M = H * L * P numbers.

The four corners of a point are rows of the table `value [S * H, D]`, so a query's head is a bag of
4 * L * P weighted rows and `embedding_bag` is the whole gather. The weights of the corners are the
hat function max(0, 1 - |distance|). It is zero outside the level by itself if the first corner is
kept inside [0, size - 2], so neither padding nor validity masks are needed.
"""
from functools import lru_cache
from typing import NamedTuple, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Shapes = tuple[tuple[int, int], ...]

# Points handled at once: the temporaries of a chunk stay in the CPU's cache; a GPU wants more.
_CHUNK_POINTS = {'cpu': 1 << 16}
_CHUNK_POINTS_DEFAULT = 1 << 22
# Distance of the second corner on an axis with a single pixel: its weight is always zero.
_FAR = 1e30


def multi_scale_deformable_sampling(value: Tensor, spatial_shapes: Sequence[tuple[int, int]],
                                    locations: Tensor, weights: Tensor) -> Tensor:
    """Sample feature maps bilinearly at weighted points and sum per query and head.

    Args:
        value: features [B, S, H, D].
        spatial_shapes: (h, w) of each level as Python integers.
        locations: [B, Q, H, L, P, 2], (x, y) in [0, 1] from a level's outer edge to its outer edge
            (`align_corners=False`); zeros are sampled outside.
        weights: [B, Q, H, L, P].

    Returns:
        Tensor [B, Q, H * D] of value's type. Weights and sums are computed at least in float32.

    Raises:
        ValueError: shapes that do not fit each other.

    Source: Deformable DETR (arXiv 2010.04159), Eq. 3.
    """
    shapes = tuple((int(h), int(w)) for h, w in spatial_shapes)
    if locations.shape != (*weights.shape, 2) or weights.dim() != 5:
        raise ValueError('locations must be [B, Q, H, L, P, 2] and weights [B, Q, H, L, P], got '
                         f'{tuple(locations.shape)} and {tuple(weights.shape)}')
    dtype = torch.promote_types(value.dtype, torch.float32)
    size = locations.new_tensor([[w, h] for h, w in shapes], dtype=dtype)[:, None]
    x, y = (locations * size - 0.5).unbind(-1)
    return sample_at_pixels(value, shapes, x, y, weights)


def sample_at_pixels(value: Tensor, shapes: Shapes, x: Tensor, y: Tensor,
                     weights: Tensor) -> Tensor:
    """`multi_scale_deformable_sampling` for x, y [B, Q, H, L, P] in pixels of their level.

    Integers are pixel centres: pixel = location * size - 0.5.
    """
    batch, tokens, heads, channels = value.shape
    queries, points = weights.shape[1], weights.shape[-1]
    if weights.shape != (batch, queries, heads, len(shapes), points):
        raise ValueError(f'weights must be [B, Q, H, L, P] with B={batch}, H={heads} and '
                         f'L={len(shapes)}, got {tuple(weights.shape)}')
    if sum(h * w for h, w in shapes) != tokens or min(min(s) for s in shapes) < 1:
        raise ValueError(f'spatial_shapes {shapes} do not have {tokens} tokens together')
    dtype = torch.promote_types(value.dtype, torch.float32)
    rows = [t.to(dtype).reshape(batch, queries, -1) for t in (x, y, weights)]
    with torch.autocast(value.device.type, enabled=False):
        out = _Sampling.apply(value.to(dtype).contiguous(), *rows, shapes, points)
    return out.to(value.dtype)


class _Grid(NamedTuple):
    """Constants of the M points in a row; int32 [M] unless stated."""

    x_max: Tensor  # largest first corner
    y_max: Tensor
    x_far: Tensor  # distance to the second corner, float [M]
    y_far: Tensor
    row: Tensor  # table rows from one image row to the next
    start: Tensor  # table row of the level's first pixel
    corners: Tensor  # [4, L * P] table rows from the first corner: (y0, x0), (y0, x1), ...
    zero: Tensor


@lru_cache(maxsize=64)
def _grid(shapes: Shapes, heads: int, points: int, dtype: torch.dtype,
          device: torch.device) -> _Grid:
    starts = [0]
    for h, w in shapes:
        starts.append(starts[-1] + h * w)

    def per_point(values: list, kind: torch.dtype = torch.int32) -> Tensor:
        levels = torch.tensor(values, dtype=kind).repeat_interleave(points)
        return levels.repeat(heads).to(device)

    level_points = len(shapes) * points
    start = per_point([s * heads for s in starts[:-1]])
    start += torch.arange(heads, dtype=torch.int32, device=device).repeat_interleave(level_points)
    dx = [heads if w > 1 else 0 for _, w in shapes]
    dy = [w * heads if h > 1 else 0 for h, w in shapes]
    corners = torch.stack([per_point(d)[:level_points] for d in (
        [0] * len(shapes), dx, dy, [a + b for a, b in zip(dx, dy)])])
    return _Grid(
        x_max=per_point([max(w - 2, 0) for _, w in shapes]),
        y_max=per_point([max(h - 2, 0) for h, _ in shapes]),
        x_far=per_point([1. if w > 1 else _FAR for _, w in shapes], dtype),
        y_far=per_point([1. if h > 1 else _FAR for h, _ in shapes], dtype),
        row=per_point([w * heads for _, w in shapes]),
        start=start,
        corners=corners,
        zero=torch.zeros((), dtype=torch.int32, device=device))


def _hat(distance: Tensor) -> Tensor:
    return distance.abs().neg_().add_(1).clamp_(min=0)


def _hat_slope(distance: Tensor) -> Tensor:
    """Derivative of `_hat`, taken from the right where it jumps (as `grid_sample` does)."""
    falls = (distance >= 0) & (distance < 1)
    rises = (distance >= -1) & (distance < 0)
    return rises.to(distance.dtype).sub_(falls.to(distance.dtype))


def _axis(position: Tensor, last: Tensor, far: Tensor,
          zero: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First corner (int32) and the signed distances to the first and to the second one."""
    # The cast rounds towards zero, which differs from floor() only below zero, where both end at 0.
    first = torch.clamp(position.to(torch.int32), zero, last)
    near = position - first
    return first, near, near - far


class _Sampling(torch.autograd.Function):
    """value [B, S, H, D]; x, y, weights [B, Q, M] -> [B, Q, H * D]."""

    @staticmethod
    def forward(ctx, value, x, y, weights, shapes, points):
        ctx.save_for_backward(value, x, y, weights)
        ctx.shapes, ctx.points = shapes, points
        batch, queries, _ = x.shape
        heads, channels = value.shape[2:]
        grid = _grid(shapes, heads, points, value.dtype, value.device)
        out = value.new_empty(batch, queries, heads * channels)
        for image, chunk in _chunks(x):
            index, weight = _bags(grid, heads, x[image, chunk], y[image, chunk],
                                  weights[image, chunk])
            bags = F.embedding_bag(index, value[image].flatten(0, 1), mode='sum',
                                   per_sample_weights=weight)
            out[image, chunk] = bags.view(-1, heads * channels)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        value, x, y, weights = ctx.saved_tensors
        batch, queries, _ = x.shape
        heads, channels = value.shape[2:]
        grid = _grid(ctx.shapes, heads, ctx.points, value.dtype, value.device)
        grad = grad.contiguous()
        grad_value = torch.zeros_like(value)
        grad_x, grad_y, grad_weights = (torch.empty_like(t) for t in (x, y, weights))
        for image, chunk in _chunks(x):
            cx, cy, cw = x[image, chunk], y[image, chunk], weights[image, chunk]
            index, weight = _bags(grid, heads, cx, cy, cw)
            table = value[image].flatten(0, 1)
            g = grad[image, chunk].reshape(-1, 1, channels)
            grad_value[image].view(-1, channels).index_add_(
                0, index.flatten(), (weight[..., None] * g).flatten(0, 1))
            rows = table[index.flatten().long()].view(*index.shape, channels)
            d = (rows * g).sum(-1).view(-1, heads, 4, index.shape[1] // 4)
            d00, d01, d10, d11 = (t.flatten(1) for t in d.unbind(2))
            x0, near_x, far_x = _axis(cx, grid.x_max, grid.x_far, grid.zero)
            y0, near_y, far_y = _axis(cy, grid.y_max, grid.y_far, grid.zero)
            wx0, wx1, wy0, wy1 = (_hat(t) for t in (near_x, far_x, near_y, far_y))
            r0, r1 = wx0 * d00 + wx1 * d01, wx0 * d10 + wx1 * d11
            grad_weights[image, chunk] = wy0 * r0 + wy1 * r1
            grad_y[image, chunk] = cw * (_hat_slope(near_y) * r0 + _hat_slope(far_y) * r1)
            grad_x[image, chunk] = cw * (_hat_slope(near_x) * (wy0 * d00 + wy1 * d10) +
                                         _hat_slope(far_x) * (wy0 * d01 + wy1 * d11))
        return grad_value, grad_x, grad_y, grad_weights, None, None


def _chunks(x: Tensor):
    batch, queries, points = x.shape
    step = max(1, _CHUNK_POINTS.get(x.device.type, _CHUNK_POINTS_DEFAULT) // max(1, points))
    for image in range(batch):
        for first in range(0, queries, step):
            yield image, slice(first, first + step)


def _bags(grid: _Grid, heads: int, x: Tensor, y: Tensor,
          weights: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (int32) and weights of all corners, [n * H, 4 * L * P], for n queries' points."""
    x0, near_x, far_x = _axis(x, grid.x_max, grid.x_far, grid.zero)
    y0, near_y, far_y = _axis(y, grid.y_max, grid.y_far, grid.zero)
    first = torch.addcmul(grid.start, y0, grid.row).add_(x0, alpha=heads)
    wx0, wx1 = _hat(near_x), _hat(far_x)
    wy0, wy1 = _hat(near_y).mul_(weights), _hat(far_y).mul_(weights)
    shape = (-1, grid.corners.shape[1])
    index = first.view(shape)[:, None] + grid.corners
    weight = torch.stack([(wy0 * wx0).view(shape), (wy0 * wx1).view(shape),
                          (wy1 * wx0).view(shape), (wy1 * wx1).view(shape)], dim=1)
    return index.flatten(1), weight.flatten(1)
