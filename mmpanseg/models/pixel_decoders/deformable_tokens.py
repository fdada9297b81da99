"""Neck and deformable encoder of Panoptic SegFormer: multi-scale tokens instead of mask features.

Shapes: B images, C channels, L levels, S tokens of all levels.

Shapes: B images, S tokens of all levels, C channels, L levels.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmdet.models.layers import SinePositionalEncoding
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.deformable_attention import DeformableEncoder, layer_config
from mmpanseg.registry import MODELS
from mmpanseg.utils.device import to_device


@dataclass(frozen=True)
class Tokens:
    """Flattened feature maps of a batch, high resolution first.

    Attributes:
        memory: features [B, S, C].
        positions: their position codes [B, S, C].
        padding: bool [B, S], True where a token lies outside its image; None: nowhere.
        sizes: (h, w) of each level.
        valid_ratios: share (width, height) of each map that an image covers [B, L, 2].
    """
    memory: Tensor
    positions: Tensor
    padding: Tensor | None
    sizes: tuple[tuple[int, int], ...]
    valid_ratios: Tensor

    def first_levels(self, count: int) -> 'Tokens':
        """Those of the first levels only."""
        sizes = self.sizes[:count]
        end = sum(height * width for height, width in sizes)
        return Tokens(
            self.memory[:, :end], self.positions[:, :end],
            None if self.padding is None else self.padding[:, :end], sizes,
            self.valid_ratios[:, :count])

    def image(self, index: int) -> 'Tokens':
        """Those of one image, still with B = 1."""
        part = slice(index, index + 1)
        return Tokens(
            self.memory[part], self.positions[part],
            None if self.padding is None else self.padding[part], self.sizes,
            self.valid_ratios[part])


@MODELS.register_module()
class DeformableTokenEncoder(BaseModule):
    """Deformable DETR's neck and encoder (arXiv 2010.04159), which Panoptic SegFormer extends.

    Unlike Mask2Former's pixel decoder it knows which pixels are padding.

    Args:
        in_channels: channels of the backbone's maps, high resolution first.
        channels: C.
        num_levels: L. Beyond the backbone's maps, further levels are strided convolutions: the
            first of the backbone's last map. The released code has 4 (strides 8 to 64); the first
            version of the paper describes the backbone's 3.
        num_layers, num_heads, num_points, feedforward_channels, dropout: of the encoder.
        norm_cfg: norm of the neck.
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 256, num_levels: int = 4,
                 num_layers: int = 6, num_heads: int = 8, num_points: int = 4,
                 feedforward_channels: int = 1024, dropout: float = 0.1,
                 norm_cfg: dict = dict(type='GN', num_groups=32),
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_levels < len(in_channels):
            raise ValueError(
                f'pixel_decoder.num_levels={num_levels} must be at least {len(in_channels)}, the '
                'number of maps of the backbone (panoptic_head.in_channels)')
        self.num_levels = num_levels
        self.neck = MODELS.build(dict(
            type='mmdet.ChannelMapper', in_channels=list(in_channels), kernel_size=1,
            out_channels=channels, act_cfg=None, norm_cfg=norm_cfg, num_outs=num_levels))
        self.position = SinePositionalEncoding(channels // 2, normalize=True, offset=-0.5)
        self.level_embed = nn.Parameter(torch.empty(num_levels, channels).normal_())
        deformable, _, feedforward = layer_config(
            channels, num_heads, num_levels, num_points, feedforward_channels, dropout)
        self.encoder = DeformableEncoder(
            num_layers, dict(self_attn_cfg=deformable, ffn_cfg=feedforward))

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.normal_(self.level_embed)

    def forward(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> Tokens:
        """Encode.

        Args:
            features: backbone maps [B, C_i, h_i, w_i], high resolution first.
            metainfos: ``img_shape`` and ``batch_input_shape`` of every image; without, no image
                is padded.
        """
        maps = self.neck(features)
        padding = padding_masks(metainfos, features[0].device) if metainfos else None
        if padding is None:
            outside = [m.new_zeros((len(m), *m.shape[-2:]), dtype=torch.bool) for m in maps]
        else:
            outside = [F.interpolate(padding[None], m.shape[-2:]).bool()[0] for m in maps]
        memory = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)
        positions = torch.cat([
            self.position(mask).flatten(2).transpose(1, 2).to(level.dtype) + level
            for mask, level in zip(outside, self.level_embed)], 1)
        tokens = Tokens(
            memory, positions,
            None if padding is None else torch.cat([mask.flatten(1) for mask in outside], 1),
            tuple(tuple(m.shape[-2:]) for m in maps),
            torch.stack([valid_ratio(mask) for mask in outside], 1))
        encoded = self.encoder(
            query=memory, query_pos=positions, key_padding_mask=tokens.padding,
            spatial_shapes=tokens.sizes, level_start_index=None,
            valid_ratios=tokens.valid_ratios)
        return Tokens(encoded, tokens.positions, tokens.padding, tokens.sizes,
                      tokens.valid_ratios)


def padding_masks(metainfos: Sequence[dict], device: torch.device) -> Tensor | None:
    """1 outside each image, 0 inside, float32 [B, H, W]; None where all of them fill the batch."""
    size = tuple(metainfos[0]['batch_input_shape'])
    shapes = [tuple(metainfo['img_shape'][:2]) for metainfo in metainfos]
    if all(shape == size for shape in shapes):
        return None
    # drawn on the device, which needs nothing but the sizes
    heights, widths = to_device(device, shapes)[0].view(-1, 2, 1, 1).unbind(1)
    rows, columns = (torch.arange(length, device=device) for length in size)
    return ((rows[:, None] >= heights) | (columns >= widths)).float()


def valid_ratio(outside: Tensor) -> Tensor:
    """Share (width, height) of maps that is not padding: bool [B, h, w] -> [B, 2]."""
    height, width = outside.shape[1:]
    inside = ~outside
    return torch.stack([inside[:, 0].sum(1) / width, inside[:, :, 0].sum(1) / height], 1)
