"""Residual blocks that activate their input, of MaX-DeepLab's and kMaX-DeepLab's networks.

Shapes: B images, C channels.
"""
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.axial_attention import AxialAttention
from mmpanseg.models.layers.conv_norm import NORM, ConvNorm

# output channels over the base width
EXPANSION = 4


class _Block(BaseModule):
    """Residual block whose input, not its output, is activated; subclasses give its middle.

    Args:
        in_channels: of the input.
        base_channels: a quarter of the output's channels.
        inner_channels: of the middle.
        stride: of the middle and of the shortcut.
        drop_path: probability of leaving out the main path.
        norm_cfg: of all norms.
    """

    def __init__(self, in_channels: int, base_channels: int, inner_channels: int,
                 stride: int = 1, drop_path: float = 0.0, norm_cfg: dict = NORM) -> None:
        super().__init__()
        out_channels = EXPANSION * base_channels
        self.conv1 = ConvNorm(in_channels, inner_channels, norm_cfg=norm_cfg)
        self.conv3 = ConvNorm(
            inner_channels, out_channels, norm_cfg=norm_cfg, act=False, scale=0.0)
        self.shortcut = (nn.Identity() if in_channels == out_channels and stride == 1 else
                         ConvNorm(in_channels, out_channels, stride=stride, norm_cfg=norm_cfg,
                                  act=False))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', ceil(H / stride), ceil(W / stride)], not activated."""
        x = F.gelu(x)
        return self.shortcut(x) + self.drop_path(self.conv3(self.middle(self.conv1(x))))

    def middle(self, x: Tensor) -> Tensor:
        """Inner channels in and out, activated."""
        raise NotImplementedError


class AxialBlock(_Block):
    """Block around axial attention, whose inner width is twice the base; see :class:`_Block`."""

    def __init__(self, in_channels: int, base_channels: int, stride: int = 1,
                 num_heads: int = 8, dilation: int = 1, drop_path: float = 0.0,
                 norm_cfg: dict = NORM) -> None:
        inner = 2 * base_channels
        super().__init__(in_channels, base_channels, inner, stride, drop_path, norm_cfg)
        self.attn = AxialAttention(inner, base_channels, inner, num_heads, stride, norm_cfg)

    def middle(self, x: Tensor) -> Tensor:
        return F.gelu(self.attn(x))


class BottleneckBlock(_Block):
    """Block around a 3x3 convolution of the base width; see :class:`_Block`."""

    def __init__(self, in_channels: int, base_channels: int, stride: int = 1,
                 num_heads: int = 8, dilation: int = 1, drop_path: float = 0.0,
                 norm_cfg: dict = NORM) -> None:
        super().__init__(in_channels, base_channels, base_channels, stride, drop_path, norm_cfg)
        self.conv2 = ConvNorm(
            base_channels, base_channels, 3, stride, dilation, norm_cfg=norm_cfg)

    def middle(self, x: Tensor) -> Tensor:
        return self.conv2(x)


BLOCKS = {'axial': AxialBlock, 'bottleneck': BottleneckBlock}
