"""Masked-attention transformer decoder (Mask2Former, section 3.2) and its ablations.

Shapes: B images, Q queries, C channels, C' channels of mask embeddings and mask features, S
positions of a memory, h x w mask features at 1/4 of the input.
"""
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmpanseg.models.layers.attention import (
    Attention,
    MakeMask,
    MaskedCrossAttention,
    Memory,
    PlainCrossAttention,
)
from mmpanseg.models.layers.feed_forward import FeedForward
from mmpanseg.models.transformer_decoders.cross_attention_variants import (
    MaskPooling,
    SpatiallyModulatedAttention,
)
from mmpanseg.registry import MODELS
from mmpanseg.utils.config_checks import resolve_option


class UnsupervisedQueries(nn.Embedding):
    """Query features that are learned through the decoder layers only.

    Every kind of query features has a ``weight`` [Q, C] and ``first_supervised``, the index of the
    first prediction with a loss: 0 is the prediction from the query features themselves, 1 that of
    the first decoder layer.
    """

    first_supervised = 1


class SupervisedQueries(nn.Embedding):
    """Learned query features whose own masks and classes are supervised, like region proposals.

    Source: Mask2Former, section 3.2.3.
    """

    first_supervised = 0


class ZeroQueries(nn.Module):
    """Query features of zeros, as in DETR: queries differ by their position encoding only.

    Args:
        num_queries: number of queries Q.
        channels: width C of the query features.
    """

    first_supervised = 1
    weight: Tensor

    def __init__(self, num_queries: int, channels: int) -> None:
        super().__init__()
        self.register_buffer('weight', torch.zeros(num_queries, channels), persistent=False)


QUERY_FEATS: dict[str, type[SupervisedQueries | UnsupervisedQueries | ZeroQueries]] = {
    'supervised': SupervisedQueries,
    'unsupervised': UnsupervisedQueries,
    'zero': ZeroQueries,
}
QUERY_POS: dict[str, type[nn.Embedding | ZeroQueries]] = {
    'learned': nn.Embedding,
    'none': ZeroQueries,
}
# Table 4c
CROSS_ATTENTION: dict[str, type[PlainCrossAttention | MaskPooling]] = {
    'masked': MaskedCrossAttention,
    'plain': PlainCrossAttention,
    'smca': SpatiallyModulatedAttention,
    'mask_pooling': MaskPooling,
}
# the parts of a layer, in the order of Mask2Former
PARTS = ('cross', 'self', 'ffn')


def concatenate(memories: Sequence[Memory]) -> list[Memory]:
    """Join all memories into one."""
    return [Memory(
        torch.cat([memory.key for memory in memories], dim=1),
        torch.cat([memory.value for memory in memories], dim=1),
        tuple(size for memory in memories for size in memory.sizes))]


# Strategies for several maps (Table 4d): the layers read the maps in turn, or each layer all maps.
MULTI_SCALE: dict[str, Callable[[Sequence[Memory]], list[Memory]]] = {
    'efficient': list,
    'naive': concatenate,
}


