"""ConvNeXt with the padding of kMaX-DeepLab.

Shapes: B images, C channels, H x W image or map.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule, ModuleList, Sequential, trunc_normal_init
from torch import Tensor, nn

from mmpanseg.models.layers.conv_norm import LayerNorm2d
from mmpanseg.registry import MODELS
from mmpanseg.utils.config_checks import resolve_option

# depths and widths of the stages
ARCHITECTURES = {
    'tiny': ((3, 3, 9, 3), (96, 192, 384, 768)),
    'small': ((3, 3, 27, 3), (96, 192, 384, 768)),
    'base': ((3, 3, 27, 3), (128, 256, 512, 1024)),
    'large': ((3, 3, 27, 3), (192, 384, 768, 1536))}
# left, right, top, bottom padding before the stem, and before every later stage
STEM_PADDING = (1, 2, 1, 2)
STAGE_PADDING = (0, 1, 0, 1)


class ConvNeXtBlock(BaseModule):
    """7x7 depth-wise convolution, layer norm, two linear layers with GELU, layer scale.

    Source: Liu et al., ConvNeXt, section 2 and Figure 4.

    Args:
        channels: width C of the block.
        drop_path: probability in 0..1 that an image skips the residual branch in training.
        layer_scale: initial scale of the residual branch.
    """

    def __init__(self, channels: int, drop_path: float, layer_scale: float) -> None:
        super().__init__()
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pointwise_conv1 = nn.Linear(channels, 4 * channels)
        self.pointwise_conv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(layer_scale * torch.ones(channels))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual branch: [B, C, H, W] -> [B, C, H, W]."""
        y = self.norm(self.depthwise_conv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pointwise_conv2(F.gelu(self.pointwise_conv1(y)))
        return x + self.drop_path(y.permute(0, 3, 1, 2))


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt as kMaX-DeepLab uses it, for images of any size.

    Parameter names are mmpretrain's, so that its released ImageNet weights load. As in
    kMaX-DeepLab images are padded with zeros before the stem, 1 pixel at the top and left and 2 at
    the bottom and right, and maps before the layer norm of every later stage, 1 pixel at the bottom
    and right. A map then has ceil(side / stride) cells. Without ``pad_odd`` nothing is padded, and
    rows and columns that do not fill a cell are dropped, as in other releases. Outputs are not
    normalized.

    Source: Liu et al., ConvNeXt, CVPR 2022.

    Args:
        arch: 'tiny', 'small', 'base', 'large', or (depths, widths) of the stages.
        with_stem: whether to return the stem's map too, whose stride is that of the first stage.
        in_channels: number of channels of the images.
        pad_odd: whether to pad as above, so that sides of 32 k + 1 pixels are covered.
        drop_path_rate: probability in 0..1 of skipping the last block's residual branch; it grows
            linearly from 0 at the first block.
        layer_scale: initial scale of the residual branches.
        init_cfg: config of the initialization, mmengine style; None: truncated normal.

    Raises:
        ValueError: ``arch`` is unknown.
    """

    def __init__(self, arch: str | Sequence[Sequence[int]] = 'tiny', with_stem: bool = False,
                 in_channels: int = 3, pad_odd: bool = True, drop_path_rate: float = 0.0,
                 layer_scale: float = 1e-6, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        depths, widths = (
            resolve_option('arch', arch, ARCHITECTURES) if isinstance(arch, str) else arch)
        self.with_stem, self.pad_odd = with_stem, pad_odd
        self.downsample_layers = ModuleList([Sequential(
            nn.Conv2d(in_channels, widths[0], 4, stride=4), LayerNorm2d(widths[0]))])
        self.downsample_layers.extend(
            Sequential(LayerNorm2d(before), nn.Conv2d(before, after, 2, stride=2))
            for before, after in zip(widths, widths[1:]))
        rates = torch.linspace(0, drop_path_rate, sum(depths), device='cpu').split(list(depths))
        self.stages = ModuleList(
            Sequential(*(ConvNeXtBlock(width, float(rate), layer_scale) for rate in stage))
            for width, stage in zip(widths, rates))

    def init_weights(self) -> None:
        """Fill kernels from a truncated normal of deviation 0.02, unless ``init_cfg`` is set."""
        if self.init_cfg is None:
            for module in self.modules():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    trunc_normal_init(module, std=0.02)
        super().init_weights()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute feature maps.

        Args:
            x: images [B, C, H, W].

        Returns:
            maps, high resolution first, with ``with_stem`` that of the stem before the stages'.
        """
        maps: list[Tensor] = []
        for number, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            if self.pad_odd:
                x = F.pad(x, STAGE_PADDING if number else STEM_PADDING)
            x = downsample(x)
            if self.with_stem and not maps:
                maps.append(x)
            x = stage(x)
            maps.append(x)
        return tuple(maps)
