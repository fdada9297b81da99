"""Attention with mmdet's parameter names: self-attention and the cross-attentions of Mask2Former.

The cross-attentions share one call: ``(query, query_pos, memory, make_mask)``. Other variants of
Table 4c are in ``transformer_decoders/cross_attention_variants.py``.

Shapes: B images, Q queries, K keys, C channels, S positions of a memory.
"""
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

# Returns the attention mask of a cross-attention, bool [B, Q, S], True inside each query's mask.
# No row is all False.
MakeMask = Callable[[], Tensor]


class SharedMaskAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` whose mask is shared by the heads and never copied for them.

    Args:
        args, kwargs: those of ``nn.MultiheadAttention``; the layout must be batch first.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor,  # type: ignore[override]
                mask: Tensor | None = None) -> Tensor:
        """Attend; arguments as in :class:`Attention`.

        The base class returns a pair and copies a mask of three dimensions for every head; here
        only the attended values are computed.
        """
        q, k, v = self._project(query, key, value)
        out = F.scaled_dot_product_attention(
            q, k, v, _of_heads(mask, q), dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def weights(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the attention weights of :meth:`forward` without dropout, [B, heads, Q, K].

        Arguments as in :class:`Attention`. The sum over the keys is 1.
        """
        q, k = self._project(query, key)
        logits = q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)
        mask = _of_heads(mask, q)
        if mask is not None:
            logits = logits + mask if mask.is_floating_point() else logits.masked_fill(
                ~mask, -torch.inf)
        return logits.softmax(-1)

    def _project(self, *inputs: Tensor) -> list[Tensor]:
        """Project query, key and value, or the first of them, to [B, heads, n, C / heads]."""
        return [F.linear(x, w, b).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
                for x, w, b in zip(inputs, self.in_proj_weight.chunk(3),
                                   self.in_proj_bias.chunk(3))]


def _of_heads(mask: Tensor | None, query: Tensor) -> Tensor | None:
    """Convert an attention mask to one that fits [B, heads, Q, K]."""
    if mask is not None and mask.ndim == 3:
        mask = mask[:, None]
    return mask.to(query.dtype) if mask is not None and mask.is_floating_point() else mask


class Attention(BaseModule):
    """Multi-head attention followed by dropout.

    The parameters are those of ``nn.MultiheadAttention``, under the name ``attn``.

    Args:
        channels: width C of queries, keys, values and output.
        num_heads: number of heads, a divisor of ``channels``.
        dropout: probability of dropout, applied to the attention weights and to the output.
    """

    def __init__(self, channels: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attn = SharedMaskAttention(channels, num_heads, dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, key: Tensor, value: Tensor,
                mask: Tensor | None = None) -> Tensor:
        """Compute attention without the residual connection.

        Args:
            query: queries [B, Q, C], position encoding included.
            key: keys [B, K, C], position encoding included.
            value: values [B, K, C].
            mask: attention mask [B, Q, K], [Q, K] or, one per head, [B, heads, Q, K]. bool: True
                where a query may attend, at least once in every row. float: added to the attention
                logits. None: no mask.

        Returns:
            attended values [B, Q, C], after output projection and dropout.
        """
        return self.dropout(self.attn(query, key, value, mask))


class Memory(NamedTuple):
    """One or several feature maps, flattened, that the queries of a decoder layer attend to.

    Attributes:
        key: features plus position encoding [B, S, C], the maps one after the other.
        value: features [B, S, C], in the same order.
        sizes: (h, w) of each map; S is the sum of ``h * w``.
    """

    key: Tensor
    value: Tensor
    sizes: tuple[tuple[int, int], ...]


class PlainCrossAttention(BaseModule):
    """Cross-attention of every query to all positions of a memory, as in DETR.

    Subclasses restrict or weight the attention with a mask.

    Args:
        channels: width C of queries and memory.
        num_heads: number of heads, a divisor of ``channels``.
        dropout: probability of dropout, applied to the attention weights and to the output.

    Attributes:
        needs_mask: whether :meth:`forward` calls ``make_mask``.
    """

    needs_mask = False

    def __init__(self, channels: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attn = SharedMaskAttention(channels, num_heads, dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, query_pos: Tensor, memory: Memory,
                make_mask: MakeMask | None) -> Tensor:
        """Attend to the memory, without the residual connection.

        Args:
            query: query features [B, Q, C].
            query_pos: position encoding of the queries [B, Q, C].
            memory: keys and values.
            make_mask: returns the mask that each query predicted before, bool [B, Q, S]; None is
                enough where ``needs_mask`` is False.

        Returns:
            update of the query features [B, Q, C].
        """
        mask = self.attn_mask(query, query_pos, memory, make_mask)
        return self.dropout(self.attn(query + query_pos, memory.key, memory.value, mask))

    def weights(self, query: Tensor, query_pos: Tensor, memory: Memory,
                make_mask: MakeMask | None, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute where some queries look in :meth:`forward`, without dropout.

        Args:
            query: as in :meth:`forward`.
            query_pos: as in :meth:`forward`.
            memory: as in :meth:`forward`.
            make_mask: as in :meth:`forward`.
            index: int64 [M], the queries.

        Returns:
            attention weights [B, heads, M, S], whose sum over the positions is 1; and the mask
            that restricts or weights them, [B, M, S] or [B, heads, M, S], None without one.
        """
        mask = self.attn_mask(query, query_pos, memory, make_mask)
        if mask is not None:
            mask = mask[..., index, :]
        return self.attn.weights((query + query_pos)[:, index], memory.key, mask), mask

    def attn_mask(self, query: Tensor, query_pos: Tensor, memory: Memory,
                  make_mask: MakeMask | None) -> Tensor | None:
        """Return the attention mask, in one of the forms of :class:`Attention`; None: no mask."""
        return None


class MaskedCrossAttention(PlainCrossAttention):
    """Masked attention: every query attends inside the mask that it predicted before.

    Source: Mask2Former, section 3.2.1, Equation 2. Arguments as in :class:`PlainCrossAttention`.
    """

    needs_mask = True

    def attn_mask(self, query: Tensor, query_pos: Tensor, memory: Memory,
                  make_mask: MakeMask | None) -> Tensor:
        assert make_mask is not None  # the decoder passes it wherever needs_mask is True
        return make_mask()
