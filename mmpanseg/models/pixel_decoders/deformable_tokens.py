"""Neck and deformable encoder of Panoptic SegFormer: multi-scale tokens instead of mask features.

Shapes: B images, C channels, L levels, S tokens of all levels, H x W padded input of the network.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmdet.models.layers import SinePositionalEncoding
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.deformable_attention import DeformableDETREncoder, layer_config
from mmpanseg.registry import MODELS
from mmpanseg.utils.device import to_device


@dataclass(frozen=True)
class Tokens:
    """Flattened feature maps of a batch, high resolution first.

    Attributes:
        memory: features [B, S, C].
        memory_pos: position encoding of the tokens [B, S, C].
        padding_mask: bool [B, S], True where a token is outside its image; None: no padding.
        sizes: (h, w) of each level.
        valid_ratios: fraction (width, height) of each map inside the image, in 0..1 [B, L, 2].
    """

    memory: Tensor
    memory_pos: Tensor
    padding_mask: Tensor | None
    sizes: tuple[tuple[int, int], ...]
    valid_ratios: Tensor

    def first_levels(self, count: int) -> 'Tokens':
        """Select the tokens of the first ``count`` levels."""
        sizes = self.sizes[:count]
        end = sum(height * width for height, width in sizes)
        return Tokens(
            self.memory[:, :end], self.memory_pos[:, :end],
            None if self.padding_mask is None else self.padding_mask[:, :end], sizes,
            self.valid_ratios[:, :count])

    def image(self, index: int) -> 'Tokens':
        """Select the tokens of one image, a batch with B = 1."""
        part = slice(index, index + 1)
        return Tokens(
            self.memory[part], self.memory_pos[part],
            None if self.padding_mask is None else self.padding_mask[part], self.sizes,
            self.valid_ratios[part])


@MODELS.register_module()
class DeformableTokenEncoder(BaseModule):
    """Neck and encoder of Deformable DETR, which Panoptic SegFormer extends.

    Unlike the pixel decoder of Mask2Former it masks padded pixels.

    Source: Zhu et al., Deformable DETR (arXiv 2010.04159), section 4.1; Li et al., Panoptic
    SegFormer (arXiv 2109.03814 v1), section 3.2.

    Args:
        in_channels: widths of the backbone's maps, high resolution first.
        channels: width C of the tokens.
        num_levels: number of levels L, at least the number of maps. Additional levels are strided
            convolutions, the first of them of the backbone's last map. The released code uses 4
            (strides 8 to 64); the first version of the paper describes the backbone's 3.
        num_layers: number of encoder layers.
        num_heads: number of attention heads, a divisor of ``channels``.
        num_points: number of sampled points per head and level.
        feedforward_channels: hidden width of the feed-forward networks.
        dropout: probability of dropout in the encoder.
        norm_cfg: config of the normalization layers of the neck, mmengine style; default GN with
            32 groups.
        init_cfg: config of the initialization, mmengine style.

    Raises:
        ValueError: there are more maps than levels.
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
        self.encoder = DeformableDETREncoder(
            num_layers, dict(self_attn_cfg=deformable, ffn_cfg=feedforward))

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.normal_(self.level_embed)

    def forward(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> Tokens:
        """Encode.

        Args:
            features: backbone maps [B, C_i, h_i, w_i], high resolution first.
            metainfos: ``img_shape`` and ``batch_input_shape`` of every image; None: no padding.

        Returns:
            encoded tokens.
        """
        maps = self.neck(features)
        padding = padding_masks(metainfos, features[0].device) if metainfos else None
        if padding is None:
            outside = [m.new_zeros((len(m), *m.shape[-2:]), dtype=torch.bool) for m in maps]
        else:
            outside = [F.interpolate(padding[None], m.shape[-2:]).bool()[0] for m in maps]
        memory = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)
        memory_pos = torch.cat([
            self.position(mask).flatten(2).transpose(1, 2).to(level.dtype) + level
            for mask, level in zip(outside, self.level_embed)], 1)
        padding_mask = None
        if padding is not None:
            padding_mask = torch.cat([mask.flatten(1) for mask in outside], 1)
        sizes = tuple((m.shape[-2], m.shape[-1]) for m in maps)
        valid_ratios = torch.stack([valid_ratio(mask) for mask in outside], 1)
        encoded = self.encoder(
            query=memory, query_pos=memory_pos, key_padding_mask=padding_mask,
            spatial_shapes=sizes, level_start_index=None, valid_ratios=valid_ratios)
        return Tokens(encoded, memory_pos, padding_mask, sizes, valid_ratios)


def padding_masks(metainfos: Sequence[dict], device: torch.device) -> Tensor | None:
    """Mark the padding of a batch.

    Args:
        metainfos: ``img_shape`` and ``batch_input_shape`` of every image.
        device: device of the result.

    Returns:
        float32 [B, H, W], 1 outside each image and 0 inside; None if no image is padded.
    """
    size = tuple(metainfos[0]['batch_input_shape'])
    shapes = [tuple(metainfo['img_shape'][:2]) for metainfo in metainfos]
    if all(shape == size for shape in shapes):
        return None
    # computed on the device from the sizes, which are all that is copied
    heights, widths = to_device(device, shapes)[0].view(-1, 2, 1, 1).unbind(1)
    rows, columns = (torch.arange(length, device=device) for length in size)
    return ((rows[:, None] >= heights) | (columns >= widths)).float()


def valid_ratio(outside: Tensor) -> Tensor:
    """Compute the fraction (width, height) of maps that is not padding.

    Args:
        outside: bool [B, h, w], True where a map is padding.

    Returns:
        fractions in 0..1 [B, 2].
    """
    height, width = outside.shape[1:]
    inside = ~outside
    return torch.stack([inside[:, 0].sum(1) / width, inside[:, :, 0].sum(1) / height], 1)
