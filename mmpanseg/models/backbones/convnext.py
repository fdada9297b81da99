"""ConvNeXt with kMaX-DeepLab's padding. Shapes: B images, C channels."""
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
# left, right, top, bottom: in front of the stem, and of every later stage
STEM_PADDING = (1, 2, 1, 2)
STAGE_PADDING = (0, 1, 0, 1)


class ConvNeXtBlock(BaseModule):
    """7x7 depth-wise convolution, layer norm, two linear layers with GELU, layer scale.

    Args:
        channels: C.
        drop_path: probability to skip the block in training.
        layer_scale: start of the scale of the branch.
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
        """[B, C, H, W] -> same shape."""
        y = self.norm(self.depthwise_conv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pointwise_conv2(F.gelu(self.pointwise_conv1(y)))
        return x + self.drop_path(y.permute(0, 3, 1, 2))


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt (Liu et al., CVPR 2022) as kMaX-DeepLab uses it, for images of any size.

    Parameter names are mmpretrain's, so that its released ImageNet weights load. Images are padded
    with zeros in front of the stem, 1 pixel at the top and left and 2 at the bottom and right, and
    maps in front of every later stage's layer norm, 1 pixel at the bottom and right: whatever their
    size, as in kMaX-DeepLab. A map has ceil(side / stride) cells. Without ``pad_odd`` nothing is
    padded, and rows and columns that fill no cell are cut off, as in other releases. The outputs
    have no norm.

    Args:
        arch: 'tiny', 'small', 'base', 'large', or (depths, widths) of the stages.
        with_stem: also give the stem's map, at the same stride as the first stage's.
        in_channels: of the images.
        pad_odd: pad as above, so that sides of 32 k + 1 pixels fit.
        drop_path_rate: of the last block; it grows linearly from 0.
        layer_scale: start of the blocks' scales.

    Raises:
        ValueError: for an unknown ``arch``.
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
        """Truncated normal kernels of deviation 0.02, unless ``init_cfg`` names a checkpoint."""
        if self.init_cfg is None:
            for module in self.modules():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    trunc_normal_init(module, std=0.02)
        super().init_weights()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images [B, C, H, W] -> maps, high resolution first; the stem's, if any, leads."""
        maps = []
        for number, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            if self.pad_odd:
                x = F.pad(x, STAGE_PADDING if number else STEM_PADDING)
            x = downsample(x)
            if self.with_stem and not maps:
                maps.append(x)
            x = stage(x)
            maps.append(x)
        return tuple(maps)
