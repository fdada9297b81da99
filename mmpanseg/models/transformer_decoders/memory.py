"""What queries read: feature maps as keys and values, one at a time or all together.

Shapes: B images, C channels, S positions.
"""
from typing import Callable, NamedTuple, Sequence

import torch
from torch import Tensor


class Memory(NamedTuple):
    """Feature maps of ``sizes`` (h, w) as keys and values [B, S, C], S their positions in order."""
    key: Tensor
    value: Tensor
    sizes: tuple[tuple[int, int], ...]


def concatenate(memories: Sequence[Memory]) -> list[Memory]:
    """All maps in one memory."""
    return [Memory(
        torch.cat([memory.key for memory in memories], dim=1),
        torch.cat([memory.value for memory in memories], dim=1),
        tuple(size for memory in memories for size in memory.sizes))]


# Several maps for the decoder (Table 4d): its layers read them in turn, or each layer all of them.
MULTI_SCALE: dict[str, Callable[[Sequence[Memory]], list[Memory]]] = {
    'efficient': list,
    'naive': concatenate,
}
