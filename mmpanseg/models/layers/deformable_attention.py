"""Multi-scale deformable attention, and the encoder and decoder of Deformable DETR built on it.

Computation and parameter names are mmcv's and mmdet's. The sizes of the levels are Python integers,
so that no layer copies them from the device.

Shapes: B images, Q queries, C channels, S tokens of all L levels.
"""
from collections.abc import Sequence

import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from mmdet.models.layers import DeformableDetrTransformerDecoder, DeformableDetrTransformerEncoder
from torch import Tensor, nn

from mmpanseg.compat import operators_compiled
from mmpanseg.models.layers.deformable_sampling import Shapes, level_sizes, sample_at_pixels
from mmpanseg.registry import MODELS
from mmpanseg.utils.cached_constants import cache_constants


@MODELS.register_module()
class MSDeformAttention(MultiScaleDeformableAttention):
    """mmcv's MultiScaleDeformableAttention, fast without its compiled operator.

    Parameters and initialization are mmcv's, and so is the CUDA operator where it is compiled.
    Inputs are batch first, and the residual connection is left to the caller.

    Source: Zhu et al., Deformable DETR (arXiv 2010.04159), section 4.1.

    Args:
        args, kwargs: those of mmcv's class, of which ``batch_first`` and ``dropout`` are most
            often set; ``num_points`` is the number of sampled points per head and level.
    """

    def forward(self, query: Tensor, query_pos: Tensor | None, value: Tensor,
                reference_points: Tensor, spatial_shapes: Sequence[tuple[int, int]],
                key_padding_mask: Tensor | None = None) -> Tensor:
        """Attend from each query to ``num_points`` sampled points per head and level.

        Args:
            query: queries [B, Q, C].
            query_pos: position encoding of the queries [B, Q, C]; None: already added.
            value: features of all levels, flattened and concatenated [B, S, C].
            reference_points: points (x, y) [B, Q, L, 2] or boxes (cx, cy, w, h) [B, Q, L, 4] in
                0..1; B may be 1 for points that all images share.
            spatial_shapes: (h, w) of each level as Python integers.
            key_padding_mask: bool [B, S], True where the value is replaced by zero; None: nowhere.

        Returns:
            attended values [B, Q, C], after output projection and dropout.

        Raises:
            ValueError: reference points are neither points nor boxes.
        """
        shapes = tuple((int(h), int(w)) for h, w in spatial_shapes)
        if query_pos is not None:
            query = query + query_pos
        x, y, weights = self.sampled_points(query, reference_points, shapes)
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        value = value.unflatten(-1, (self.num_heads, -1))
        if value.is_cuda and operators_compiled('cuda'):
            # in single precision: half precision cannot resolve neighboring pixels
            sizes = level_sizes(shapes, value.device)[:, None]
            locations = (torch.stack([x, y], dim=-1) + 0.5) / sizes
            sampled = MultiScaleDeformableAttnFunction.apply(
                value.float().contiguous(), *_level_tensors(shapes, value.device),
                locations.float().contiguous(), weights.float().contiguous(),
                self.im2col_step).to(value.dtype)
        else:
            sampled = sample_at_pixels(
                value, shapes, x.flatten(2), y.flatten(2), weights.flatten(2))
        return self.dropout(self.output_proj(sampled))

    def sampled_points(self, query: Tensor, reference_points: Tensor,
                       shapes: Shapes) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the points that queries attend to, and their weights.

        Args:
            query: queries with position encoding [B, Q, C].
            reference_points: as in :meth:`forward`.
            shapes: (h, w) of each level.

        Returns:
            x and y in pixels of the points' level, where integers are pixel centers, and weights,
            whose sum over the levels and points of a head is 1: [B, Q, heads, L, points] each.
        """
        grid = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*grid, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1))
        weights = weights.softmax(-1).unflatten(-1, grid[1:])
        x, y = self._pixels(offsets, reference_points, shapes)
        return x, y, weights

    def _pixels(self, offsets: Tensor, reference_points: Tensor,
                shapes: Shapes) -> list[Tensor]:
        """Return x and y of the sampled points in pixels of their level, [B, Q, heads, L, points].

        Integers are pixel centers. Offsets [B, Q, heads, L, points, 2] are in pixels from a
        reference point, or relative to the size of a reference box.
        """
        sizes = level_sizes(shapes, offsets.device)
        centers = reference_points[..., :2] * sizes - 0.5
        if reference_points.shape[-1] == 4:
            reach = reference_points[..., 2:] * sizes * (0.5 / self.num_points)
            offsets = offsets * reach[:, :, None, :, None]
        elif reference_points.shape[-1] != 2:
            raise ValueError('reference_points must contain 2 (point) or 4 (box) numbers each, got '
                             f'{reference_points.shape[-1]}')
        return [offset + center[:, :, None, :, None]
                for offset, center in zip(offsets.unbind(-1), centers.unbind(-1))]


@cache_constants(64)
def _level_tensors(shapes: Shapes, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (h, w) and first token of each level, as mmcv's operator expects them."""
    sizes = torch.tensor(shapes, dtype=torch.long)
    tokens = sizes.prod(1)
    return sizes.to(device), (tokens.cumsum(0) - tokens).to(device)


