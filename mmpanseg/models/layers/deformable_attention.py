"""Multi-scale deformable attention: mmcv's parameters, this library's sampling.

Their maths and parameter names are mmdet's. Sizes of the levels are Python integers here, so that
no layer has to ask the device for them.
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
    """mmcv's MultiScaleDeformableAttention (arXiv 2010.04159, Sec. 4.1), fast without its operator.

    Arguments, parameters, their names and their initialization are mmcv's, and so is the CUDA
    operator where mmcv has it compiled. Inputs are always batch first, and the identity is not
    added: residual connections are the caller's.
    """

    def forward(self,
                query: Tensor,
                query_pos: Tensor | None,
                value: Tensor,
                reference_points: Tensor,
                spatial_shapes: Sequence[tuple[int, int]],
                key_padding_mask: Tensor | None = None) -> Tensor:
        """Attend from each query to `num_points` sampled positions per head and level.

        Args:
            query: [B, Q, C].
            query_pos: positional encoding that is added to the query, [B, Q, C] or None.
            value: features of all levels, flattened and concatenated, [B, S, C].
            reference_points: points (x, y) [B, Q, L, 2] or boxes (cx, cy, w, h) [B, Q, L, 4] in
                [0, 1]; B may be 1 for points that all images share.
            spatial_shapes: (h, w) of each level as Python integers.
            key_padding_mask: bool [B, S], True where value is to count as zero.

        Returns:
            Tensor [B, Q, C], after output projection and dropout, without the identity.
        """
        shapes = tuple((int(h), int(w)) for h, w in spatial_shapes)
        if query_pos is not None:
            query = query + query_pos
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        value = value.unflatten(-1, (self.num_heads, -1))
        grid = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*grid, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1))
        weights = weights.softmax(-1).unflatten(-1, grid[1:])
        x, y = self._pixels(offsets, reference_points, shapes)
        if value.is_cuda and operators_compiled('cuda'):
            # in single precision: half of it cannot tell neighboring pixels apart
            sizes = level_sizes(shapes, value.device)[:, None]
            locations = (torch.stack([x, y], dim=-1) + 0.5) / sizes
            single = (t.float().contiguous() for t in (value, locations, weights))
            sampled = _operator(*single, shapes, self.im2col_step).to(value.dtype)
        else:
            sampled = sample_at_pixels(
                value, shapes, x.flatten(2), y.flatten(2), weights.flatten(2))
        return self.dropout(self.output_proj(sampled))

    def _pixels(self, offsets: Tensor, reference_points: Tensor,
                shapes: Shapes) -> list[Tensor]:
        """Columns and rows of the points in pixels of their level, [B, Q, H, L, P] each."""
        sizes = level_sizes(shapes, offsets.device)
        centers = reference_points[..., :2] * sizes - 0.5
        if reference_points.shape[-1] == 4:
            reach = reference_points[..., 2:] * sizes * (0.5 / self.num_points)
            offsets = offsets * reach[:, :, None, :, None]
        elif reference_points.shape[-1] != 2:
            raise ValueError('reference_points must have 2 (point) or 4 (box) numbers each, got '
                             f'{reference_points.shape[-1]}')
        return [offset + center[:, :, None, :, None]
                for offset, center in zip(offsets.unbind(-1), centers.unbind(-1))]


def _operator(value: Tensor, locations: Tensor, weights: Tensor, shapes: Shapes,
              step: int) -> Tensor:
    """Mmcv's compiled operator, float32 [B, Q, C]."""
    return MultiScaleDeformableAttnFunction.apply(
        value, *_level_tensors(shapes, value.device), locations, weights, step)


@cache_constants(64)
def _level_tensors(shapes: Shapes, device: torch.device) -> tuple[Tensor, Tensor]:
    """(h, w) per level and first token of each level: what mmcv's operator takes."""
    sizes = torch.tensor(shapes, dtype=torch.long)
    tokens = sizes.prod(1)
    return sizes.to(device), (tokens.cumsum(0) - tokens).to(device)


class ResidualDeformableAttention(MSDeformAttention):
    """:class:`MSDeformAttention` under mmcv's calling convention, which adds the identity."""

    def forward(self, query: Tensor, key: Tensor | None = None,
                value: Tensor | None = None, identity: Tensor | None = None,
                query_pos: Tensor | None = None, key_padding_mask: Tensor | None = None,
                reference_points: Tensor | None = None, spatial_shapes: tuple = (),
                **kwargs) -> Tensor:
        """[B, Q, C]; other arguments of mmcv's attention are not needed and ignored."""
        value = query if value is None else value
        attended = super().forward(
            query, query_pos, value, reference_points, spatial_shapes, key_padding_mask)
        return (query if identity is None else identity) + attended


class DeformableEncoder(DeformableDetrTransformerEncoder):
    """Deformable DETR's encoder."""

    def _init_layers(self) -> None:
        super()._init_layers()
        for layer in self.layers:
            layer.self_attn = ResidualDeformableAttention(**layer.self_attn_cfg)

    def init_weights(self) -> None:
        init_transformer(self)


class DeformableDecoder(DeformableDetrTransformerDecoder):
    """Deformable DETR's decoder; returns the queries and references of all layers."""

    def _init_layers(self) -> None:
        super()._init_layers()
        for layer in self.layers:
            layer.cross_attn = ResidualDeformableAttention(**layer.cross_attn_cfg)

    def init_weights(self) -> None:
        init_transformer(self)


def init_transformer(module: nn.Module) -> None:
    """Xavier for every matrix, then the deformable attentions' own initialization."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for part in module.modules():
        if isinstance(part, MSDeformAttention):
            part.init_weights()


def layer_config(channels: int, num_heads: int, num_levels: int, num_points: int,
                 feedforward_channels: int, dropout: float) -> tuple[dict, dict, dict]:
    """Mmdet's configs of deformable attention, plain attention and feed-forward network."""
    deformable = dict(
        embed_dims=channels, num_heads=num_heads, num_levels=num_levels, num_points=num_points,
        dropout=dropout, batch_first=True)
    plain = dict(
        embed_dims=channels, num_heads=num_heads, attn_drop=dropout,
        dropout_layer=dict(type='Dropout', drop_prob=dropout), batch_first=True)
    feedforward = dict(
        embed_dims=channels, feedforward_channels=feedforward_channels, ffn_drop=dropout)
    return deformable, plain, feedforward
