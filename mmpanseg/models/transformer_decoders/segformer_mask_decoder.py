"""Mask decoder of Panoptic SegFormer: masks computed from multi-scale multi-head attention maps.

Sources: Li et al., Panoptic SegFormer, arXiv v1, section 3.4, Figure 3; CVPR version, appendix B.3,
Figures B.4 and B.5.

Shapes: B images, N queries, C channels, h heads, S tokens of the levels that masks are computed
from, H x W size of the finest level, K classes, D coordinates of a location, M selected masks.
"""
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from mmengine.model import BaseModule, ModuleList, bias_init_with_prob
from torch import Tensor, nn

from mmpanseg.models.layers.attention import Attention
from mmpanseg.models.layers.precision import parameter_dtype
from mmpanseg.models.pixel_decoders.deformable_tokens import Tokens
from mmpanseg.models.transformer_decoders.location_decoder import location_branch, move_reference
from mmpanseg.registry import MODELS
from mmpanseg.structures.attention_masks import AttentionMasks, QueryMasks
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.modules import is_unmodified

MASK_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    'relu': F.relu, 'sigmoid': torch.sigmoid}

# Where the position encoding of a query is added: to the query features before every layer, so that
# it accumulates; to the queries of the attentions only; or nowhere.
QUERY_POS_MODES = ('accumulate', 'attention', 'none')


