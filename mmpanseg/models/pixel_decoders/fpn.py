"""Feature pyramid pixel decoders of MaskFormer, without and with a transformer encoder.

Shapes: B images, C channels, C_out channels of mask features, h_l x w_l map of level l.
"""
from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.layers import DetrTransformerEncoder
from mmengine.model import BaseModule, ModuleList, caffe2_xavier_init
from torch import Tensor, nn

from mmpanseg.models.layers.positional_encoding import sine_encoding
from mmpanseg.registry import MODELS


@MODELS.register_module()
class FPNPixelDecoder(BaseModule):
    """Top-down pyramid with nearest-neighbor upsampling; parameter names are mmdet's.

    Source: Cheng et al., MaskFormer, section 3.3; "FPN" in Mask2Former, Table 4e.

    Args:
        in_channels: widths of the backbone's maps, high resolution first.
        channels: width C of the pyramid.
        out_channels: width C_out of the mask features.
        num_outs: number of maps for the transformer decoder, counted from the coarsest.
        norm_cfg: config of the normalization layers after convolutions, mmengine style; default
            GN with 32 groups.
        init_cfg: config of the initialization, mmengine style.
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 256, out_channels: int = 256,
                 num_outs: int = 3, norm_cfg: dict = dict(type='GN', num_groups=32),
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.channels = channels
        self.num_outs = num_outs
        self.norm_cfg = norm_cfg
        self.lateral_convs = ModuleList(self.lateral(width) for width in in_channels[:-1])
        self.output_convs = ModuleList(
            self.output_conv(channels) for _ in in_channels[:-1])
        self.build_coarsest(in_channels[-1])
        self.mask_feature = nn.Conv2d(channels, out_channels, 3, padding=1)

    def build_coarsest(self, in_channels: int) -> None:
        """Build the modules that :meth:`coarsest` calls."""
        self.last_feat_conv = self.output_conv(in_channels)

    def lateral(self, in_channels: int) -> nn.Module:
        """Build the module of :meth:`merge` for a backbone map of width ``in_channels``."""
        return ConvModule(
            in_channels, self.channels, 1, bias=False, norm_cfg=self.norm_cfg, act_cfg=None)

    def output_conv(self, in_channels: int) -> ConvModule:
        """Build a 3x3 convolution from ``in_channels`` to C channels with norm and ReLU."""
        return ConvModule(
            in_channels, self.channels, 3, padding=1, bias=False, norm_cfg=self.norm_cfg)

    def init_weights(self) -> None:
        super().init_weights()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                caffe2_xavier_init(module)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decode.

        Args:
            features: backbone maps [B, C_i, h_i, w_i], high resolution first.

        Returns:
            mask features [B, C_out, h, w] at the size of the finest map, and ``num_outs`` maps
            [B, C, h_l, w_l], coarsest first.
        """
        *fine, coarse = features
        maps = [self.coarsest(coarse)]
        for feature, lateral, output in zip(
                fine[::-1], self.lateral_convs[::-1], self.output_convs[::-1]):
            maps.append(output(self.merge(lateral, feature, maps[-1])))
        return self.mask_feature(self.finest(maps)), maps[:self.num_outs]

    @staticmethod
    def merge(lateral: nn.Module, feature: Tensor, coarse: Tensor) -> Tensor:
        """Add a coarse map of the pyramid to a backbone map.

        Args:
            lateral: module of this level, built by :meth:`lateral`.
            feature: backbone map [B, C_i, h, w].
            coarse: next coarser map of the pyramid [B, C, h', w'].

        Returns:
            sum [B, C, h, w].
        """
        return lateral(feature) + F.interpolate(coarse, feature.shape[-2:], mode='nearest')

    def finest(self, maps: Sequence[Tensor]) -> Tensor:
        """Combine maps [B, C, h_l, w_l], coarsest first, into the input of the mask features.

        Here it is the finest map [B, C, h, w].
        """
        return maps[-1]

    def coarsest(self, feature: Tensor) -> Tensor:
        """Transform the coarsest backbone map [B, C_i, h, w] -> [B, C, h, w]."""
        return self.last_feat_conv(feature)


@MODELS.register_module()
class TransformerFPNPixelDecoder(FPNPixelDecoder):
    """:class:`FPNPixelDecoder` with the transformer encoder of DETR on the coarsest map.

    Padded pixels are treated as image content, as in the published code.

    Source: Cheng et al., MaskFormer, appendix A.1, panoptic segmentation.

    Args:
        args, kwargs: those of :class:`FPNPixelDecoder`.
        num_layers: number of encoder layers.
        num_heads: number of attention heads, a divisor of ``channels``.
        feedforward_channels: hidden width of the feed-forward networks.
        dropout: probability of dropout in the encoder.
    """

    def __init__(self, *args, num_layers: int = 6, num_heads: int = 8,
                 feedforward_channels: int = 2048, dropout: float = 0.1, **kwargs) -> None:
        self.encoder_cfg = dict(
            num_layers=num_layers, num_heads=num_heads, dropout=dropout,
            feedforward_channels=feedforward_channels)
        super().__init__(*args, **kwargs)

    def build_coarsest(self, in_channels: int) -> None:
        cfg = self.encoder_cfg
        self.encoder_in_proj = nn.Conv2d(in_channels, self.channels, 1)
        self.encoder = DetrTransformerEncoder(cfg['num_layers'], dict(
            self_attn_cfg=dict(
                embed_dims=self.channels, num_heads=cfg['num_heads'], attn_drop=cfg['dropout'],
                dropout_layer=dict(type='Dropout', drop_prob=cfg['dropout']), batch_first=True),
            ffn_cfg=dict(
                embed_dims=self.channels, feedforward_channels=cfg['feedforward_channels'],
                num_fcs=2, ffn_drop=cfg['dropout'], act_cfg=dict(type='ReLU', inplace=True))))
        self.encoder_out_proj = self.output_conv(self.channels)

    def init_weights(self) -> None:
        super().init_weights()
        for parameter in self.encoder.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def coarsest(self, feature: Tensor) -> Tensor:
        size = feature.shape[-2:]
        x = self.encoder_in_proj(feature).flatten(2).transpose(1, 2)
        pos = sine_encoding(size, self.channels, x.device, x.dtype)
        x = self.encoder(x, query_pos=pos.expand_as(x), key_padding_mask=None)
        return self.encoder_out_proj(x.transpose(1, 2).unflatten(2, size))
