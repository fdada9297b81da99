"""mmdet's Deformable-DETR encoder and decoder with this library's deformable sampling.

Their maths and parameter names are mmdet's. Sizes of the levels are Python integers here, so that
no layer has to ask the device for them.
"""
from typing import Optional

from mmdet.models.layers import (DeformableDetrTransformerDecoder,
                                 DeformableDetrTransformerEncoder)
from torch import Tensor, nn

from mmpanseg.models.layers.deformable_attention import MSDeformAttention


class ResidualDeformableAttention(MSDeformAttention):
    """:class:`MSDeformAttention` under mmcv's calling convention, which adds the identity."""

    def forward(self, query: Tensor, key: Optional[Tensor] = None,
                value: Optional[Tensor] = None, identity: Optional[Tensor] = None,
                query_pos: Optional[Tensor] = None, key_padding_mask: Optional[Tensor] = None,
                reference_points: Optional[Tensor] = None, spatial_shapes: tuple = (),
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
    """Xavier for every matrix, then the deformable attentions' own initialisation."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for part in module.modules():
        if isinstance(part, MSDeformAttention):
            part.init_weights()


def layer_config(channels: int, num_heads: int, num_levels: int, num_points: int,
                 feedforward_channels: int, dropout: float) -> tuple[dict, dict, dict]:
    """mmdet's configs of deformable attention, plain attention and feed-forward network."""
    deformable = dict(
        embed_dims=channels, num_heads=num_heads, num_levels=num_levels, num_points=num_points,
        dropout=dropout, batch_first=True)
    plain = dict(
        embed_dims=channels, num_heads=num_heads, attn_drop=dropout,
        dropout_layer=dict(type='Dropout', drop_prob=dropout), batch_first=True)
    feedforward = dict(
        embed_dims=channels, feedforward_channels=feedforward_channels, ffn_drop=dropout)
    return deformable, plain, feedforward