class ResidualDeformableAttention(MSDeformAttention):
    """:class:`MSDeformAttention` with the calling convention and the residual connection of mmcv.

    Args:
        args, kwargs: those of mmcv's class.
    """

    def forward(  # type: ignore[override]  # the convention that mmdet's layers call
            self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None,
            identity: Tensor | None = None, query_pos: Tensor | None = None,
            key_padding_mask: Tensor | None = None, *, reference_points: Tensor,
            spatial_shapes: Sequence[tuple[int, int]], **kwargs) -> Tensor:
        """Attend as :class:`MSDeformAttention` does, and add the identity.

        Args:
            query: queries [B, Q, C].
            key: ignored, deformable attention has no keys.
            value: features of all levels [B, S, C]; None: the queries.
            identity: start of the residual connection [B, Q, C]; None: the queries.
            query_pos: position encoding of the queries [B, Q, C]; None: already added.
            key_padding_mask: bool [B, S], True where the value is replaced by zero; None: nowhere.
            reference_points: points [B, Q, L, 2] or boxes [B, Q, L, 4] in 0..1.
            spatial_shapes: (h, w) of each level as Python integers.
            kwargs: other arguments of mmcv's attention, ignored.

        Returns:
            updated queries [B, Q, C].
        """
        value = query if value is None else value
        attended = super().forward(
            query, query_pos, value, reference_points, spatial_shapes, key_padding_mask)
        return (query if identity is None else identity) + attended


class DeformableDETREncoder(DeformableDetrTransformerEncoder):
    """Encoder of Deformable DETR with :class:`MSDeformAttention`.

    Args:
        args, kwargs: those of mmdet's class.
    """

    def _init_layers(self) -> None:
        super()._init_layers()
        for layer in self.layers:
            layer.self_attn = ResidualDeformableAttention(**layer.self_attn_cfg)

    def init_weights(self) -> None:
        init_transformer(self)


class DeformableDETRDecoder(DeformableDetrTransformerDecoder):
    """Decoder of Deformable DETR with :class:`MSDeformAttention`.

    Args:
        args, kwargs: those of mmdet's class; with ``return_intermediate=True`` the queries and
            references of all layers are returned.
    """

    def _init_layers(self) -> None:
        super()._init_layers()
        for layer in self.layers:
            layer.cross_attn = ResidualDeformableAttention(**layer.cross_attn_cfg)

    def init_weights(self) -> None:
        init_transformer(self)


def init_transformer(module: nn.Module) -> None:
    """Initialize matrices Xavier-uniform, then deformable attentions as published."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for part in module.modules():
        if isinstance(part, MSDeformAttention):
            part.init_weights()


def layer_config(channels: int, num_heads: int, num_levels: int, num_points: int,
                 feedforward_channels: int, dropout: float) -> tuple[dict, dict, dict]:
    """Build mmdet's configs of the parts of a Deformable DETR layer.

    Args:
        channels: width C of queries and values.
        num_heads: number of heads of both attentions.
        num_levels: number of feature levels L.
        num_points: number of sampled points per head and level.
        feedforward_channels: hidden width of the feed-forward network.
        dropout: probability of dropout in all parts.

    Returns:
        configs of deformable attention, plain self-attention and feed-forward network.
    """
    deformable = dict(
        embed_dims=channels, num_heads=num_heads, num_levels=num_levels, num_points=num_points,
        dropout=dropout, batch_first=True)
    plain = dict(
        embed_dims=channels, num_heads=num_heads, attn_drop=dropout,
        dropout_layer=dict(type='Dropout', drop_prob=dropout), batch_first=True)
    feedforward = dict(
        embed_dims=channels, feedforward_channels=feedforward_channels, ffn_drop=dropout)
    return deformable, plain, feedforward
