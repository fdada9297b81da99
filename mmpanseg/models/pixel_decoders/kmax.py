"""kMaX-DeepLab's pixel decoder: axial attention at low, convolutions at high resolution.

Shapes: B images, C channels; stages run from low to high resolution.
"""
from collections.abc import Callable, Sequence

from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmpanseg.models.layers.bilinear_resize import ALIGN_CORNERS, resize
from mmpanseg.models.layers.conv_norm import NORM, ConvNorm, LayerNorm2d
from mmpanseg.models.layers.preactivated_blocks import BLOCKS, EXPANSION
from mmpanseg.registry import MODELS
from mmpanseg.utils.config_checks import resolve_option

# stage number, its map -> the map that the next stage goes on with
Visit = Callable[[int, Tensor], Tensor]


class ResizedFusion(BaseModule):
    """Sum of a stage's output and the next backbone map, both projected, at the latter's size.

    A map that has the right width already is taken as it is.

    Args:
        low_channels, high_channels: of the two maps.
        channels: of the sum.
        align_corners: key of ``ALIGN_CORNERS``, asked of the width of the small map.
        norm_cfg: of all norms.
    """

    def __init__(self, low_channels: int, high_channels: int, channels: int,
                 align_corners: str = 'odd', norm_cfg: dict = NORM) -> None:
        super().__init__()
        self.align_corners = ALIGN_CORNERS[align_corners]
        self.low, self.high = (
            nn.Identity() if width == channels else nn.Sequential(
                nn.GELU(), ConvNorm(width, channels, norm_cfg=norm_cfg, act=False))
            for width in (low_channels, high_channels))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """[B, C, h, w] and [B, C', H, W] -> [B, channels, H, W], not activated."""
        low = resize(self.low(low), high.shape[-2:], self.align_corners(low.shape[-1]))
        return low + self.high(high)


@MODELS.register_module()
class KMaXPixelDecoder(BaseModule):
    """Pixel decoder of kMaX-DeepLab (its appendix calls it an enhanced Axial-ResNet decoder).

    It fits maps of any size. One stage for each backbone map; four, or five with the stem's map
    (Cityscapes).

    Args:
        in_channels: of the backbone's maps, high resolution first: (stem,) res2 .. res5.
        num_blocks: blocks of each stage.
        base_channels: base width of each stage; it gives four times as many channels.
        stage_types: 'axial' or 'bottleneck', for each stage.
        num_heads: of axial attention.
        dilation: of the 3x3 convolutions: 1 in the PyTorch version, 2 in the TensorFlow version.
        align_corners: 'odd' (PyTorch: where the small map's width is odd) or 'always'
            (TensorFlow).
        stem_before_res2: with five maps, fuse the stem's first. So do the PyTorch version's
            ResNets, whose stem and res2 are of one stride.
        drop_path: in the blocks.
        norm_cfg: of all norms but the layer norms on the inputs.

    Raises:
        ValueError: lengths of the arguments do not agree, or a name is unknown.
    """

    def __init__(self, in_channels: Sequence[int], num_blocks: Sequence[int] = (1, 5, 1, 1),
                 base_channels: Sequence[int] = (512, 256, 128, 64),
                 stage_types: Sequence[str] = ('axial', 'axial', 'bottleneck', 'bottleneck'),
                 num_heads: int = 8, dilation: int = 1, align_corners: str = 'odd',
                 stem_before_res2: bool = False, drop_path: float = 0.0, norm_cfg: dict = NORM,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        lengths = dict(in_channels=len(in_channels), num_blocks=len(num_blocks),
                       base_channels=len(base_channels), stage_types=len(stage_types))
        if len(set(lengths.values())) > 1:
            raise ValueError('pixel_decoder needs one entry per stage, so equally many in '
                             + ', '.join(f'{key} ({n})' for key, n in lengths.items()))
        resolve_option('pixel_decoder.align_corners', align_corners, ALIGN_CORNERS)
        self.order = stage_order(len(in_channels), stem_before_res2)
        in_channels = [in_channels[i] for i in self.order]
        self.out_channels = [EXPANSION * base for base in base_channels]
        self.input_norms = ModuleList(LayerNorm2d(channels) for channels in in_channels)
        self.stages, self.fusions = ModuleList(), ModuleList()
        width = in_channels[0]
        for stage, (count, base, kind) in enumerate(zip(num_blocks, base_channels, stage_types)):
            block = resolve_option(f'pixel_decoder.stage_types[{stage}]', kind, BLOCKS)
            if stage:
                self.fusions.append(ResizedFusion(
                    width, in_channels[stage], base, align_corners, norm_cfg))
                width = base
            self.stages.append(nn.Sequential(*(
                block(width if i == 0 else EXPANSION * base, base, num_heads=num_heads,
                      dilation=dilation, drop_path=drop_path, norm_cfg=norm_cfg)
                for i in range(count))))
            width = EXPANSION * base

    def forward(self, features: Sequence[Tensor],
                visit: Visit | None = None) -> tuple[Tensor, list[Tensor]]:
        """Decode.

        Args:
            features: backbone maps, high resolution first.
            visit: gets each stage's map when it is there, may give back a changed one.

        Returns:
            the last stage's map and the maps of all stages, none of them activated.
        """
        maps = []
        for stage, index in enumerate(self.order):
            x = self.input_norms[stage](features[index])
            x = self.stages[stage](self.fusions[stage - 1](maps[-1], x) if stage else x)
            maps.append(visit(stage, x) if visit else x)
        return maps[-1], maps


def stage_order(num_maps: int, stem_before_res2: bool) -> list[int]:
    """Which of the backbone's maps each stage fuses; they are counted from high resolution."""
    order = list(reversed(range(num_maps)))
    if stem_before_res2:
        if num_maps != 5:
            raise ValueError(f'pixel_decoder.stem_before_res2 needs five backbone maps, stem to '
                             f'res5, but in_channels has {num_maps}')
        order[-2:] = reversed(order[-2:])
    return order
