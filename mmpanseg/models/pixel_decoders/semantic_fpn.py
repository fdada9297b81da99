"""Semantic FPN as pixel decoder.

Shapes: B images, C channels, h_l x w_l map of level l.
"""
from collections.abc import Sequence
from itertools import zip_longest

import torch.nn.functional as F
from mmengine.model import ModuleList
from torch import Tensor

from mmpanseg.models.pixel_decoders.fpn import FPNPixelDecoder
from mmpanseg.registry import MODELS


@MODELS.register_module()
class SemanticFPNPixelDecoder(FPNPixelDecoder):
    """Pyramid whose maps are upsampled to the finest size and added.

    Each map passes stages of a 3x3 convolution, norm, ReLU and bilinear upsampling by two, the
    finest one a convolution only. The sum is the input of the mask features; the transformer
    decoder reads the pyramid's own maps. With C channels in the stages the cost is that of
    Mask2Former's Table 4e.

    Source: Kirillov et al., Panoptic Feature Pyramid Networks, section 3.1.

    Args:
        args, kwargs: those of :class:`FPNPixelDecoder`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        levels = len(self.lateral_convs) + 1
        self.scale_heads = ModuleList(
            ModuleList(self.output_conv(self.channels) for _ in range(max(steps, 1)))
            for steps in reversed(range(levels)))

    def finest(self, maps: Sequence[Tensor]) -> Tensor:
        total: Tensor | None = None
        for level, (stages, x) in enumerate(zip(self.scale_heads, maps)):
            for convolution, finer in zip_longest(stages, maps[level + 1:]):
                x = convolution(x)
                if finer is not None:  # the finest map is convolved but not upsampled
                    x = F.interpolate(
                        x, finer.shape[-2:], mode='bilinear', align_corners=False)
            total = x if total is None else total + x
        assert total is not None  # a pyramid has at least one map
        return total
