"""BiFPN as pixel decoder.

Shapes: B images, C channels, C_out channels of mask features, h_l x w_l map of level l.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList, caffe2_xavier_init
from torch import Tensor, nn

from mmpanseg.registry import MODELS


class Fusion(BaseModule):
    """Fast normalized fusion: weighted mean, swish, depthwise and 1x1 convolution, norm.

    Source: Tan et al., EfficientDet, section 3.3.

    Args:
        num_inputs: number of maps.
        channels: width C of the maps.
        norm_cfg: config of the norm after the convolutions, mmengine style.
        eps: added to the sum of the weights, so that it is greater than 0.
    """

    def __init__(self, num_inputs: int, channels: int, norm_cfg: dict, eps: float = 1e-4) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(num_inputs))
        self.eps = eps
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = ConvModule(
            channels, channels, 1, bias=False, norm_cfg=norm_cfg, act_cfg=None)

    def forward(self, *maps: Tensor) -> Tensor:
        """Fuse ``num_inputs`` maps [B, C, h, w] of one size -> [B, C, h, w]."""
        weights = self.weights.relu()
        weights = weights / (weights.sum() + self.eps)
        mean = sum(weight * x for weight, x in zip(weights, maps, strict=True))
        return self.pointwise(self.depthwise(F.silu(mean)))


class BiFPNLayer(BaseModule):
    """One top-down and one bottom-up pass, each of which fuses the layer's input again.

    Source: Tan et al., EfficientDet, Figure 2d.

    Args:
        num_levels: number of maps.
        channels: width C of the maps.
        norm_cfg: config of the normalization layers, mmengine style.
    """

    def __init__(self, num_levels: int, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.down = ModuleList(Fusion(2, channels, norm_cfg) for _ in range(num_levels - 1))
        # the coarsest level has no map of the top-down pass
        self.up = ModuleList(
            Fusion(2 if level == num_levels - 1 else 3, channels, norm_cfg)
            for level in range(1, num_levels))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Update maps [B, C, h_l, w_l], high resolution first; sizes halve from map to map."""
        down = [maps[-1]]
        for x, fusion in zip(maps[-2::-1], self.down[::-1]):
            down.insert(0, fusion(x, F.interpolate(down[0], x.shape[-2:], mode='nearest')))
        up = down[:1]
        for level, fusion in enumerate(self.up, start=1):
            inputs = [maps[level]] if level == len(maps) - 1 else [maps[level], down[level]]
            up.append(fusion(*inputs, F.max_pool2d(up[-1], 3, stride=2, padding=1)))
        return up


@MODELS.register_module()
class BiFPNPixelDecoder(BaseModule):
    """Repeated bidirectional pyramid.

    Of its pixel decoder "BiFPN" (Table 4e) Mask2Former reports the cost only: with ResNet-50 9 G
    FLOPs more than FPN, which corresponds to nine layers.

    Source: Tan et al., EfficientDet, section 3.

    Args:
        in_channels: widths of the backbone's maps, high resolution first.
        channels: width C of the pyramid.
        out_channels: width C_out of the mask features.
        num_outs: number of maps for the transformer decoder, counted from the coarsest.
        num_layers: number of repeated layers.
        norm_cfg: config of the normalization layers after convolutions, mmengine style; default
            GN with 32 groups.
        init_cfg: config of the initialization, mmengine style.
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 256, out_channels: int = 256,
                 num_outs: int = 3, num_layers: int = 9,
                 norm_cfg: dict = dict(type='GN', num_groups=32),
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.channels = channels
        self.num_outs = num_outs
        self.input_convs = ModuleList(
            ConvModule(width, channels, 1, bias=False, norm_cfg=norm_cfg, act_cfg=None)
            for width in in_channels)
        self.layers = ModuleList(
            BiFPNLayer(len(in_channels), channels, norm_cfg) for _ in range(num_layers))
        self.mask_feature = nn.Conv2d(channels, out_channels, 3, padding=1)

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
        maps = [conv(feature) for conv, feature in zip(self.input_convs, features)]
        for layer in self.layers:
            maps = layer(maps)
        return self.mask_feature(maps[0]), maps[::-1][:self.num_outs]
