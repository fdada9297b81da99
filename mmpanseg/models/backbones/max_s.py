"""MaX-S: ResNet-50 with axial attention in its last two stages. Shapes: B images, C channels."""
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.conv_norm import NORM, ConvNorm
from mmpanseg.models.layers.preactivated_blocks import EXPANSION, AxialBlock, BottleneckBlock
from mmpanseg.registry import MODELS


@MODELS.register_module()
class MaXS(BaseModule):
    """MaX-S backbone of kMaX-DeepLab's TensorFlow original (MaX-DeepLab section 3.4).

    Three 3x3 convolutions, then four stages that each halve the size in their first block. Blocks
    whose input is at stride 16 or coarser have axial attention instead of a 3x3 convolution: all
    but the first of the third stage, and the last stage. Maps of any size fit. Outputs are the
    blocks' sums, not activated; the stem's map is at stride 2.

    Args:
        num_blocks: of the stages.
        base_channels: base width of the first stage; it doubles with every stage.
        num_heads: of axial attention.
        in_channels: of the images.
        with_stem: put the stem's map in front of the stages' maps.
        drop_path_rate: of axial blocks at stride 32; those whose input is at stride 16 have three
            quarters of it, convolutional blocks none.
        norm_cfg: of all norms.
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
        """Images [B, C, H, W] -> maps, high resolution first; the stem's, if any, leads."""
        x = self.stem(x)
        maps = [x] if self.with_stem else []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)