class DecoderLayer(BaseModule):
    """Cross-attention, self-attention and feed-forward network, each with residual and norm.

    Args:
        channels: width C of queries and memory.
        num_heads: number of heads of both attentions, a divisor of ``channels``.
        feedforward_channels: hidden width of the feed-forward network.
        dropout: probability of dropout in all three parts.
        pre_norm: whether to normalize before each part instead of after its residual connection.
        cross_attention: kind of cross-attention, a key of ``CROSS_ATTENTION``.
        order: order of the three parts (Table 4b), a permutation of ``PARTS``; ``norms[i]``
            belongs to part i of it.

    Raises:
        ValueError: ``order`` or ``cross_attention`` is unknown.
    """

    def __init__(self, channels: int, num_heads: int, feedforward_channels: int,
                 dropout: float = 0.0, pre_norm: bool = False, cross_attention: str = 'masked',
                 order: Sequence[str] = PARTS) -> None:
        super().__init__()
        if sorted(order) != sorted(PARTS):
            raise ValueError(f'order={list(order)} must contain each of {", ".join(PARTS)} once')
        kind = resolve_option('cross_attention', cross_attention, CROSS_ATTENTION)
        self.cross_attn = kind(channels, num_heads, dropout)
        self.self_attn = Attention(channels, num_heads, dropout)
        self.ffn = FeedForward(channels, feedforward_channels, dropout)
        self.norms = ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.pre_norm = pre_norm
        self.order = tuple(order)

    def forward(self, query: Tensor, query_pos: Tensor, memory: Memory,
                make_mask: MakeMask | None, self_attn_mask: Tensor | None = None) -> Tensor:
        """Update the queries.

        Args:
            query: query features [B, Q, C].
            query_pos: position encoding of the queries [B, Q, C].
            memory: what the cross-attention reads.
            make_mask: returns the attention mask of the cross-attention, bool [B, Q, S]; None
                where the cross-attention does not need one.
            self_attn_mask: bool [Q, Q], True where a query may attend to another one; None: no
                mask.

        Returns:
            updated query features [B, Q, C].
        """
        parts: dict[str, Callable[[Tensor], Tensor]] = {
            'cross': lambda x: self.cross_attn(x, query_pos, memory, make_mask),
            'self': lambda x: self.self_attn(x + query_pos, x + query_pos, x, self_attn_mask),
            'ffn': self.ffn}
        for norm, name in zip(self.norms, self.order):
            query = self._residual(norm, query, parts[name])
        return query

    def _residual(self, norm: nn.Module, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        return x + part(norm(x)) if self.pre_norm else norm(x + part(x))


class DecodedQueries(NamedTuple):
    """Query features of one prediction of the decoder.

    Attributes:
        queries: normalized query features [B, Q, C].
        embeds: their mask embeddings [B, Q, C'] with gradients, where the next layer's attention
            mask needs them; mask logits reuse them. Otherwise None.
    """

    queries: Tensor
    embeds: Tensor | None

    def split(self, count: int) -> 'tuple[DecodedQueries, DecodedQueries]':
        """Separate the first ``count`` queries from the others."""
        first, others = (
            DecodedQueries(
                self.queries[:, part], None if self.embeds is None else self.embeds[:, part])
            for part in (slice(count), slice(count, None)))
        return first, others


class CrossAttentionMasks:
    """Attention masks of all decoder layers: inside the masks that the queries predict.

    Source: Mask2Former, section 3.2.1, Equation 2.

    Args:
        mask_features: [B, C', h, w].
        sizes: for each memory, (h, w) of its maps.
    """

    def __init__(self, mask_features: Tensor,
                 sizes: Sequence[Sequence[tuple[int, int]]]) -> None:
        self.mask_features = mask_features
        self.sizes = sizes
        self._resized: dict[int, Tensor] = {}

    def __call__(self, embeds: Tensor, layer: int) -> Tensor:
        """Compute the attention mask of one layer.

        No module with parameters runs in here: mixed precision caches the half-precision copy of a
        weight until the end of the step, and older PyTorch would cache one without gradient.

        Args:
            embeds: mask embeddings [B, Q, C'].
            layer: index of the decoder layer, from 0.

        Returns:
            bool [B, Q, S] on the memory that this layer reads.
        """
        level = layer % len(self.sizes)
        with torch.no_grad():
            if level not in self._resized:  # all layers that read a memory share one resized copy
                self._resized[level] = resize_features(self.mask_features, self.sizes[level])
            return attention_mask(embeds, self._resized[level])


@MODELS.register_module()
class MaskedAttentionDecoder(BaseModule):
    """Transformer decoder whose layers read one memory each, inside the mask predicted before.

    With ``cross_attention='plain'``, ``order=('self', 'cross', 'ffn')`` and ``dropout=0.1`` it is
    the decoder of DETR and MaskFormer.

    Args:
        num_layers: number of decoder layers; layer i reads memory i mod (number of memories).
        channels: width C of queries and memories.
        num_heads: number of heads of every attention, a divisor of ``channels``.
        feedforward_channels: hidden width of the feed-forward networks.
        dropout: probability of dropout in all parts of the layers; 0 in the paper (Table 4b).
        pre_norm: whether to normalize before each part instead of after its residual connection.
        cross_attention: 'masked': inside the predicted mask; 'plain': at all positions; 'smca':
            around predicted centers; 'mask_pooling': mean inside the predicted mask (Table 4c).
        order: order of cross-attention ('cross'), self-attention ('self') and feed-forward network
            ('ffn') in a layer (Table 4b).
        init_cfg: config of the initialization, mmengine style.
    """

    def __init__(self, num_layers: int = 9, channels: int = 256, num_heads: int = 8,
                 feedforward_channels: int = 2048, dropout: float = 0.0,
                 pre_norm: bool = False, cross_attention: str = 'masked',
                 order: Sequence[str] = PARTS, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.layers = ModuleList(
            DecoderLayer(channels, num_heads, feedforward_channels, dropout, pre_norm,
                         cross_attention, order)
            for _ in range(num_layers))
        self.post_norm = nn.LayerNorm(channels)

    def init_weights(self) -> None:
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        super().init_weights()

    def forward(self, query: Tensor, query_pos: Tensor, memories: Sequence[Memory],
                attn_masks: Callable[[Tensor, int], Tensor],
                embed_masks: Callable[[Tensor], Tensor],
                self_attn_mask: Tensor | None = None) -> list[DecodedQueries]:
        """Decode.

        Args:
            query: initial query features [B, Q, C].
            query_pos: position encoding of the queries [B, Q, C], the same in every layer.
            memories: what the cross-attentions read, low resolution first.
            attn_masks: computes the attention mask, bool [B, Q, S], from mask embeddings
                [B, Q, C'] and the index of a layer, see :class:`CrossAttentionMasks`.
            embed_masks: computes mask embeddings [B, Q, C'] from normalized query features
                [B, Q, C].
            self_attn_mask: bool [Q, Q], True where a query may attend to another one in
                self-attention; None: no mask.

        Returns:
            predictions of the initial queries, then of every layer: ``num_layers + 1`` in total.
        """
        outputs = []
        for index, layer in enumerate(self.layers):
            normalized, embeds, make_mask = self.post_norm(query), None, None
            if layer.cross_attn.needs_mask:
                # Embedded here and not inside the layer: the first run of a checkpointed layer is
                # without gradients.
                embeds = embed_masks(normalized)
                make_mask = partial(attn_masks, embeds.detach(), index)
            outputs.append(DecodedQueries(normalized, embeds))
            query = layer(
                query, query_pos, memories[index % len(memories)], make_mask, self_attn_mask)
        return [*outputs, DecodedQueries(self.post_norm(query), None)]


def resize_features(mask_features: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Resize mask features bilinearly to the size of each map of a memory.

    Resizing is linear and commutes with the product that computes mask logits, so features are
    resized instead of the masks of all queries.

    Args:
        mask_features: [B, C', h, w].
        sizes: (h, w) of the maps.

    Returns:
        features [B, C', S], the maps flattened one after the other.
    """
    resized = [F.interpolate(mask_features, size, mode='bilinear',
                             align_corners=False).flatten(2) for size in sizes]
    return resized[0] if len(resized) == 1 else torch.cat(resized, dim=-1)


def attention_mask(embeds: Tensor, features: Tensor) -> Tensor:
    """Compute the mask of masked attention (Mask2Former, section 3.2.1, Equation 2).

    Args:
        embeds: mask embeddings [B, Q, C'].
        features: resized mask features [B, C', S].

    Returns:
        bool [B, Q, S], True inside a query's mask, and in the whole row if that mask is empty. A
        logit of exactly 0 (probability 0.5) is inside.
    """
    return open_empty(embeds @ features >= 0)


def open_empty(mask: Tensor) -> Tensor:
    """Set rows of a bool mask [..., S] that are all False to True: softmax needs an open entry."""
    return mask | ~mask.any(-1, keepdim=True)
