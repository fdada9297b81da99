"""Attention with mmdet's parameter names.

Shapes: B images, Q queries, K keys, C channels.
"""

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn


class SharedMaskAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` whose mask is shared by the heads and never copied for them."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor,
                mask: Tensor | None = None) -> Tensor:
        """Attend; arguments as in :class:`Attention`, batch first."""
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, w, b).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x, w, b in zip((query, key, value), weights, biases))
        if mask is not None and mask.ndim == 3:
            mask = mask[:, None]
        if mask is not None and mask.is_floating_point():
            mask = mask.to(q.dtype)
        out = F.scaled_dot_product_attention(
            q, k, v, mask, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class Attention(BaseModule):
    """Multi-head attention with a dropout of its output.

    The parameters are those of ``nn.MultiheadAttention``, held under ``attn``.

    Args:
        channels: C.
        num_heads: heads, a divisor of C.
        dropout: of the attention weights and of the output.
    """

    def __init__(self, channels: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attn = SharedMaskAttention(channels, num_heads, dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, key: Tensor, value: Tensor,
                mask: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            query: [B, Q, C], with its position code already added.
            key: [B, K, C], likewise.
            value: [B, K, C].
            mask: [B, Q, K], [Q, K] or, a head each, [B, heads, Q, K]; bool: True where a query may
                look, every row needs one; float: added to the attention logits.

        Returns:
            [B, Q, C], without the residual.
        """
        return self.dropout(self.attn(query, key, value, mask))
