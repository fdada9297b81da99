"""Masked-attention transformer decoder (Mask2Former section 3.2) and its ablations.

Shapes: B images, Q queries, C channels, S positions of a memory, L predictions.

Each kind of content is a module with ``weight`` [Q, C] and ``first_supervised``, the index of the
first prediction with a loss: 0 is the prediction made from the start content itself, 1 that of the
first decoder layer.
"""
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmpanseg.models.layers.attention import Attention
from mmpanseg.models.layers.feed_forward import FeedForward
from mmpanseg.models.transformer_decoders.cross_attention import CROSS_ATTENTION, Memory, Region
from mmpanseg.registry import MODELS
from mmpanseg.utils.config_checks import resolve_option


class UnsupervisedQueries(nn.Embedding):
    """Learned through the decoder layers only."""
    first_supervised = 1


class SupervisedQueries(nn.Embedding):
    """Learned, and their own masks and classes have losses too: they act as proposals."""
    first_supervised = 0


class ZeroQueries(nn.Module):
    """Zeros, as in DETR; queries differ by their position code only.

    Args:
        num_queries: Q.
        channels: C.
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


PARTS = ('cross', 'self', 'ffn')


class DecoderLayer(BaseModule):
    """Cross-attention, self-attention, feed-forward, each with residual and norm.

    Args:
        channels: C.
        num_heads: attention heads.
        feedforward_channels: hidden width.
        dropout: of all three parts.
        pre_norm: normalize before each part instead of after its residual.
        cross_attention: kind, a key of ``CROSS_ATTENTION``.
        order: of the three parts; norm i belongs to part i of it.
    """

    def __init__(self, channels: int, num_heads: int, feedforward_channels: int,
                 dropout: float = 0.0, pre_norm: bool = False, cross_attention: str = 'masked',
                 order: Sequence[str] = PARTS) -> None:
        super().__init__()
        if sorted(order) != sorted(PARTS):
            raise ValueError(f'order={list(order)} must hold each of {", ".join(PARTS)} once')
        kind = resolve_option('cross_attention', cross_attention, CROSS_ATTENTION)
        self.cross_attn = kind(channels, num_heads, dropout)
        self.self_attn = Attention(channels, num_heads, dropout)
        self.ffn = FeedForward(channels, feedforward_channels, dropout)
        self.norms = ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.pre_norm = pre_norm
        self.order = tuple(order)

    def forward(self, query: Tensor, query_pos: Tensor, memory: Memory,
                region: Region | None, self_mask: Tensor | None = None) -> Tensor:
        """Update queries.

        Args:
            query, query_pos: [B, Q, C].
            memory: what to look at.
            region: gives bool [B, Q, S], the positions inside each query's mask; None where the
                cross-attention does not read it.
            self_mask: bool [Q, Q], True where a query may look at another; None: everywhere.

        Returns:
            [B, Q, C].
        """
        parts = {
            'cross': lambda x: self.cross_attn(x, query_pos, memory, region),
            'self': lambda x: self.self_attn(x + query_pos, x + query_pos, x, self_mask),
            'ffn': self.ffn}
        for norm, name in zip(self.norms, self.order):
            query = self._residual(norm, query, parts[name])
        return query

    def _residual(self, norm: nn.Module, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        return x + part(norm(x)) if self.pre_norm else norm(x + part(x))


class DecodedQueries(NamedTuple):
    """One prediction of the decoder.

    ``queries``: normalized, [B, Q, C]; ``embeds``: their mask embeddings [B, Q, C'] with gradients,
    where a layer had to know them, else None. They are made once, for the next layer's region and
    for the mask logits.
    """
    queries: Tensor
    embeds: Tensor | None

    def split(self, count: int) -> 'tuple[DecodedQueries, DecodedQueries]':
        """The first ``count`` queries, and the others."""
        first, others = (
            DecodedQueries(*(None if x is None else x[:, part] for x in self))
            for part in (slice(count), slice(count, None)))
        return first, others


class MaskRegions:
    """Where queries may look: inside the masks that they predict (Equation 2).

    Args:
        mask_features: [B, C', h, w] at 1/4 of the input.
        sizes: of the maps in each memory.
    """

    def __init__(self, mask_features: Tensor,
                 sizes: Sequence[Sequence[tuple[int, int]]]) -> None:
        self.mask_features = mask_features
        self.sizes = sizes
        self._resized: dict[int, Tensor] = {}

    def __call__(self, embeds: Tensor, layer: int) -> Tensor:
        """Bool [B, Q, S] on the memory of a decoder layer, for mask embeddings [B, Q, C'].

        Nothing with parameters runs in here. Mixed precision keeps the half-precision copy of a
        weight until the end of the step; older PyTorch would keep one without gradient.
        """
        level = layer % len(self.sizes)
        with torch.no_grad():
            if level not in self._resized:  # all layers that read a memory share one resized copy
                self._resized[level] = resize_features(self.mask_features, self.sizes[level])
            return attention_mask(embeds, self._resized[level])


@MODELS.register_module()
class MaskedAttentionDecoder(BaseModule):
    """Decoder whose layers look at one memory each, inside the mask predicted before.

    With ``cross_attention='plain'``, ``order=('self', 'cross', 'ffn')`` and ``dropout=0.1`` it is
    the decoder of DETR and MaskFormer.

    Args:
        num_layers: decoder layers; layer i reads memory i mod (number of memories).
        channels, num_heads, feedforward_channels, dropout, pre_norm: of each layer.
        cross_attention: 'masked'; 'plain': looks everywhere; 'smca': at predicted places;
            'mask_pooling': the mean inside the mask (Table 4c).
        order: of cross-attention, self-attention and feed-forward in a layer (Table 4b).
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
                regions: Callable[[Tensor, int], Tensor], embed_masks: Callable[[Tensor], Tensor],
                self_mask: Tensor | None = None) -> list[DecodedQueries]:
        """Decode.

        Args:
            query, query_pos: [B, Q, C].
            memories: what to look at, low resolution first.
            regions: bool [B, Q, S] for mask embeddings and the number of a layer, see
                :class:`MaskRegions`.
            embed_masks: mask embeddings [B, Q, C'] of normalized queries [B, Q, C].
            self_mask: bool [Q, Q], True where a query may look at another in self-attention; None:
                everywhere.

        Returns:
            all predictions, L = layers + 1: the initial queries' first, the final ones last.
        """
        outputs = []
        for index, layer in enumerate(self.layers):
            normalized, embeds, region = self.post_norm(query), None, None
            if layer.cross_attn.reads_region:
                # not where the layer asks: a checkpointed layer runs without gradients first
                embeds = embed_masks(normalized)
                region = partial(regions, embeds.detach(), index)
            outputs.append(DecodedQueries(normalized, embeds))
            query = layer(query, query_pos, memories[index % len(memories)], region, self_mask)
        return [*outputs, DecodedQueries(self.post_norm(query), None)]


def resize_features(features: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Features [B, C, h, w] resized bilinearly to each size, flat, one after the other, [B, C, S].

    Resizing commutes with the product that makes mask logits, so features are resized, not masks.
    """
    resized = [F.interpolate(features, size, mode='bilinear', align_corners=False).flatten(2)
               for size in sizes]
    return resized[0] if len(resized) == 1 else torch.cat(resized, dim=-1)


def attention_mask(embeds: Tensor, features: Tensor) -> Tensor:
    """Where each query may look (Equation 2): inside its mask, everywhere if that is empty.

    Args:
        embeds: [B, Q, C'].
        features: [B, C', S].

    Returns:
        bool [B, Q, S]. A logit of exactly zero is allowed (sigmoid 0.5 is inside).
    """
    return open_empty(embeds @ features >= 0)


def open_empty(allowed: Tensor) -> Tensor:
    """Rows of a mask [..., S] that allow nothing allow everything."""
    return allowed | ~allowed.any(-1, keepdim=True)
