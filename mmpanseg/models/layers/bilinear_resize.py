"""Bilinear resizing with the corner rules of the two published versions of kMaX-DeepLab."""
from collections.abc import Callable, Sequence

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
