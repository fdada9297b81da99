"""Pixel decoder with multi-scale deformable attention (Mask2Former, section 4.1 and appendix).

Shapes: B images, C channels, C_out channels of mask features, h_l x w_l map of level l, L encoder
levels, S = sum of h_l * w_l tokens.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList, caffe2_xavier_init, xavier_init
from torch import Tensor, nn

from mmpanseg.models.layers.deformable_attention import MSDeformAttention
from mmpanseg.models.layers.feed_forward import FeedForward
from mmpanseg.models.layers.positional_encoding import pixel_centers, sine_encoding
from mmpanseg.registry import MODELS
from mmpanseg.utils.device import conv_memory_format


class MSDeformAttnEncoderLayer(BaseModule):
    """Multi-scale deformable self-attention and feed-forward network, post-norm.

    Args:
        channels: width C of the tokens.
        num_heads: number of attention heads, a divisor of ``channels``.
        num_levels: number of feature levels L.
        num_points: number of sampled points per head and level.
        feedforward_channels: hidden width of the feed-forward network.
        dropout: probability of dropout in both parts.
    """

    def __init__(self, channels: int, num_heads: int, num_levels: int, num_points: int,
                 feedforward_channels: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = MSDeformAttention(
            channels, num_heads, num_levels, num_points, dropout=dropout, batch_first=True)
        self.ffn = FeedForward(channels, feedforward_channels, dropout)
        self.norms = ModuleList(nn.LayerNorm(channels) for _ in range(2))

    def forward(self, x: Tensor, pos: Tensor, reference_points: Tensor,
                sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Update the tokens.

        Args:
            x: tokens of all levels, one after the other [B, S, C].
            pos: position encoding of the tokens [S, C] or [B, S, C].
            reference_points: center (x, y) of each token in 0..1 [B, S, L, 2].
            sizes: (h_l, w_l) of the levels.

        Returns:
            updated tokens [B, S, C].
        """
        x = self.norms[0](x + self.self_attn(
            x, query_pos=pos, value=x, reference_points=reference_points, spatial_shapes=sizes))
        return self.norms[1](x + self.ffn(x))


class MSDeformAttnEncoder(BaseModule):
    """Stack of encoder layers; the parameters are named as in mmdet.

    Args:
        num_layers: number of layers.
        layer: arguments of :class:`MSDeformAttnEncoderLayer`.
    """

    def __init__(self, num_layers: int, **layer) -> None:
        super().__init__()
        self.layers = ModuleList(MSDeformAttnEncoderLayer(**layer) for _ in range(num_layers))

    def forward(self, x: Tensor, *args) -> Tensor:
        """Update tokens [B, S, C]; arguments as for :class:`MSDeformAttnEncoderLayer`."""
        for layer in self.layers:
            x = layer(x, *args)
        return x


