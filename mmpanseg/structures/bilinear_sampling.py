"""Bilinear sampling of features and of masks at points.

Points are (x, y) in [0, 1] between the outer edges of a plane (``align_corners=False``); values
outside of the plane are zero. Shapes: B images, C channels, h, w size of a plane, P points, N
planes, M rows.
"""
import torch
import torch.nn.functional as F
from torch import Tensor


def bilinear_corners(points: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Compute the four pixels around each point and their bilinear weights.

    Args:
        points: [..., 2], (x, y) in [0, 1].
        size: (h, w) of the plane.

    Returns:
        indices int64 [..., 4] into the flattened plane, clamped to its border, and weights
        [..., 4], zero for pixels outside.
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
    """Sample features whose channels are contiguous in memory.

    Each value is a weighted sum of four rows of the table. ``grid_sample``, which reads one channel
    at a time, is an order of magnitude slower on a CPU.

    Args:
        table: [B, h * w, C].
        size: (h, w) of the feature map.
        points: [B, P, 2].

    Returns:
        [B, P, C].
    """
    batch, pixels, channels = table.shape
    index, weight = bilinear_corners(points, size)
    index = index + torch.arange(batch, device=index.device)[:, None, None] * pixels
    sums = F.embedding_bag(index.flatten(0, 1), table.flatten(0, 1), mode='sum',
                           per_sample_weights=weight.flatten(0, 1))
    return sums.view(batch, -1, channels)


def sample_labels(planes: Tensor, row: Tensor, points: Tensor,
                  label: Tensor | None = None) -> Tensor:
    """Sample masks, or the binary masks of labels, each row at its own points.

    Args:
        planes: masks bool [N, h, w], or maps of labels, integer [N, h, w].
        row: int64 [M], index of the plane of each row.
        points: [M, P, 2].
        label: [M], label whose mask each row samples; None if ``planes`` are masks.

    Returns:
        [M, P] in 0..1.
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
    """Compute two neighboring pixels along one axis and their linear weights.

    The weights are hat functions of the distance. With the first pixel clamped to [0, size - 2],
    they are zero for positions outside of the plane.

    Args:
        position: [M, P] in [0, 1].
        size: pixels of the axis.

    Returns:
        index of the first pixel, int64 [M, P], the weights of the first and of the second pixel.
    """
    position = position * size - 0.5
    first = position.floor().clamp_(0, max(size - 2, 0))
    position.sub_(first)
    far = (position - 1).abs_().neg_().add_(1).clamp_(min=0)
    near = position.abs_().neg_().add_(1).clamp_(min=0)
    # an axis of one pixel has no second pixel
    return first.long(), near, far if size > 1 else far.zero_()
