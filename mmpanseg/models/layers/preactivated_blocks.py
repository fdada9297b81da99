"""Residual blocks of MaX-DeepLab and kMaX-DeepLab, which activate their input.

Shapes: B images, C input and C' output channels.
"""
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.axial_attention import AxialAttention
from mmpanseg.models.layers.conv_norm import NORM, ConvNorm

# ratio of output channels to base channels
EXPANSION = 4


class _Block(BaseModule):
    """Residual block that activates its input instead of its output; subclasses add the middle.

    Args:
        in_channels: width C of the input.
        base_channels: a quarter of the output width C'.
        inner_channels: width of the middle.
        stride: stride of the middle and of the shortcut.
        drop_path: probability in 0..1 that an image skips the residual branch in training.
        norm_cfg: config of the normalization layers, mmengine style; default BN with eps 1e-3 and
            momentum 0.01, as published.
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
        """Transform activated maps of the inner width; the result is activated."""
        raise NotImplementedError


class AxialBlock(_Block):
    """Block with axial attention, whose inner width is twice the base width.

    Args:
        in_channels: width C of the input.
        base_channels: a quarter of the output width C', and width of the attention keys.
        stride: stride of the attention and of the shortcut.
        num_heads: number of attention heads.
        dilation: ignored; both blocks share one signature.
        drop_path: probability in 0..1 that an image skips the residual branch in training.
        norm_cfg: config of the normalization layers, mmengine style; see :class:`_Block`.
    """

    def __init__(self, in_channels: int, base_channels: int, stride: int = 1,
                 num_heads: int = 8, dilation: int = 1, drop_path: float = 0.0,
                 norm_cfg: dict = NORM) -> None:
        inner = 2 * base_channels
        super().__init__(in_channels, base_channels, inner, stride, drop_path, norm_cfg)
        self.attn = AxialAttention(inner, base_channels, inner, num_heads, stride, norm_cfg)

    def middle(self, x: Tensor) -> Tensor:
        return F.gelu(self.attn(x))


class BottleneckBlock(_Block):
    """Block with a 3x3 convolution of the base width.

    Args:
        in_channels: width C of the input.
        base_channels: a quarter of the output width C', and width of the convolution.
        stride: stride of the convolution and of the shortcut.
        num_heads: ignored; both blocks share one signature.
        dilation: dilation of the convolution.
        drop_path: probability in 0..1 that an image skips the residual branch in training.
        norm_cfg: config of the normalization layers, mmengine style; see :class:`_Block`.
    """

    def __init__(self, in_channels: int, base_channels: int, stride: int = 1,
                 num_heads: int = 8, dilation: int = 1, drop_path: float = 0.0,
                 norm_cfg: dict = NORM) -> None:
        super().__init__(in_channels, base_channels, base_channels, stride, drop_path, norm_cfg)
        self.conv2 = ConvNorm(
            base_channels, base_channels, 3, stride, dilation, norm_cfg=norm_cfg)

    def middle(self, x: Tensor) -> Tensor:
        return self.conv2(x)


BLOCKS = {'axial': AxialBlock, 'bottleneck': BottleneckBlock}
