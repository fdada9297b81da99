"""Bilinear resizing with the corner rules of the two published versions of kMaX-DeepLab."""
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


# named functions and not lambdas, so that models that store one can be pickled
def is_odd(side: int) -> bool:
    """Rule of the PyTorch version: sides of 32 k + 1 pixels have odd maps at every stride."""
    return side % 2 == 1


def always(side: int) -> bool:
    """Rule of the TensorFlow version."""
    return True


# option -> whether corners are aligned, given the length of one side of a map
ALIGN_CORNERS: dict[str, Callable[[int], bool]] = dict(odd=is_odd, always=always)


def resize(x: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Resize maps bilinearly.

    Args:
        x: maps [B, C, h, w].
        size: (H, W).
        align_corners: whether the centers of the corner pixels coincide.

    Returns:
        maps [B, C, H, W]; ``x`` itself if it is of that size.
    """
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    # A compiler traces the side as a symbol; the branch turns its oddness into a plain bool.
    return F.interpolate(x, size, mode='bilinear', align_corners=True if align_corners else False)


def resize_planes(planes: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Resize planes [m, h, w], also none of them (m = 0), to ``size`` (H, W)."""
    if not len(planes):
        return planes.new_empty(0, *size)
    return resize(planes[None], size, align_corners)[0]


def source_rows(start: int, stop: int, in_rows: int, out_rows: int,
                align_corners: bool = False) -> tuple[int, int]:
    """Compute which input rows bilinear resizing reads for some output rows.

    Args:
        start: first output row.
        stop: last output row + 1.
        in_rows: height of the input in pixels.
        out_rows: height of the output in pixels.
        align_corners: see :func:`torch.nn.functional.interpolate`.

    Returns:
        first input row, and last input row + 1.
    """
    if in_rows == out_rows:
        return start, stop
    lower, upper, _ = _row_weights(
        torch.tensor([start, stop - 1]), in_rows, out_rows, align_corners)
    return int(lower[0]), int(upper[1]) + 1


def resize_rows(planes: Tensor, first: int, in_rows: int, size: tuple[int, int], start: int,
                stop: int, align_corners: bool = False) -> Tensor:
    """Compute some rows of bilinearly resized planes from the input rows that they depend on.

    Args:
        planes: [m, n, w], rows ``first`` to ``first + n`` of the input planes.
        first: number of the first row in ``planes``, see :func:`source_rows`.
        in_rows: height of the whole input in pixels.
        size: (H, W) of the whole result.
        start: first row of the result to compute.
        stop: last row + 1.
        align_corners: see :func:`torch.nn.functional.interpolate`.

    Returns:
        [m, stop - start, W], equal up to rounding to rows of the interpolated whole.
    """
    if planes.shape[2] != size[1]:
        planes = F.interpolate(
            planes[None], (planes.shape[1], size[1]), mode='bilinear',
            align_corners=align_corners)[0]
    if in_rows == size[0]:
        return planes[:, start - first:stop - first]
    rows = torch.arange(start, stop, device=planes.device)
    lower, upper, weight = _row_weights(rows, in_rows, size[0], align_corners)
    weight = weight.to(planes.dtype)[:, None]
    return planes[:, lower - first].mul_(1 - weight).addcmul_(planes[:, upper - first], weight)


def _row_weights(rows: Tensor, in_rows: int, out_rows: int,
                 align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The two input rows next to each output row, and the weight of the second one.

    Positions are rounded to single precision at the same steps as in torch: on tall images that
    changes values by more than the rounding of the values.
    """
    if align_corners:
        scale = float(torch.tensor(in_rows - 1, dtype=torch.float32) / max(out_rows - 1, 1))
        position = (rows.double() * scale).float()
    else:
        scale = float(torch.tensor(in_rows, dtype=torch.float32) / out_rows)
        position = ((rows.double() + 0.5) * scale - 0.5).float().clamp(min=0)
    lower = position.long().clamp(max=in_rows - 1)
    return lower, (lower + 1).clamp(max=in_rows - 1), (position - lower).clamp(max=1)
