"""Mask decoder of Panoptic SegFormer: masks read off multi-scale multi-head attention maps.

arXiv v1 section 3.4, Figure 3; CVPR appendix B.3, Figures B.4 and B.5.

Shapes: B images, N queries, C channels, h heads, S tokens of the levels that masks are read off,
H, W size of the finest level, K classes; M picked masks.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from mmengine.model import BaseModule, ModuleList, bias_init_with_prob
from torch import Tensor, nn

from mmpanseg.models.layers.attention import Attention
from mmpanseg.models.layers.precision import parameter_dtype
from mmpanseg.models.pixel_decoders.deformable_tokens import Tokens
from mmpanseg.models.transformer_decoders.location_decoder import box_branch, move_reference
from mmpanseg.registry import MODELS
from mmpanseg.structures.attention_masks import AttentionMasks
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.modules import is_unmodified

MASK_ACTIVATIONS = {'relu': F.relu, 'sigmoid': torch.sigmoid}

# How a query's position code enters: added to the running query before every layer, so that it
# adds up; added only where the query asks (attention); or not at all.
QUERY_POSITIONS = ('accumulate', 'attention', 'none')


class MaskGenerator(BaseModule):
    """One mask from the attention maps of h heads on several levels (Figure B.5).

    Per level a linear layer over the heads with ReLU; the levels are brought to the finest size
    and one linear layer fuses them. 241 parameters with 8 heads and 3 levels.

    Args:
        num_heads: h.
        num_levels: levels.
        activation: of the mask: 'relu', whose values may exceed 1 (released code), or 'sigmoid'.
    """

    def __init__(self, num_heads: int, num_levels: int, activation: str = 'relu') -> None:
        super().__init__()
        self.activation = resolve_option('activation', activation, MASK_ACTIVATIONS)
        self.level_projs = ModuleList(
            nn.Linear(num_heads, num_heads) for _ in range(num_levels))
        self.fuse = nn.Linear(num_heads * num_levels, 1)

    def forward(self, attention: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Masks [M, H, W] from attention logits [M, h, S]."""
        # half precision of the attention meets single of the weights where autocast is off
        attention = attention.to(parameter_dtype(self, attention.dtype))
        parts = attention.split([height * width for height, width in sizes], dim=2)
        if not all(is_unmodified(layer) for layer in (*self.level_projs, self.fuse)):
            return self.activation(self._by_layers(parts, sizes))
        weights = self.fuse.weight[0].chunk(len(parts))
        mask = self.fuse.bias
        for part, size, proj, weight in zip(
                parts, sizes, self.level_projs, weights, strict=True):
            heads = F.relu(torch.matmul(proj.weight, part) + proj.bias[:, None])
            # fusing before resizing is the same, both are linear, with one plane instead of h
            plane = torch.matmul(weight, heads).unflatten(-1, size)
            if size != sizes[0]:
                plane = F.interpolate(
                    plane[:, None], sizes[0], mode='bilinear', align_corners=False)[:, 0]
            mask = mask + plane
        return self.activation(mask)

    def _by_layers(self, parts: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> Tensor:
        """The same as drawn in the paper, through the layers themselves; not activated."""
        planes = []
        for part, size, proj in zip(parts, sizes, self.level_projs, strict=True):
            heads = F.relu(proj(part.transpose(1, 2))).transpose(1, 2).unflatten(-1, size)
            planes.append(heads if size == sizes[0] else F.interpolate(
                heads, sizes[0], mode='bilinear', align_corners=False))
        return self.fuse(torch.cat(planes, 1).permute(0, 2, 3, 1))[..., 0]


class MaskAttention(BaseModule):
    """Multi-head cross-attention whose logits also make masks.

    Args:
        channels: C.
        num_heads: h.
        num_levels: levels of the keys.
        activation: see :class:`MaskGenerator`.
        masks_only: without values: the tail.
    """

    def __init__(self, channels: int, num_heads: int, num_levels: int, activation: str,
                 masks_only: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.masks_only = masks_only
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        if not masks_only:
            self.v_proj = nn.Linear(channels, channels)
            self.out_proj = nn.Linear(channels, channels)
        self.mask_generator = MaskGenerator(num_heads, num_levels, activation)

    def forward(self, query: Tensor, key: Tensor, value: Tensor,
                sizes: tuple[tuple[int, int], ...],
                mask: Tensor | None = None) -> tuple[Tensor | None, AttentionMasks]:
        """Attend.

        Args:
            query: [B, N, C].
            key, value: [B, S, C].
            sizes: (h, w) of the levels.
            mask: bool [B, S], True where a query may look.

        Returns:
            [B, N, C], None if ``masks_only``, and the masks.
        """
        q, k = self._heads(self.q_proj(query)), self._heads(self.k_proj(key))
        scale = q.shape[-1]**-0.5
        masks = AttentionMasks(q * scale, k, self.mask_generator, sizes)
        if self.masks_only:
            return None, masks
        if mask is not None:
            mask = mask[:, None, None]
        attended = F.scaled_dot_product_attention(q, k, self._heads(self.v_proj(value)), mask)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), masks

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class MaskAttentionLayer(BaseModule):
    """Self-attention (optional), cross-attention with masks, feed-forward; post-norm."""

    def __init__(self, channels: int, num_heads: int, num_levels: int,
                 feedforward_channels: int, self_attention: bool, activation: str) -> None:
        super().__init__()
        self.self_attn = Attention(channels, num_heads) if self_attention else None
        self.cross_attn = MaskAttention(channels, num_heads, num_levels, activation)
        self.ffn = FFN(channels, feedforward_channels, act_cfg=dict(type='GELU'))
        # after cross-attention, feed-forward and self-attention
        self.norms = ModuleList(
            nn.LayerNorm(channels, eps=1e-6) for _ in range(2 + self_attention))

    def forward(self, query: Tensor, asking: Tensor | None, key: Tensor, value: Tensor,
                sizes: tuple, mask: Tensor | None) -> tuple[Tensor, AttentionMasks]:
        """Queries [B, N, C] and their masks; ``asking`` is added where the query asks."""
        def placed(x: Tensor) -> Tensor:
            return x if asking is None else x + asking

        if self.self_attn is not None:
            query = self.norms[2](query + self.self_attn(placed(query), placed(query), query))
        attended, masks = self.cross_attn(placed(query), key, value, sizes, mask)
        query = self.norms[0](query + attended)
        return self.norms[1](self.ffn(query)), masks


class MaskDecoderOutputs(NamedTuple):
    """What a mask decoder gives.

    ``queries``: after every layer, [layers, B, N, C]; ``masks``: of every layer, and of the tail
    as the last.
    """
    queries: Tensor
    masks: list[AttentionMasks]


@MODELS.register_module()
class MaskAttentionDecoder(BaseModule):
    """Decoder with plain attention, whose attention maps are the masks.

    Args:
        channels: C.
        num_classes: K of the classification branches (sigmoid), one for each layer; 0 = none.
        location_size: numbers of the location branches, one for each layer; 0 = none.
        num_levels: levels of the tokens that are read.
        num_layers: layers. Released: 4 for things, 6 for stuff; the CVPR paper: 6.
        num_heads: h; 1 is the ablation of Table B.5.
        feedforward_channels: hidden width, by default 4 C.
        self_attention: attention among the queries first. Released: for stuff only; the paper
            says that it can be left out (appendix B.3).
        tail: make the final masks by one more attention that needs no values. Without, the last
            layer's masks are the final ones (first version).
        query_position: how position codes of the queries enter, one of ``QUERY_POSITIONS``.
            Released: 'accumulate' for stuff, 'none' for things.
        add_key_pos: add position codes to the keys (not done in the released code).
        ignore_padding: let queries look at padding, as the released code does.
        activation: of the masks: 'relu' (released) or 'sigmoid'.
    """

    def __init__(self, channels: int = 256, num_classes: int = 0, location_size: int = 0,
                 num_levels: int = 3, num_layers: int = 4, num_heads: int = 8,
                 feedforward_channels: int | None = None, self_attention: bool = False,
                 tail: bool = True, query_position: str = 'none', add_key_pos: bool = False,
                 ignore_padding: bool = True, activation: str = 'relu',
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        resolve_option('query_position', query_position, dict.fromkeys(QUERY_POSITIONS))
        self.query_position = query_position
        self.add_key_pos = add_key_pos
        self.ignore_padding = ignore_padding
        self.layers = ModuleList(
            MaskAttentionLayer(channels, num_heads, num_levels,
                               feedforward_channels or 4 * channels, self_attention, activation)
            for _ in range(num_layers))
        self.tail = MaskAttention(
            channels, num_heads, num_levels, activation, masks_only=True) if tail else None
        self.cls_branches = ModuleList(
            nn.Linear(channels, num_classes) for _ in range(num_layers if num_classes else 0))
        self.reg_branches = ModuleList(
            box_branch(channels, location_size)
            for _ in range(num_layers if location_size else 0))

    def init_weights(self) -> None:
        super().init_weights()
        for part in (self.layers, self.tail):
            for parameter in part.parameters() if part is not None else ():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
        for branch in self.cls_branches:
            nn.init.constant_(branch.bias, bias_init_with_prob(0.01))
        for branch in self.reg_branches:
            nn.init.zeros_(branch[-1].weight)
            nn.init.zeros_(branch[-1].bias)

    def forward(self, query: Tensor, query_pos: Tensor | None,
                tokens: Tokens) -> MaskDecoderOutputs:
        """Decode.

        Args:
            query: [B, N, C].
            query_position: [B, N, C]; not needed with ``query_pos_mode='none'``.
            tokens: of the levels that masks are read off.
        """
        asking = query_position if self.query_position == 'attention' else None
        added = query_position if self.query_position == 'accumulate' else 0
        key = tokens.memory + tokens.memory_pos if self.add_key_pos else tokens.memory
        mask = None if self.ignore_padding or tokens.padding_mask is None else ~tokens.padding_mask
        queries, masks = [], []
        for layer in self.layers:
            query, layer_masks = layer(
                query + added, asking, key, tokens.memory, tokens.sizes, mask)
            queries.append(query)
            masks.append(layer_masks)
        if self.tail is not None:
            query = query + added if asking is None else query + asking
            masks.append(self.tail(query, key, tokens.memory, tokens.sizes)[1])
        return MaskDecoderOutputs(torch.stack(queries), masks)

    def classify(self, queries: Tensor) -> Tensor:
        """Class logits [layers, B, N, K] of the queries after every layer."""
        return torch.stack([
            branch(query) for branch, query in zip(self.cls_branches, queries, strict=True)])

    def locate(self, queries: Tensor, references: Tensor) -> Tensor:
        """Locations [layers, B, N, D] in 0..1 of the queries after every layer.

        ``references``: [B, N, 2 or 4], those that the last layer of the location decoder started
        from.
        """
        return torch.stack([
            move_reference(branch(query), references)
            for branch, query in zip(self.reg_branches, queries, strict=True)])
