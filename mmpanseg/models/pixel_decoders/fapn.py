"""FaPN as pixel decoder: a pyramid that aligns features before it adds them.

Shapes: B images, C channels, h x w map, h' x w' coarser map.
"""
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.deformable_conv import ModulatedDeformConv
from mmpanseg.models.pixel_decoders.fpn import FPNPixelDecoder
from mmpanseg.registry import MODELS


class FeatureAlignment(BaseModule):
    """Selection of channels of a backbone map, and alignment of the coarser map with it.

    Source: Huang et al., FaPN, section 3, Equations 2 to 5.

    Args:
        in_channels: width of the backbone's map.
        channels: width C of the pyramid.
        norm_cfg: config of the normalization layers after 1x1 convolutions, mmengine style.
        deform_groups: number of groups of channels with offsets of their own, a divisor of
            ``channels``.
    """

    def __init__(self, in_channels: int, channels: int, norm_cfg: dict,
                 deform_groups: int = 8) -> None:
        super().__init__()
        self.importance = nn.Conv2d(in_channels, in_channels, 1, bias=False)
        self.select = ConvModule(
            in_channels, channels, 1, bias=False, norm_cfg=norm_cfg, act_cfg=None)
        self.difference = ConvModule(
            2 * channels, channels, 1, bias=False, norm_cfg=norm_cfg, act_cfg=None)
        # y, x and a weight for each group and position of the 3x3 kernel
        self.offset = nn.Conv2d(channels, deform_groups * 9 * 3, 3, padding=1)
        self.align = ModulatedDeformConv(
            channels, channels, 3, padding=1, deform_groups=deform_groups)

    def init_offset(self) -> None:
        """Initialize offsets to 0 and, through the sigmoid, weights to 0.5."""
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, feature: Tensor, coarse: Tensor) -> Tensor:
        """Add the aligned coarse map to the selected features.

        Args:
            feature: backbone map [B, C_i, h, w].
            coarse: next coarser map of the pyramid [B, C, h', w'].

        Returns:
            sum [B, C, h, w].
        """
        importance = self.importance(feature.mean((2, 3), keepdim=True)).sigmoid()
        selected = self.select(feature + feature * importance)
        upsampled = F.interpolate(
            coarse, feature.shape[-2:], mode='bilinear', align_corners=False)
        # the factor 2 is in the released code only
        difference = self.difference(torch.cat([selected, upsampled * 2], dim=1))
        *offset, weight = self.offset(difference).chunk(3, dim=1)
        aligned = self.align(upsampled, torch.cat(offset, dim=1), weight.sigmoid())
        return selected + aligned.relu()


@MODELS.register_module()
class FaPNPixelDecoder(FPNPixelDecoder):
    """Feature-aligned pyramid, as in its released code.

    The coarsest map passes a 1x1 convolution instead of the pyramid's 3x3 convolution. Mask2Former
    with Swin-L-FaPN then has 217 M parameters, as in its Table V.

    Source: Huang et al., FaPN, section 3.

    Args:
        args, kwargs: those of :class:`FPNPixelDecoder`.
    """

    def build_coarsest(self, in_channels: int) -> None:
        self.last_feat_conv = ConvModule(
            in_channels, self.channels, 1, bias=False, norm_cfg=self.norm_cfg)

    def lateral(self, in_channels: int) -> FeatureAlignment:
        return FeatureAlignment(in_channels, self.channels, self.norm_cfg)

    def init_weights(self) -> None:
        super().init_weights()
        for alignment in self.lateral_convs:
            alignment.init_offset()

    @staticmethod
    def merge(lateral: nn.Module, feature: Tensor, coarse: Tensor) -> Tensor:
        return lateral(feature, coarse)
