"""MaX-S: ResNet-50 with axial attention in its last two stages.

Shapes: B images, C channels, H x W image or map.
"""
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.conv_norm import NORM, ConvNorm
from mmpanseg.models.layers.preactivated_blocks import EXPANSION, AxialBlock, BottleneckBlock
from mmpanseg.registry import MODELS


@MODELS.register_module()
class MaXS(BaseModule):
    """MaX-S backbone of kMaX-DeepLab's TensorFlow version, for images of any size.

    Three 3x3 convolutions are followed by four stages, whose first blocks halve the resolution.
    Blocks whose input is at stride 16 or coarser contain axial attention instead of a 3x3
    convolution: all but the first of the third stage, and all of the last stage. Outputs are not
    activated; the stem's map is at stride 2.

    Source: Wang et al., MaX-DeepLab, section 3.4.

    Args:
        num_blocks: number of blocks of each stage.
        base_channels: base width of the first stage; it doubles with every stage.
        num_heads: number of heads of axial attention.
        in_channels: number of channels of the images.
        with_stem: whether to return the stem's map before those of the stages.
        drop_path_rate: probability in 0..1 of skipping the residual branch of axial blocks at
            stride 32; for blocks whose input is at stride 16 it is three quarters of that, for
            convolutional blocks 0.
        norm_cfg: config of the normalization layers, mmengine style; default BN with eps 1e-3 and
            momentum 0.01, as published.
        init_cfg: config of the initialization, mmengine style.
    """

    def __init__(self, num_blocks: Sequence[int] = (3, 4, 6, 3), base_channels: int = 64,
                 num_heads: int = 8, in_channels: int = 3, with_stem: bool = False,
                 drop_path_rate: float = 0.2, norm_cfg: dict = NORM,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.with_stem = with_stem
        self.stem = nn.Sequential(
            ConvNorm(in_channels, base_channels, 3, stride=2, norm_cfg=norm_cfg),
            ConvNorm(base_channels, base_channels, 3, norm_cfg=norm_cfg),
            ConvNorm(base_channels, 2 * base_channels, 3, norm_cfg=norm_cfg, act=False))
        self.stages = nn.ModuleList()
        channels = 2 * base_channels
        for stage, count in enumerate(num_blocks):
            base = base_channels * 2 ** stage
            blocks = []
            for number in range(count):
                # log2 of the stride of the block's input
                halvings = stage + 1 + (number > 0)
                axial = halvings >= 4
                blocks.append((AxialBlock if axial else BottleneckBlock)(
                    channels, base, stride=1 if number else 2, num_heads=num_heads,
                    drop_path=drop_path_rate * (halvings - 1) / 4 if axial else 0.0,
                    norm_cfg=norm_cfg))
                channels = EXPANSION * base
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute feature maps.

        Args:
            x: images [B, C, H, W].

        Returns:
            maps, high resolution first, with ``with_stem`` that of the stem before the stages'.
        """
        x = self.stem(x)
        maps = [x] if self.with_stem else []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)
