"""Auxiliary semantic heads of kMaX-DeepLab, which run in training only.

Shapes: B images, C channels, K classes.
"""
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmpanseg.models.layers.bilinear_resize import ALIGN_CORNERS, resize
from mmpanseg.models.layers.conv_norm import NORM, ConvNorm
from mmpanseg.registry import MODELS
from mmpanseg.utils.config_checks import resolve_option


def identity(x: Tensor) -> Tensor:
    """Return the input, in place of an activation."""
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = dict(
    none=identity, relu=F.relu, gelu=F.gelu)


def separable_conv(in_channels: int, out_channels: int, norm_cfg: dict) -> nn.Sequential:
    """5x5 depthwise convolution and 1x1 convolution, each with normalization and GELU."""
    return nn.Sequential(
        ConvNorm(in_channels, in_channels, 5, depthwise=True, norm_cfg=norm_cfg),
        ConvNorm(in_channels, out_channels, norm_cfg=norm_cfg))


class ASPP(BaseModule):
    """Atrous spatial pyramid pooling (DeepLabv3 section 3.3).

    A 1x1 convolution, dilated 3x3 convolutions and global average pooling in parallel, projected
    by a 1x1 convolution.

    Args:
        in_channels: channels of the input.
        channels: channels of each branch and of the output.
        dilations: dilation of each 3x3 convolution.
        dropout: probability of dropout, applied to the output.
        norm_cfg: config of the normalization layers; default BN with eps 1e-3.
    """

    def __init__(self, in_channels: int, channels: int, dilations: Sequence[int] = (6, 12, 18),
                 dropout: float = 0.1, norm_cfg: dict = NORM) -> None:
        super().__init__()
        self.convs = ModuleList([ConvNorm(in_channels, channels, norm_cfg=norm_cfg)] + [
            ConvNorm(in_channels, channels, 3, dilation=dilation, norm_cfg=norm_cfg)
            for dilation in dilations])
        self.pool = ConvNorm(in_channels, channels, norm_cfg=norm_cfg)
        self.project = ConvNorm(channels * (len(dilations) + 2), channels, norm_cfg=norm_cfg)
        self.dropout = nn.Dropout(dropout)

    @property
    def image_norm(self) -> nn.Module:
        """Normalization layer whose input is one value per channel and image."""
        return self.pool.norm

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a map [B, in_channels, h, w] to [B, channels, h, w]."""
        pooled = self.pool(F.adaptive_avg_pool2d(x, 1))
        branches = [conv(x) for conv in self.convs] + [pooled.expand(-1, -1, *x.shape[-2:])]
        return self.dropout(self.project(torch.cat(branches, 1)))


@MODELS.register_module()
class KMaXSemanticHead(BaseModule):
    """Semantic segmentation at stride 4 from all maps of the backbone (COCO, ADE20K).

    Args:
        in_channels: channels of the backbone's feature maps, in decreasing order of resolution.
        num_classes: number of classes K; one more, which is never a target, is predicted.
        channels: channels of ASPP and of both fusions.
        low_level_channels: channels to which res3 and res2 are projected before their fusion.
        dilations: dilations in :class:`ASPP`.
        dropout: probability of dropout in :class:`ASPP`.
        low_level_act: activation applied to res3 and res2: 'none' (PyTorch version, whose
            backbones return activated maps), 'relu' or 'gelu' (backbones of the TensorFlow
            version).
        align_corners: corner rule of resizing: 'odd' (PyTorch version: aligned where the width of
            res5 is odd) or 'always' (TensorFlow version).
        norm_cfg: config of the normalization layers; default BN with eps 1e-3.

    Raises:
        ValueError: ``low_level_act`` or ``align_corners`` is unknown.
    """

    def __init__(self, in_channels: Sequence[int], num_classes: int, channels: int = 256,
                 low_level_channels: tuple[int, int] = (64, 32),
                 dilations: Sequence[int] = (6, 12, 18), dropout: float = 0.1,
                 low_level_act: str = 'none', align_corners: str = 'odd',
                 norm_cfg: dict = NORM) -> None:
        super().__init__()
        self.low_level_act = resolve_option(
            'semantic_head.low_level_act', low_level_act, ACTIVATIONS)
        self.align_corners = resolve_option(
            'semantic_head.align_corners', align_corners, ALIGN_CORNERS)
        self.aspp = ASPP(in_channels[-1], channels, dilations, dropout, norm_cfg)
        self.low_level_convs, self.fusion_convs = ModuleList(), ModuleList()
        for in_width, width in zip((in_channels[-3], in_channels[-4]), low_level_channels):
            self.low_level_convs.append(ConvNorm(in_width, width, norm_cfg=norm_cfg))
            self.fusion_convs.append(separable_conv(channels + width, channels, norm_cfg))
        self.conv = separable_conv(channels, channels, norm_cfg)
        self.cls_conv = ConvNorm(
            channels, num_classes + 1, bias=True, norm_cfg=None, act=False, std=0.01)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Compute logits [B, K + 1, h, w] at stride 4 from the backbone's feature maps."""
        x = self.aspp(features[-1])
        align = self.align_corners(x.shape[-1])
        for low_level, low_level_conv, conv in zip(
                (features[-3], features[-4]), self.low_level_convs, self.fusion_convs):
            low_level = low_level_conv(self.low_level_act(low_level))
            x = conv(torch.cat([resize(x, low_level.shape[-2:], align), low_level], 1))
        return self.cls_conv(self.conv(x))


@MODELS.register_module()
class KMaXSimpleSemanticHead(BaseModule):
    """Semantic segmentation at stride 32 from res5 alone (Cityscapes).

    Args:
        in_channels: channels of the backbone's feature maps, in decreasing order of resolution.
        num_classes: number of classes K.
        channels: channels C of the separable convolution.
        norm_cfg: config of the normalization layers; default BN with eps 1e-3.
    """

    def __init__(self, in_channels: Sequence[int], num_classes: int, channels: int = 256,
                 norm_cfg: dict = NORM) -> None:
        super().__init__()
        self.conv = separable_conv(in_channels[-1], channels, norm_cfg)
        self.cls_conv = ConvNorm(
            channels, num_classes, bias=True, norm_cfg=None, act=False, std=0.01)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Compute logits [B, K, h, w] at stride 32 from the backbone's feature maps."""
        return self.cls_conv(self.conv(features[-1]))
