"""Ablations of masked attention (Mask2Former, Table 4c).

They are called like :class:`mmpanseg.models.layers.attention.PlainCrossAttention`.

Shapes: B images, Q queries, C channels, S positions of the memory.
"""
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.attention import MakeMask, Memory, PlainCrossAttention
from mmpanseg.structures.mask_logits import at_least_float

# exp(-10000) is zero in every precision, and the number is representable in half precision
_MIN_LOG_WEIGHT = -1e4


class SpatiallyModulatedAttention(PlainCrossAttention):
    """Spatially modulated co-attention (SMCA): queries attend around locations that they predict.

    Every query predicts a center, and every head an offset from it and a scale for both axes. The
    logarithm of the Gaussian ``exp(-((x - cx) sx)^2 / beta - ((y - cy) sy)^2 / beta)`` is added to
    the attention logits. Coordinates are in cells of the map that is read. As in the released code
    of SMCA the scale is a factor, so that zero disables the modulation. Unlike in that code every
    layer predicts its own center, as every layer of masked attention computes its own mask.

    Source: Gao et al., Fast Convergence of DETR with Spatially Modulated Co-Attention, section 3.2.

    Args:
        channels: width C of queries and memory.
        num_heads: number of heads, a divisor of ``channels``.
        dropout: probability of dropout, applied to the attention weights and to the output.
        beta: bandwidth of the Gaussians, greater than 0; 8 in the released code of SMCA.
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

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args) -> None:
        # checkpoints of earlier versions spell the name of this module "centre"
        old, new = f'{prefix}centre.', f'{prefix}center.'
        for name in [name for name in state_dict if name.startswith(old)]:
            state_dict[name.replace(old, new)] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def attn_mask(self, query: Tensor, query_pos: Tensor, memory: Memory,
                  make_mask: MakeMask | None) -> Tensor:
        x = self.norm(query + query_pos)
        center = at_least_float(self.center(x)).sigmoid()[:, None]
        offset, scale = (
            at_least_float(part(x)).unflatten(-1, (-1, 2)).transpose(1, 2)
            for part in (self.offset, self.scale))
        return torch.cat([
            self.log_weight(center, offset, scale, size) for size in memory.sizes], dim=-1)

    def log_weight(self, center: Tensor, offset: Tensor, scale: Tensor,
                   size: tuple[int, int]) -> Tensor:
        """Compute the logarithm of the Gaussians on one map.

        Args:
            center: centers (x, y) relative to the map's size, in 0..1 [B, 1, Q, 2].
            offset: offsets (x, y) from the centers, in cells of the map [B, heads, Q, 2].
            scale: factors (x, y) of the distances [B, heads, Q, 2].
            size: (h, w) of the map.

        Returns:
            logarithms [B, heads, Q, h * w], at most 0.
        """
        squares = []
        for axis, length in enumerate(reversed(size)):
            cell = torch.arange(length, device=offset.device, dtype=offset.dtype) + 0.5
            mean = center[..., axis] * length + offset[..., axis]
            squares.append(((cell - mean[..., None]) * scale[..., axis, None])**2)
        x, y = squares
        log_weight = -(y[..., :, None] + x[..., None, :]) / self.beta
        return log_weight.flatten(-2).clamp(min=_MIN_LOG_WEIGHT)


class MaskPooling(BaseModule):
    """Mask pooling: the mean of the values inside each query's mask, projected linearly.

    The mean is computed before the projection, which is equal to the reverse order and cheaper.

    Source: Zhang et al., K-Net, section 3.2, whose masks are binary as well.

    Args:
        channels: width C of queries and memory.
        num_heads: ignored, since a mean has no heads; all cross-attentions share one signature.
        dropout: probability of dropout, applied to the output.
    """

    needs_mask = True

    def __init__(self, channels: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, query_pos: Tensor, memory: Memory,
                make_mask: MakeMask) -> Tensor:
        """Pool the memory; arguments as in :class:`PlainCrossAttention`."""
        mean = self._shares(make_mask(), memory) @ memory.value
        return self.dropout(self.proj(mean))

    def weights(self, query: Tensor, query_pos: Tensor, memory: Memory, make_mask: MakeMask,
                index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of the mean as those of one head, see :class:`PlainCrossAttention`."""
        inside = make_mask()[:, index]
        return self._shares(inside, memory)[:, None], inside

    @staticmethod
    def _shares(inside: Tensor, memory: Memory) -> Tensor:
        shares = inside.to(memory.value.dtype)
        return shares / shares.sum(-1, keepdim=True)
