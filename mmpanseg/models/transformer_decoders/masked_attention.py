"""Masked-attention transformer decoder (Mask2Former section 3.2).

Shapes: B images, Q queries, C channels, S = h * w positions of a map, L predictions.
"""
from typing import Callable, NamedTuple, Optional, Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmpanseg.models.layers.attention import Attention, FeedForward
from mmpanseg.registry import MODELS


class Memory(NamedTuple):
    """A feature map of ``size`` (h, w) as keys and values, each [B, S, C]."""
    key: Tensor
    value: Tensor
    size: tuple[int, int]


class MaskedAttentionLayer(BaseModule):
    """Masked cross-attention, self-attention, feed-forward, each with residual and norm.

    Args:
        channels: C.
        num_heads: attention heads.
        feedforward_channels: hidden width.
        dropout: of all three parts.
        pre_norm: normalise before each part instead of after its residual.
    """

    def __init__(self, channels: int, num_heads: int, feedforward_channels: int,
                 dropout: float = 0.0, pre_norm: bool = False) -> None:
        super().__init__()
        self.cross_attn = Attention(channels, num_heads, dropout)
        self.self_attn = Attention(channels, num_heads, dropout)
        self.ffn = FeedForward(channels, feedforward_channels, dropout)
        self.norms = ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.pre_norm = pre_norm

    def forward(self, query: Tensor, query_pos: Tensor, memory: Memory,
                allowed: Tensor) -> Tensor:
        """Update queries.

        Args:
            query, query_pos: [B, Q, C].
            memory: the map to look at.
            allowed: bool [B, Q, S], positions each query may look at.

        Returns:
            [B, Q, C].
        """
        query = self._residual(0, query, lambda x: self.cross_attn(
            x + query_pos, memory.key, memory.value, allowed))
        query = self._residual(1, query, lambda x: self.self_attn(
            x + query_pos, x + query_pos, x))
        return self._residual(2, query, self.ffn)

    def _residual(self, index: int, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        norm = self.norms[index]
        return x + part(norm(x)) if self.pre_norm else norm(x + part(x))


@MODELS.register_module()
class MaskedAttentionDecoder(BaseModule):
    """Decoder whose layers look at one map each, inside the mask predicted before.

    Args:
        num_layers: decoder layers; layer i reads map i mod (number of maps).
        channels, num_heads, feedforward_channels, dropout, pre_norm: of each layer.
    """

    def __init__(self, num_layers: int = 9, channels: int = 256, num_heads: int = 8,
                 feedforward_channels: int = 2048, dropout: float = 0.0,
                 pre_norm: bool = False, init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.layers = ModuleList(
            MaskedAttentionLayer(channels, num_heads, feedforward_channels, dropout, pre_norm)
            for _ in range(num_layers))
        self.post_norm = nn.LayerNorm(channels)

    def init_weights(self) -> None:
        super().init_weights()
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, query: Tensor, query_pos: Tensor, memories: Sequence[Memory],
                mask_features: Tensor, embed_masks: Callable[[Tensor], Tensor]) -> Tensor:
        """Decode.

        Args:
            query, query_pos: [B, Q, C].
            memories: maps, low resolution first.
            mask_features: [B, C', h, w] at 1/4 of the input.
            embed_masks: mask embeddings [B, Q, C'] of normalised queries.

        Returns:
            Normalised queries of all predictions [L, B, Q, C], L = layers + 1: the initial queries'
            first, the final ones last.
        """
        resized = [resize_features(mask_features, memory.size) for memory in memories]
        outputs = [self.post_norm(query)]
        for index, layer in enumerate(self.layers):
            level = index % len(memories)
            with torch.no_grad():
                allowed = attention_mask(embed_masks(outputs[-1]), resized[level])
            query = layer(query, query_pos, memories[level], allowed)
            outputs.append(self.post_norm(query))
        return torch.stack(outputs)


def resize_features(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Features [B, C, h, w] resized bilinearly, without gradient, flat [B, C, S].

    Resizing commutes with the product that makes mask logits, so the attention masks of all
    layers that read a map share its one resized copy.
    """
    with torch.no_grad():
        return F.interpolate(features, size, mode='bilinear', align_corners=False).flatten(2)


def attention_mask(embeds: Tensor, features: Tensor) -> Tensor:
    """Where each query may look (Equation 2): inside its mask, everywhere if that is empty.

    Args:
        embeds: [B, Q, C'].
        features: [B, C', S].

    Returns:
        bool [B, Q, S]. A logit of exactly zero is allowed (sigmoid 0.5 is inside).
    """
    allowed = embeds @ features >= 0
    return allowed | ~allowed.any(-1, keepdim=True)
