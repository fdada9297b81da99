"""Bilinear reading of planes at points, in forms that suit what is read.

Points are (x, y) in [0, 1] from a plane's outer edge to its outer edge (``align_corners=False``);
outside, everything is zero. Shapes: B images, C channels, h, w plane, P points, M rows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def bilinear_corners(points: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Flat indices and weights of the four pixels around each point.

    Args:
        points: [..., 2], (x, y) in [0, 1].
        size: (H, W).

    Returns:
        int64 [..., 4] indices into a flattened [H, W] plane, clamped into it, and [..., 4] weights,
        zero for corners outside.
    """
    height, width = size
    x = points[..., 0] * width - 0.5
    y = points[..., 1] * height - 0.5
    x0, y0 = x.floor(), y.floor()
    right, lower = x - x0, y - y0
    xs = torch.stack([x0, x0 + 1], -1)
    ys = torch.stack([y0, y0 + 1], -1)
    wx = torch.stack([1 - right, right], -1) * ((xs >= 0) & (xs < width))
    wy = torch.stack([1 - lower, lower], -1) * ((ys >= 0) & (ys < height))
    xi = xs.clamp(0, width - 1).long()
    yi = ys.clamp(0, height - 1).long()
    index = (yi * width)[..., :, None] + xi[..., None, :]
    weight = wy[..., :, None] * wx[..., None, :]
    return index.flatten(-2), weight.flatten(-2)


def sample_table(table: Tensor, size: tuple[int, int], points: Tensor) -> Tensor:
    """Features at points that all channels share, [B, P, C].

    With a pixel's channels side by side, a point is a weighted sum of four rows. Reading them
    channel by channel, as ``grid_sample`` does, is an order of magnitude slower on a CPU.

    Args:
        table: [B, h * w, C].
        size: (h, w).
        points: [B, P, 2].
    """
    batch, pixels, channels = table.shape
    index, weight = bilinear_corners(points, size)
    index = index + torch.arange(batch, device=index.device)[:, None, None] * pixels
    sums = F.embedding_bag(index.flatten(0, 1), table.flatten(0, 1), mode='sum',
                           per_sample_weights=weight.flatten(0, 1))
    return sums.view(batch, -1, channels)


def sample_labels(planes: Tensor, row: Tensor, points: Tensor,
                  label: Tensor | None = None) -> Tensor:
    """Share of each point that a label takes, every row at points of its own, [M, P] in 0..1.

    Args:
        planes: integers or bool [N, h, w].
        row: int64 [M], the plane of each row.
        points: [M, P, 2].
        label: [M], what to look for in the planes; None if they are masks.
    """
    height, width = planes.shape[1:]
    column, left, right = _pixel_pair(points[..., 0], width)
    line, upper, lower = _pixel_pair(points[..., 1], height)
    first = line.mul_(width).add_(column).add_((row * (height * width))[:, None])
    flat = planes.flatten()
    step = int(width > 1)

    def read(shift: int) -> Tensor:
        corner = flat.take(first + shift if shift else first)
        return (corner if label is None else corner == label[:, None]).to(left.dtype)

    def read_line(shift: int) -> Tensor:
        return read(shift).mul_(left).addcmul_(read(shift + step), right)

    below = width * int(height > 1)
    return read_line(0).mul_(upper).addcmul_(read_line(below), lower)


def _pixel_pair(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """First of two neighboring pixels on an axis, int64, and the weights of both.

    The weights are hat functions of the distance. They vanish outside by themselves if the first
    pixel is kept inside [0, size - 2].
    """
    position = position * size - 0.5
    first = position.floor().clamp_(0, max(size - 2, 0))
    position.sub_(first)
    far = (position - 1).abs_().neg_().add_(1).clamp_(min=0)
    near = position.abs_().neg_().add_(1).clamp_(min=0)
    # a single pixel has no neighbor
    return first.long(), near, far if size > 1 else far.zero_()
