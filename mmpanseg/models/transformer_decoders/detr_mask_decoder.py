"""Mask head of DETR on queries with locations, the baseline of Panoptic SegFormer.

Source: Carion et al., DETR (arXiv 2005.12872), section 4.4 and Figure 8.

Shapes: B images, N queries, C channels, h heads, d channels of a head, S tokens of stride 32 on a
map of h' x w', H x W masks of stride 4, M selected masks.
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
from mmpanseg.utils.device import chunk_rows


@dataclass(frozen=True)
class FeatureTokens(Tokens):
    """Tokens with the backbone maps that masks are upsampled with.

    Attributes:
        features: backbone maps [B, C_i, h_i, w_i] at strides 16, 8 and 4, in this order.
        projected: input of the encoder at stride 32 [B, C, h', w'].
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
    """Masks computed by convolutions from the attention maps of one level, for each query.

    Args:
        query: scaled queries [B, h, N, d].
        key: keys of the tokens of stride 32 [B, h, S, d].
        tokens: tokens whose maps the convolutions read.
        convolve: convolutions that turn attention maps into masks.

    Attributes:
        sizes: (h', w') of the level, a tuple of one.
        size: (H, W) of the masks.
    """

    def __init__(self, query: Tensor, key: Tensor, tokens: FeatureTokens,
                 convolve: 'MaskConvolutions') -> None:
        self.query = query
        self.key = key
        self.tokens = tokens
        self.convolve = convolve
        self.sizes = tokens.sizes[-1:]
        height, width = tokens.features[-1].shape[-2:]
        self.size = (height, width)

    def attention(self, image: int, index: Tensor | None = None) -> Tensor:
        """Compute attention logits [M, h, S] of queries ``index`` of an image; None: all."""
        query = self.query[image] if index is None else self.query[image][:, index]
        return torch.matmul(query, self.key[image].transpose(1, 2)).transpose(0, 1)

    def masks(self, image: int, index: Tensor | None = None) -> Tensor:
        """Compute masks [M, H, W] in 0..1 of queries ``index`` of an image; None: all."""
        logits = self.attention(image, index)
        tokens = self.tokens.image(image)
        if tokens.padding_mask is not None:
            outside = tokens.padding_mask[0, -logits.shape[-1]:]
            logits = logits.masked_fill(outside, -torch.inf)
        # softmax over heads and positions together, as in DETR
        maps = logits.flatten(1).softmax(1).view(*logits.shape[:2], *self.sizes[0])
        step = len(maps) if torch.is_grad_enabled() else chunk_rows(
            maps.device, self.convolve.widest * self.size[0] * self.size[1])
        return torch.cat([self.convolve(part, tokens) for part in maps.split(max(1, step))])


class MaskConvolutions(BaseModule):
    """Convolutions with upsampling from stride 32 to stride 4; backbone maps are added.

    Args:
        channels: width C + h of the input.
        feature_channels: widths of the backbone's maps at strides 16, 8 and 4.
        width: width C, of which the later layers are fractions.

    Attributes:
        widest: number of channels that exist at the finest size for each mask.
    """

    def __init__(self, channels: int, feature_channels: Sequence[int], width: int) -> None:
        super().__init__()
        widths = [width // 2, width // 4, width // 8]
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
        """Compute masks of one image.

        Args:
            maps: attention maps of the selected queries [M, h, h', w'].
            tokens: tokens of the image, B = 1.

        Returns:
            masks in 0..1 [M, H, W].
        """
        x = torch.cat([tokens.projected.expand(len(maps), -1, -1, -1), maps], 1)
        x = self.first(x)
        for adapter, block, feature in zip(self.adapters, self.blocks, tokens.features):
            x = block(adapter(feature) + F.interpolate(x, feature.shape[-2:], mode='nearest'))
        return self.last(x)[:, 0].sigmoid()


@MODELS.register_module()
class DETRMaskDecoder(BaseModule):
    """One cross-attention to the tokens of stride 32, whose maps convolutions turn into masks.

    Args:
        channels: width C of queries and tokens.
        feature_channels: widths of the backbone's maps at strides 16, 8 and 4.
        num_heads: number of heads h, a divisor of ``channels``.
        num_levels: number of levels of the tokens, of which the last one is read; set by the head.
        num_classes: number of classes of a classification branch; must be 0, set by the head.
        location_size: number of coordinates of a location branch; must be 0, set by the head.
        init_cfg: config of the initialization, mmengine style.

    Raises:
        ValueError: a branch is requested.
    """

    def __init__(self, channels: int, feature_channels: Sequence[int], num_heads: int = 8,
                 num_levels: int = 1, num_classes: int = 0, location_size: int = 0,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_classes or location_size:
            raise ValueError('DETRMaskDecoder predicts masks only: remove classify and locate from '
                             "panoptic_head.mask_decoder and set class_from='location'")
        self.num_heads = num_heads
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.convolutions = MaskConvolutions(channels + num_heads, feature_channels, channels)
        # heads read these branches of every mask decoder
        self.cls_branches = self.reg_branches = ()

    def init_weights(self) -> None:
        super().init_weights()
        for layer in (self.q_proj, self.k_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        for module in self.convolutions.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, query: Tensor, query_pos: Tensor | None,
                tokens: FeatureTokens) -> MaskDecoderOutputs:
        """Compute the masks of queries.

        Args:
            query: query features [B, N, C].
            query_pos: position encoding of the queries, ignored.
            tokens: tokens, of which those of the last level are read.

        Returns:
            the query features, unchanged, and their masks.
        """
        count = tokens.sizes[-1][0] * tokens.sizes[-1][1]
        q = self._heads(self.q_proj(query))
        k = self._heads(self.k_proj(tokens.memory[:, -count:]))
        masks = ConvolvedMasks(q * q.shape[-1]**-0.5, k, tokens, self.convolutions)
        return MaskDecoderOutputs(query[None], [masks])

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