class MaskGenerator(BaseModule):
    """Computation of one mask from the attention maps of h heads on several levels.

    On each level a linear layer over the heads is followed by ReLU; then the levels are resized to
    the finest size and fused by one linear layer. With 8 heads and 3 levels there are 241
    parameters.

    Source: Figure B.5.

    Args:
        num_heads: number of heads h.
        num_levels: number of levels.
        activation: activation of the mask: 'relu', whose values may exceed 1 (released code), or
            'sigmoid'.
    """

    def __init__(self, num_heads: int, num_levels: int, activation: str = 'relu') -> None:
        super().__init__()
        self.activation = resolve_option('activation', activation, MASK_ACTIVATIONS)
        self.level_projs = ModuleList(
            nn.Linear(num_heads, num_heads) for _ in range(num_levels))
        self.fuse = nn.Linear(num_heads * num_levels, 1)

    def forward(self, attention: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Compute masks.

        Args:
            attention: attention logits [M, h, S].
            sizes: (h, w) of the levels, finest first.

        Returns:
            masks [M, H, W].
        """
        # without autocast, attention in half precision is cast to the type of the weights
        attention = attention.to(parameter_dtype(self, attention.dtype))
        parts = attention.split([height * width for height, width in sizes], dim=2)
        if not all(is_unmodified(layer) for layer in (*self.level_projs, self.fuse)):
            return self.activation(self._by_layers(parts, sizes))
        weights = self.fuse.weight[0].chunk(len(parts))
        mask = self.fuse.bias
        for part, size, proj, weight in zip(
                parts, sizes, self.level_projs, weights, strict=True):
            heads = F.relu(torch.matmul(proj.weight, part) + proj.bias[:, None])
            # Fusing and resizing are linear: fused first, one plane is resized instead of h.
            plane = torch.matmul(weight, heads).unflatten(-1, size)
            if size != sizes[0]:
                plane = F.interpolate(
                    plane[:, None], sizes[0], mode='bilinear', align_corners=False)[:, 0]
            mask = mask + plane
        return self.activation(mask)

    def _by_layers(self, parts: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Compute masks in the paper's order by calling the layers; not activated."""
        planes = []
        for part, size, proj in zip(parts, sizes, self.level_projs, strict=True):
            heads = F.relu(proj(part.transpose(1, 2))).transpose(1, 2).unflatten(-1, size)
            planes.append(heads if size == sizes[0] else F.interpolate(
                heads, sizes[0], mode='bilinear', align_corners=False))
        return self.fuse(torch.cat(planes, 1).permute(0, 2, 3, 1))[..., 0]


class MaskAttention(BaseModule):
    """Multi-head cross-attention whose logits are the input of masks.

    Args:
        channels: width C of queries, keys and values.
        num_heads: number of heads h, a divisor of ``channels``.
        num_levels: number of levels of the keys.
        activation: activation of the masks, see :class:`MaskGenerator`.
        masks_only: whether to omit the values, as in the tail of the decoder.
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
        """Attend and compute masks.

        Args:
            query: queries [B, N, C], position encoding included.
            key: keys [B, S, C], position encoding included.
            value: values [B, S, C], ignored with ``masks_only``.
            sizes: (h, w) of the levels, finest first.
            mask: bool [B, S], True where queries may attend; None: no mask.

        Returns:
            attended values [B, N, C], or None with ``masks_only``; and the masks.
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
    """Self-attention (optional), cross-attention with masks, feed-forward network; post-norm.

    Args:
        channels: width C of queries and tokens.
        num_heads: number of heads h, a divisor of ``channels``.
        num_levels: number of levels of the tokens.
        feedforward_channels: hidden width of the feed-forward network.
        self_attention: whether the layer begins with self-attention.
        activation: activation of the masks, see :class:`MaskGenerator`.
    """

    def __init__(self, channels: int, num_heads: int, num_levels: int,
                 feedforward_channels: int, self_attention: bool, activation: str) -> None:
        super().__init__()
        self.self_attn = Attention(channels, num_heads) if self_attention else None
        self.cross_attn = MaskAttention(channels, num_heads, num_levels, activation)
        self.ffn = FFN(channels, feedforward_channels, act_cfg=dict(type='GELU'))
        # the norms of cross-attention, feed-forward network and self-attention, in this order
        self.norms = ModuleList(
            nn.LayerNorm(channels, eps=1e-6) for _ in range(2 + self_attention))

    def forward(self, query: Tensor, query_pos: Tensor | None, key: Tensor, value: Tensor,
                sizes: tuple[tuple[int, int], ...],
                mask: Tensor | None) -> tuple[Tensor, AttentionMasks]:
        """Update the queries.

        Args:
            query: query features [B, N, C].
            query_pos: position encoding that is added to the queries of both attentions and to the
                keys of self-attention [B, N, C]; None: nothing is added.
            key: keys [B, S, C], position encoding included.
            value: values [B, S, C].
            sizes: (h, w) of the levels, finest first.
            mask: bool [B, S], True where queries may attend; None: no mask.

        Returns:
            updated query features [B, N, C] and the masks of this layer.
        """
        def with_pos(x: Tensor) -> Tensor:
            return x if query_pos is None else x + query_pos

        if self.self_attn is not None:
            query = self.norms[2](
                query + self.self_attn(with_pos(query), with_pos(query), query))
        attended, masks = self.cross_attn(with_pos(query), key, value, sizes, mask)
        query = self.norms[0](query + attended)
        return self.norms[1](self.ffn(query)), masks


class MaskDecoderOutputs(NamedTuple):
    """Outputs of a mask decoder.

    Attributes:
        queries: query features after every layer [layers, B, N, C].
        masks: masks of every layer, and of the tail as the last, where there is one.
    """

    queries: Tensor
    masks: Sequence[QueryMasks]


@MODELS.register_module()
class MaskAttentionDecoder(BaseModule):
    """Decoder with unmasked attention, whose attention maps are the masks.

    Args:
        channels: width C of queries and tokens.
        num_classes: number of classes K of the classification branches (sigmoid), one branch per
            layer; 0: no branches.
        location_size: number of coordinates D of the location branches, one branch per layer; 0:
            no branches.
        num_levels: number of levels of the tokens that are read.
        num_layers: number of layers. Released code: 4 for things, 6 for stuff; CVPR paper: 6.
        num_heads: number of heads h, a divisor of ``channels``; 1 is the ablation of Table B.5.
        feedforward_channels: hidden width of the feed-forward networks; None: 4 C.
        self_attention: whether layers begin with self-attention among the queries. Released code:
            for stuff only; the paper permits to omit it (appendix B.3).
        tail: whether one more attention without values computes the final masks. Otherwise the
            masks of the last layer are the final ones (arXiv v1).
        query_pos_mode: where the position encoding of the queries is added, one of
            ``QUERY_POS_MODES``. Released code: 'accumulate' for stuff, 'none' for things.
        add_key_pos: whether to add the position encoding to the keys; False in the released code.
        ignore_padding: whether queries attend to padding too, as in the released code.
        activation: activation of the masks: 'relu' (released code) or 'sigmoid'.
        init_cfg: config of the initialization, mmengine style.

    Raises:
        ValueError: ``query_pos_mode`` or ``activation`` is unknown.
    """

    def __init__(self, channels: int = 256, num_classes: int = 0, location_size: int = 0,
                 num_levels: int = 3, num_layers: int = 4, num_heads: int = 8,
                 feedforward_channels: int | None = None, self_attention: bool = False,
                 tail: bool = True, query_pos_mode: str = 'none', add_key_pos: bool = False,
                 ignore_padding: bool = True, activation: str = 'relu',
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        resolve_option('query_pos_mode', query_pos_mode, dict.fromkeys(QUERY_POS_MODES))
        self.query_pos_mode = query_pos_mode
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
            location_branch(channels, location_size)
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
            query: initial query features [B, N, C].
            query_pos: position encoding of the queries [B, N, C]; unused with
                ``query_pos_mode='none'``.
            tokens: tokens of the levels that masks are computed from.

        Returns:
            query features and masks of all layers.
        """
        attn_pos = query_pos if self.query_pos_mode == 'attention' else None
        added: Tensor | int = 0
        if self.query_pos_mode == 'accumulate':
            assert query_pos is not None  # heads pass it to every decoder
            added = query_pos
        key = tokens.memory + tokens.memory_pos if self.add_key_pos else tokens.memory
        mask = (None if self.ignore_padding or tokens.padding_mask is None else
                ~tokens.padding_mask)
        queries, masks = [], []
        for layer in self.layers:
            query, layer_masks = layer(
                query + added, attn_pos, key, tokens.memory, tokens.sizes, mask)
            queries.append(query)
            masks.append(layer_masks)
        if self.tail is not None:
            query = query + (added if attn_pos is None else attn_pos)
            masks.append(self.tail(query, key, tokens.memory, tokens.sizes)[1])
        return MaskDecoderOutputs(torch.stack(queries), masks)

    def classify(self, queries: Tensor) -> Tensor:
        """Compute class logits [layers, B, N, K] of query features [layers, B, N, C]."""
        return torch.stack([
            branch(query) for branch, query in zip(self.cls_branches, queries, strict=True)])

    def locate(self, queries: Tensor, references: Tensor) -> Tensor:
        """Compute locations of the queries after every layer.

        Args:
            queries: query features after every layer [layers, B, N, C].
            references: references [B, N, 2 or 4] in 0..1 that the last layer of the location
                decoder started from.

        Returns:
            locations in 0..1 [layers, B, N, D].
        """
        return torch.stack([
            move_reference(branch(query), references)
            for branch, query in zip(self.reg_branches, queries, strict=True)])
