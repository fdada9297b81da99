"""Mask2Former's head: pixel decoder, masked-attention decoder, shared prediction layers.

Shapes: B images, Q queries, C channels, K classes, L predictions (decoder layers + 1).
"""
from collections.abc import Sequence

import torch
from mmdet.structures import SampleList
from mmengine.model import BaseModule, ModuleList, caffe2_xavier_init
from torch import Tensor, nn

from mmpanseg.models.heads.base import batch_segments
from mmpanseg.models.layers.positional_encoding import sine_encoding
from mmpanseg.models.layers.precision import parameter_dtype, without_autocast
from mmpanseg.models.transformer_decoders.cross_attention import MULTI_SCALE, Memory
from mmpanseg.models.transformer_decoders.masked_attention_decoder import (
    QUERY_FEATS,
    QUERY_POS,
    DecodedQueries,
    MaskRegions,
)
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits, ProductMaskLogits, at_least_float
from mmpanseg.utils.config_checks import resolve_option


@MODELS.register_module()
class Mask2FormerHead(BaseModule):
    """Mask classification with learnable, supervised queries (Mask2Former section 3.2).

    Parameter names are mmdet's, so that its released checkpoints load with ``strict=True``.

    Args:
        in_channels: channels of the backbone's maps, high resolution first.
        num_things_classes, num_stuff_classes: set once, at the segmentor.
        num_queries: Q.
        channels: C of pixel and transformer decoder.
        out_channels: channels of mask features and mask embeddings.
        levels: maps of the pixel decoder that the queries read, 0 = coarsest (1/32).
        multi_scale: 'efficient': decoder layers read the maps in turn; 'naive': each layer reads
            all of them at once (Table 4d).
        query_feat: content the queries start from: 'supervised', 'unsupervised' (learned, the
            first prediction has no loss) or 'zero' (the same, not learned) (Table Xb).
        query_pos: 'learned' position codes, or 'none' as in MP-Former's released code.
        project_inputs: put a 1x1 convolution between the decoders although the widths agree.
        pixel_decoder_fp32: keep the pixel decoder in single precision under autocast, as
            published; without, only its deformable sampling is.
        pixel_decoder, transformer_decoder, criterion: configs; widths are filled in from here.
    """

    def __init__(self, in_channels: Sequence[int], num_things_classes: int,
                 num_stuff_classes: int, num_queries: int = 100, channels: int = 256,
                 out_channels: int = 256, levels: Sequence[int] = (0, 1, 2),
                 multi_scale: str = 'efficient', query_feat: str = 'supervised',
                 query_pos: str = 'learned', project_inputs: bool = False,
                 pixel_decoder_fp32: bool = True,
                 pixel_decoder: dict = dict(type='mmpanseg.MSDeformAttnPixelDecoder'),
                 transformer_decoder: dict = dict(type='mmpanseg.MaskedAttentionDecoder'),
                 criterion: dict = dict(type='mmpanseg.MaskCriterion'),
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if not levels or not all(0 <= level < len(in_channels) for level in levels):
            raise ValueError(f'levels={list(levels)} must name maps of the pixel decoder: '
                             f'0 (the coarsest) .. {len(in_channels) - 1}')
        self.num_classes = num_things_classes + num_stuff_classes
        self.levels = tuple(levels)
        self.pixel_decoder_fp32 = pixel_decoder_fp32
        self.multi_scale = resolve_option('multi_scale', multi_scale, MULTI_SCALE)
        self.pixel_decoder = MODELS.build(pixel_decoder, default_args=dict(
            in_channels=in_channels, channels=channels, out_channels=out_channels,
            num_outs=max(levels) + 1))
        self.transformer_decoder = MODELS.build(
            transformer_decoder, default_args=dict(channels=channels))
        decoder_width = self.pixel_decoder.channels
        project = project_inputs or decoder_width != channels
        self.decoder_input_projs = ModuleList(
            nn.Conv2d(decoder_width, channels, 1) if project else nn.Identity()
            for _ in levels)
        self.query_embed = resolve_option('query_pos', query_pos, QUERY_POS)(
            num_queries, channels)
        self.query_feat = resolve_option('query_feat', query_feat, QUERY_FEATS)(
            num_queries, channels)
        self.level_embed = nn.Embedding(len(levels), channels)
        self.cls_embed = nn.Linear(channels, self.num_classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True),
            nn.Linear(channels, channels), nn.ReLU(inplace=True),
            nn.Linear(channels, out_channels))
        self.criterion = MODELS.build(criterion, default_args=dict(num_classes=self.num_classes))

    def init_weights(self) -> None:
        super().init_weights()
        for projection in self.decoder_input_projs:
            if isinstance(projection, nn.Conv2d):
                caffe2_xavier_init(projection)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, MaskLogits]:
        """All predictions.

        Args:
            features: backbone maps, high resolution first.

        Returns:
            class logits [L, B, Q, K + 1] and L mask logits; the last is the result.
        """
        mask_features, maps = self.decode_pixels(features)
        return self.classify(self.decode_queries(mask_features, maps), mask_features)

    def loss(self, features: Sequence[Tensor],
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses by name against the samples' ``gt_segments``."""
        mask_features, maps = self.decode_pixels(features)
        queries = self.decode_queries(mask_features, maps)[self.query_feat.first_supervised:]
        return self.criterion(
            *self.classify(queries, mask_features), batch_segments(batch_data_samples))

    def predict(self, features: Sequence[Tensor]) -> tuple[Tensor, MaskLogits]:
        """Class logits [B, Q, K + 1] and mask logits of the last prediction only."""
        mask_features, maps = self.decode_pixels(features)
        queries = self.decode_queries(mask_features, maps)[-1:]
        cls_logits, mask_logits = self.classify(queries, mask_features)
        return at_least_float(cls_logits[0]), mask_logits.float()

    def decode_pixels(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mask features and multi-scale maps."""
        if not self.pixel_decoder_fp32:
            return self.pixel_decoder(features)
        dtype = parameter_dtype(self.pixel_decoder)
        with without_autocast(features[0].device):
            return self.pixel_decoder([x.to(dtype) for x in features])

    def decode_queries(self, mask_features: Tensor,
                       maps: Sequence[Tensor]) -> list[DecodedQueries]:
        """Queries of all predictions."""
        memories = self.memories(maps)
        regions = MaskRegions(mask_features, [memory.sizes for memory in memories])
        batch = len(mask_features)
        return self.transformer_decoder(
            self.query_feat.weight.expand(batch, -1, -1),
            self.query_embed.weight.expand(batch, -1, -1), memories, regions, self.mask_embed)

    def classify(self, decoded: Sequence[DecodedQueries],
                 mask_features: Tensor) -> tuple[Tensor, MaskLogits]:
        """Class logits [L, B, Q, K + 1] and mask logits of L predictions."""
        queries = torch.stack([prediction.queries for prediction in decoded])
        embeds = torch.stack([
            self.mask_embed(queries) if embeds is None else embeds for queries, embeds in decoded])
        return self.cls_embed(queries), ProductMaskLogits(embeds, mask_features)

    def memories(self, maps: Sequence[Tensor]) -> list[Memory]:
        """What the decoder layers read in turn."""
        return self.multi_scale([
            self._memory(index, maps[level]) for index, level in enumerate(self.levels)])

    def _memory(self, index: int, x: Tensor) -> Memory:
        size = tuple(x.shape[-2:])
        value = self.decoder_input_projs[index](x).flatten(2).transpose(1, 2)
        value = value + self.level_embed.weight[index]
        position = sine_encoding(size, value.shape[-1], value.device, value.dtype)
        return Memory(value + position, value, (size, ))
