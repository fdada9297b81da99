"""How queries read a memory (Mask2Former, Table 4c).

All kinds share one call: ``(query, query_pos, memory, region)``. ``region`` is a function, and None
for kinds without ``reads_region``.

Shapes: B images, Q queries, C channels, S positions of the memory.

Shapes: B images, C channels, S positions.
"""
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.attention import Attention
from mmpanseg.structures.mask_logits import at_least_float


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


Region = Callable[[], Tensor]

# exp(-10000) is zero in every precision, and half precision still holds the number
_SMALLEST_LOG_WEIGHT = -1e4


class PlainCrossAttention(Attention):
    """Every query looks everywhere (DETR); its subclasses restrict or weight that by a mask."""

    reads_region = False

    def forward(self, query: Tensor, query_pos: Tensor, memory: Memory,
                region: Region | None) -> Tensor:
        """Read.

        Args:
            query, query_pos: [B, Q, C].
            memory: what to read.
            region: gives bool [B, Q, S], True inside each query's mask; no row is all False. None
                where it is not read.

        Returns:
            [B, Q, C], without the residual.
        """
        mask = self.mask(query, query_pos, memory, region)
        return super().forward(query + query_pos, memory.key, memory.value, mask)

    def mask(self, query: Tensor, query_pos: Tensor, memory: Memory,
             region: Region | None) -> Tensor | None:
        """Mask of the attention, in a form that :class:`Attention` takes."""
        return None


class MaskedCrossAttention(PlainCrossAttention):
    """Every query looks inside the mask that it predicted before (Equation 2)."""

    reads_region = True

    def mask(self, query: Tensor, query_pos: Tensor, memory: Memory, region: Region) -> Tensor:
        return region()


class SpatiallyModulatedAttention(PlainCrossAttention):
    """Every query looks around places it predicts: spatially modulated co-attention.

    Gao et al., Fast Convergence of DETR with Spatially Modulated Co-Attention, section 3.2: a
    query has a center, each head an offset from it and a scale for both axes, and the logarithm
    of the Gaussian ``exp(-((x - cx) sx)^2 / beta - ((y - cy) sy)^2 / beta)`` is added to the
    attention logits. Places are counted in positions of the map that is read. As in its released
    code the scale multiplies, so zero switches the modulation off; unlike there every layer
    predicts its own center, as every layer has its own mask in masked attention.

    Args:
        channels, num_heads, dropout: of the attention.
        beta: bandwidth, 8 in the released code.
    """

    def __init__(self, channels: int, num_heads: int, dropout: float = 0.0,
                 beta: float = 8.0) -> None:
        super().__init__(channels, num_heads, dropout)
        self.beta = beta
        self.norm = nn.LayerNorm(channels)
        self.center = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, 2))
        self.offset = nn.Linear(channels, 2 * num_heads)
        self.scale = nn.Linear(channels, 2 * num_heads)

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.zeros_(self.scale.weight)
        nn.init.ones_(self.scale.bias)

    def mask(self, query: Tensor, query_pos: Tensor, memory: Memory, region: Region) -> Tensor:
        x = self.norm(query + query_pos)
        center = at_least_float(self.center(x)).sigmoid()[:, None]
        offset, scale = (
            at_least_float(part(x)).unflatten(-1, (-1, 2)).transpose(1, 2)
            for part in (self.offset, self.scale))
        return torch.cat([
            self.log_weight(center, offset, scale, size) for size in memory.sizes], dim=-1)

    def log_weight(self, center: Tensor, offset: Tensor, scale: Tensor,
                   size: tuple[int, int]) -> Tensor:
        """Logarithm of the Gaussians on one map.

        Args:
            center: [B, 1, Q, 2], (x, y) in 0..1.
            offset: [B, heads, Q, 2], in positions of the map.
            scale: [B, heads, Q, 2].
            size: (h, w) of the map.

        Returns:
            [B, heads, Q, h * w].
        """
        squares = []
        for axis, length in enumerate(reversed(size)):
            place = torch.arange(length, device=offset.device, dtype=offset.dtype) + 0.5
            middle = center[..., axis] * length + offset[..., axis]
            squares.append(((place - middle[..., None]) * scale[..., axis, None])**2)
        x, y = squares
        log_weight = -(y[..., :, None] + x[..., None, :]) / self.beta
        return log_weight.flatten(-2).clamp(min=_SMALLEST_LOG_WEIGHT)


class MaskPooling(BaseModule):
    """The mean of the values inside each query's mask, projected, in place of attention.

    After K-Net (Zhang et al., section 3.2), whose masks are hard as well. Averaging before the
    projection is the same as after it and costs much less.

    Args:
        channels: C.
        num_heads: of no use here: a mean has no heads.
        dropout: of the output.
    """

    reads_region = True

    def __init__(self, channels: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, query_pos: Tensor, memory: Memory, region: Region) -> Tensor:
        """Read; see :class:`PlainCrossAttention`."""
        inside = region().to(memory.value.dtype)
        mean = inside / inside.sum(-1, keepdim=True) @ memory.value
        return self.dropout(self.proj(mean))


CROSS_ATTENTION: dict[str, type[BaseModule]] = {
    'masked': MaskedCrossAttention,
    'plain': PlainCrossAttention,
    'smca': SpatiallyModulatedAttention,
    'mask_pooling': MaskPooling,
}
