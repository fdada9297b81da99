"""Bilinear resizing with the corner rules of kMaX-DeepLab's two versions."""
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


# functions with names, so that models that keep one can be pickled
def is_odd(side: int) -> bool:
    """The PyTorch version's rule: sides of 32 k + 1 pixels give odd maps at every stride."""
    return side % 2 == 1


def always(side: int) -> bool:
    """The TensorFlow version's rule."""
    return True


# option -> whether corners align, asked of one side of a map
ALIGN_CORNERS: dict[str, Callable[[int], bool]] = dict(odd=is_odd, always=always)


def resize(x: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """[B, C, h, w] -> [B, C, H, W]; the same tensor if it has that size."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    # a compiler traces the side as a symbol; the branch turns its oddness into a plain bool
    return F.interpolate(x, size, mode='bilinear', align_corners=True if align_corners else False)
