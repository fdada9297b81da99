"""Feature pyramid pixel decoders of MaskFormer, the plain one and that with a transformer encoder.

Shapes: B images, C channels, h_l x w_l map of level l.
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
    """Top-down pyramid with nearest-neighbor upsampling (MaskFormer section 3.3).

    Mask2Former's pixel decoder "FPN" (Table 4e). Parameter names are mmdet's.

    Args:
        in_channels: channels of the backbone's maps, high resolution first.
        channels: C.
        out_channels: channels of the mask features.
        num_outs: maps handed to the transformer decoder, coarsest first.
        norm_cfg: norm of the convolutions.
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
        """Make what :meth:`coarsest` needs."""
        self.last_feat_conv = self.output_conv(in_channels)

    def lateral(self, in_channels: int) -> nn.Module:
        """What brings a backbone map to C channels, for :meth:`merge`."""
        return ConvModule(
            in_channels, self.channels, 1, bias=False, norm_cfg=self.norm_cfg, act_cfg=None)

    def output_conv(self, in_channels: int) -> ConvModule:
        """3x3 convolution, norm and ReLU to C channels."""
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
            mask features [B, C_out, h, w] at the finest map's size, and ``num_outs`` maps
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
        """Backbone map [B, C_i, h, w] and the next coarser map [B, C, h', w'] -> [B, C, h, w]."""
        return lateral(feature) + F.interpolate(coarse, feature.shape[-2:], mode='nearest')

    def finest(self, maps: Sequence[Tensor]) -> Tensor:
        """What the mask features are made of, [B, C, h, w]; of all maps, coarsest first."""
        return maps[-1]

    def coarsest(self, feature: Tensor) -> Tensor:
        """[B, C_4, h, w] -> [B, C, h, w]."""
        return self.last_feat_conv(feature)


@MODELS.register_module()
class TransformerFPNPixelDecoder(FPNPixelDecoder):
    """:class:`FPNPixelDecoder` with a transformer encoder on the coarsest map.

    MaskFormer's pixel decoder for panoptic segmentation (appendix A.1, as DETR's encoder). Padded
    pixels count as real ones, as in the published code.

    Args:
        num_layers, num_heads, feedforward_channels, dropout: of the encoder.
        kwargs: those of :class:`FPNPixelDecoder`.
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
        position = sine_encoding(size, self.channels, x.device, x.dtype)
        x = self.encoder(x, query_pos=position.expand_as(x), key_padding_mask=None)
        return self.encoder_out_proj(x.transpose(1, 2).unflatten(2, size))