@MODELS.register_module()
class MSDeformAttnPixelDecoder(BaseModule):
    """Deformable encoder over the coarse maps, and one FPN step for each finer map.

    Padded pixels are treated as image content, as in the published code.

    Args:
        in_channels: widths of the backbone's maps, high resolution first.
        channels: width C of the encoder and of the output maps.
        out_channels: width C_out of the mask features.
        num_encoder_levels: number of maps, counted from the coarsest, that the encoder reads.
        num_outs: number of maps for the transformer decoder, counted from the coarsest.
        num_layers: number of encoder layers.
        num_heads: number of attention heads, a divisor of ``channels``.
        num_points: number of sampled points per head and level.
        feedforward_channels: hidden width of the feed-forward networks.
        dropout: probability of dropout in the encoder.
        norm_cfg: config of the normalization layers after convolutions, mmengine style; default
            GN with 32 groups.
        init_cfg: config of the initialization, mmengine style.

    Raises:
        ValueError: ``num_encoder_levels`` is not in 1..number of maps.
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 256, out_channels: int = 256,
                 num_encoder_levels: int = 3, num_outs: int = 3, num_layers: int = 6,
                 num_heads: int = 8, num_points: int = 4, feedforward_channels: int = 1024,
                 dropout: float = 0.0, norm_cfg: dict = dict(type='GN', num_groups=32),
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if not 1 <= num_encoder_levels <= len(in_channels):
            raise ValueError(f'num_encoder_levels must be in 1..{len(in_channels)}, the number '
                             f'of in_channels, got {num_encoder_levels}')
        self.channels = channels
        self.num_encoder_levels = num_encoder_levels
        self.num_outs = num_outs
        coarse_first = list(in_channels)[::-1]
        self.input_convs = ModuleList(
            ConvModule(width, channels, 1, bias=True, norm_cfg=norm_cfg, act_cfg=None)
            for width in coarse_first[:num_encoder_levels])
        self.encoder = MSDeformAttnEncoder(
            num_layers, channels=channels, num_heads=num_heads, num_levels=num_encoder_levels,
            num_points=num_points, feedforward_channels=feedforward_channels, dropout=dropout)
        self.level_encoding = nn.Embedding(num_encoder_levels, channels)
        fine = coarse_first[num_encoder_levels:]
        self.lateral_convs = ModuleList(
            ConvModule(width, channels, 1, bias=False, norm_cfg=norm_cfg, act_cfg=None)
            for width in fine)
        self.output_convs = ModuleList(
            ConvModule(channels, channels, 3, padding=1, bias=False, norm_cfg=norm_cfg)
            for _ in fine)
        self.mask_feature = nn.Conv2d(channels, out_channels, 1)

    def init_weights(self) -> None:
        super().init_weights()
        for conv in self.input_convs:
            xavier_init(conv.conv, distribution='uniform')
        for conv in [*self.lateral_convs, *self.output_convs]:
            caffe2_xavier_init(conv.conv)
        caffe2_xavier_init(self.mask_feature)
        nn.init.normal_(self.level_encoding.weight)
        for layer in self.encoder.layers:
            for linear in (layer.ffn.layers[0][0], layer.ffn.layers[1]):
                nn.init.xavier_uniform_(linear.weight)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decode.

        Args:
            features: backbone maps [B, C_i, h_i, w_i], high resolution first.

        Returns:
            mask features [B, C_out, h, w] at the size of the finest map, and ``num_outs`` maps
            [B, C, h_l, w_l], coarsest first.
        """
        coarse_first = list(features)[::-1]
        maps = self.encode(coarse_first[:self.num_encoder_levels])
        fine = coarse_first[self.num_encoder_levels:]
        order = conv_memory_format(features[0].device)
        for feature, lateral, output in zip(fine, self.lateral_convs, self.output_convs):
            upsampled = F.interpolate(maps[-1].contiguous(memory_format=order),
                                      feature.shape[-2:], mode='bilinear', align_corners=False)
            maps.append(output(lateral(feature.contiguous(memory_format=order)) + upsampled))
        # channels last: resizing and sampling of mask features read all channels of a pixel
        mask_features = self.mask_feature(maps[-1]).contiguous(memory_format=torch.channels_last)
        return mask_features, maps[:self.num_outs]

    def encode(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Apply the deformable encoder.

        Args:
            features: backbone maps [B, C_l, h_l, w_l] of the encoder levels, coarsest first.

        Returns:
            maps [B, C, h_l, w_l], coarsest first.
        """
        sizes = [(feature.shape[-2], feature.shape[-1]) for feature in features]
        maps = [conv(feature) for conv, feature in zip(self.input_convs, features)]
        x = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)
        pos = torch.cat([
            sine_encoding(size, self.channels, x.device, x.dtype) + level
            for size, level in zip(sizes, self.level_encoding.weight)])
        # relative coordinates of a token are the same on every level
        centers = pixel_centers(sizes, x.device, torch.promote_types(x.dtype, torch.float32))
        reference_points = centers[None, :, None].expand(len(x), -1, len(sizes), -1)
        x = self.encoder(x, pos, reference_points, sizes)
        areas = [height * width for height, width in sizes]
        # permuted views, which convolutions and resizing recognize as channels last
        return [part.unflatten(1, size).permute(0, 3, 1, 2)
                for part, size in zip(x.split(areas, dim=1), sizes)]
