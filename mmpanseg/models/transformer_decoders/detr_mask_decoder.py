"""DETR's mask head on located queries (arXiv 2005.12872, section 4.4 and Figure 8).

Shapes: B images, N queries, C channels, h heads, S tokens of stride 32, H, W masks (stride 4), M
picked masks.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmpanseg.models.pixel_decoders.deformable_tokens import Tokens
from mmpanseg.models.transformer_decoders.segformer_mask_decoder import MaskDecoderOutputs
from mmpanseg.registry import MODELS
from mmpanseg.structures.attention_masks import AttentionMasks
from mmpanseg.utils.device import chunk_rows


@dataclass(frozen=True)
class FeatureTokens(Tokens):
    """Tokens with the maps they come from.

    Attributes:
        features: the backbone's maps at strides 16, 8 and 4, in this order.
        projected: the stride-32 map [B, C, h, w] that the encoder started from.
    """
    features: tuple[Tensor, ...]
    projected: Tensor

    def first_levels(self, count: int) -> 'FeatureTokens':
        return FeatureTokens(**vars(super().first_levels(count)), features=self.features,
                             projected=self.projected)

    def image(self, index: int) -> 'FeatureTokens':
        part = slice(index, index + 1)
        return FeatureTokens(**vars(super().image(index)), projected=self.projected[part],
                             features=tuple(x[part] for x in self.features))


class ConvolvedMasks:
    """Masks made of one level's attention maps by convolutions, once for every query.

    Args:
        query: [B, h, N, d], scaled.
        key: [B, h, S, d], of the tokens of stride 32.
        tokens: what else the convolutions read.
        convolve: makes mask logits [M, H, W] of attention maps [M, h, h', w'] and one image's
            tokens.
    """

    attention = AttentionMasks.attention

    def __init__(self, query: Tensor, key: Tensor, tokens: FeatureTokens,
                 convolve: 'MaskConvolutions') -> None:
        self.query = query
        self.key = key
        self.tokens = tokens
        self.convolve = convolve
        self.sizes = tokens.sizes[-1:]
        self.size = tuple(tokens.features[-1].shape[-2:])

    def masks(self, image: int, index: Tensor | None = None) -> Tensor:
        """Masks [M, H, W] in 0..1 of some queries of an image, by default all."""
        logits = self.attention(image, index)
        tokens = self.tokens.image(image)
        if tokens.padding_mask is not None:
            outside = tokens.padding_mask[0, -logits.shape[-1]:]
            logits = logits.masked_fill(outside, -torch.inf)
        # over heads and positions together
        maps = logits.flatten(1).softmax(1).view(*logits.shape[:2], *self.sizes[0])
        step = len(maps) if torch.is_grad_enabled() else chunk_rows(
            maps.device, self.convolve.widest * self.size[0] * self.size[1])
        return torch.cat([self.convolve(part, tokens) for part in maps.split(max(1, step))])


class MaskConvolutions(BaseModule):
    """Upsampling from stride 32 to stride 4, the backbone's maps added on the way.

    Args:
        channels: C + h of the input.
        feature_channels: of the backbone's maps at strides 16, 8 and 4.
        width: C, of which the later layers are fractions.
    """

    def __init__(self, channels: int, feature_channels: Sequence[int], width: int) -> None:
        super().__init__()
        widths = [width // 2, width // 4, width // 8]
        # channels that live at the finest size, for one mask
        self.widest = widths[-1]

        def block(inputs: int, outputs: int) -> ConvModule:
            return ConvModule(inputs, outputs, 3, padding=1, bias=True,
                              norm_cfg=dict(type='GN', num_groups=8))

        self.first = nn.Sequential(block(channels, channels), block(channels, widths[0]))
        self.blocks = ModuleList(
            block(a, b) for a, b in zip(widths, [*widths[1:], width // 16]))
        self.adapters = ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(feature_channels, widths))
        self.last = nn.Conv2d(width // 16, 1, 3, padding=1)

    def forward(self, maps: Tensor, tokens: FeatureTokens) -> Tensor:
        """Masks [M, H, W] in 0..1 from attention maps [M, h, h', w'] of one image."""
        x = torch.cat([tokens.projected.expand(len(maps), -1, -1, -1), maps], 1)
        x = self.first(x)
        for adapter, block, feature in zip(self.adapters, self.blocks, tokens.features):
            x = block(adapter(feature) + F.interpolate(x, feature.shape[-2:], mode='nearest'))
        return self.last(x)[:, 0].sigmoid()


@MODELS.register_module()
class DETRMaskDecoder(BaseModule):
    """Queries ask the tokens of stride 32 once; convolutions make masks of the attention maps.

    Args:
        channels: C.
        feature_channels: channels of the backbone's maps at strides 16, 8 and 4.
        num_heads: h.
        num_levels, num_classes, location_size: given by the head; the last of the levels is read,
            and there are no branches for classes or locations.

    Raises:
        ValueError: for branches.
    """

    def __init__(self, channels: int, feature_channels: Sequence[int], num_heads: int = 8,
                 num_levels: int = 1, num_classes: int = 0, location_size: int = 0,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_classes or location_size:
            raise ValueError('DETRMaskDecoder gives masks only: leave classify and locate of '
                             "panoptic_head.mask_decoder away, with class_from='location'")
        self.num_heads = num_heads
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.convolutions = MaskConvolutions(channels + num_heads, feature_channels, channels)
        # the branches that the mask decoder of Panoptic SegFormer may have
        self.cls_branches = self.reg_branches = ()

    def init_weights(self) -> None:
        super().init_weights()
        for layer in (self.q_proj, self.k_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        for module in self.convolutions.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)

    def forward(self, query: Tensor, query_pos: Tensor | None,
                tokens: FeatureTokens) -> MaskDecoderOutputs:
        """Masks of queries [B, N, C]; positions are not used."""
        count = tokens.sizes[-1][0] * tokens.sizes[-1][1]
        q = self._heads(self.q_proj(query))
        k = self._heads(self.k_proj(tokens.memory[:, -count:]))
        masks = ConvolvedMasks(q * q.shape[-1]**-0.5, k, tokens, self.convolutions)
        return MaskDecoderOutputs(query[None], [masks])

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
