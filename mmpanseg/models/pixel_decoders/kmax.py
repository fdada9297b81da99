"""Pixel decoder of kMaX-DeepLab: axial attention at low, convolutions at high resolution.

Shapes: B images, C channels, h x w low-resolution map, H x W high-resolution map. Stages are
ordered from low to high resolution.
"""
from collections.abc import Callable, Sequence

from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmpanseg.models.layers.bilinear_resize import ALIGN_CORNERS, resize
from mmpanseg.models.layers.conv_norm import NORM, ConvNorm, LayerNorm2d
from mmpanseg.models.layers.preactivated_blocks import BLOCKS, EXPANSION
from mmpanseg.registry import MODELS
from mmpanseg.utils.config_checks import resolve_option

# called with the index of a stage and its map; returns the map that the next stage reads
StageHook = Callable[[int, Tensor], Tensor]


class ResizedFusion(BaseModule):
    """Sum of a stage's output and the next backbone map, at the size of the latter.

    Both are projected, except a map that already is of the required width.

    Args:
        low_channels: width of the low-resolution map.
        high_channels: width of the high-resolution map.
        channels: width of the sum.
        align_corners: key of ``ALIGN_CORNERS``, evaluated at the width of the low-resolution map.
        norm_cfg: config of the normalization layers, mmengine style; default BN with eps 1e-3 and
            momentum 0.01, as published.
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
        """Fuse maps [B, low_channels, h, w] and [B, high_channels, H, W].

        Args:
            low: output of the stage, not activated [B, low_channels, h, w].
            high: normalized backbone map [B, high_channels, H, W].

        Returns:
            sum [B, channels, H, W], not activated.
        """
        low = resize(self.low(low), high.shape[-2:], self.align_corners(low.shape[-1]))
        return low + self.high(high)


@MODELS.register_module()
class KMaXPixelDecoder(BaseModule):
    """Pixel decoder of kMaX-DeepLab for maps of any size, one stage per backbone map.

    There are four stages, or five with the stem's map (Cityscapes).

    Source: Yu et al., kMaX-DeepLab, appendix ("enhanced Axial-ResNet" decoder).

    Args:
        in_channels: widths of the backbone's maps, high resolution first: (stem,) res2 .. res5.
        num_blocks: number of blocks of each stage.
        base_channels: base width of each stage, a quarter of its output width.
        stage_types: 'axial' or 'bottleneck' for each stage.
        num_heads: number of heads of axial attention.
        dilation: dilation of 3x3 convolutions: 1 in the PyTorch version, 2 in the TensorFlow
            version.
        align_corners: 'odd' (PyTorch version: where the width of the low-resolution map is odd) or
            'always' (TensorFlow version).
        stem_before_res2: with five maps, whether to fuse the stem's map before res2, as for the
            ResNets of the PyTorch version, whose stem and res2 are of the same stride.
        drop_path: probability in 0..1 that an image skips the residual branch of a block in
            training.
        norm_cfg: config of the normalization layers, except the layer norms of the inputs, mmengine
            style; default BN with eps 1e-3 and momentum 0.01, as published.
        init_cfg: config of the initialization, mmengine style.

    Raises:
        ValueError: arguments differ in length, or an option is unknown.
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
            raise ValueError('pixel_decoder needs one entry per stage in each of '
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
                stage_hook: StageHook | None = None) -> tuple[Tensor, list[Tensor]]:
        """Decode.

        Args:
            features: backbone maps [B, C_i, h_i, w_i], high resolution first.
            stage_hook: called after each stage with its index and its map; the map that it returns
                replaces the stage's map. None: no hook.

        Returns:
            map of the last stage, and the maps of all stages, low resolution first; not activated.
        """
        maps: list[Tensor] = []
        for stage, index in enumerate(self.order):
            x = self.input_norms[stage](features[index])
            x = self.stages[stage](self.fusions[stage - 1](maps[-1], x) if stage else x)
            maps.append(stage_hook(stage, x) if stage_hook else x)
        return maps[-1], maps


def stage_order(num_maps: int, stem_before_res2: bool) -> list[int]:
    """Return the index of the backbone map, counted from high resolution, that each stage fuses.

    Args:
        num_maps: number of backbone maps.
        stem_before_res2: whether the stem's map precedes res2.

    Raises:
        ValueError: ``stem_before_res2`` without five maps.
    """
    order = list(reversed(range(num_maps)))
    if stem_before_res2:
        if num_maps != 5:
            raise ValueError(f'pixel_decoder.stem_before_res2 needs five backbone maps, stem to '
                             f'res5, but in_channels has {num_maps}')
        order[-2:] = reversed(order[-2:])
    return order
