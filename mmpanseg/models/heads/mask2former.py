"""Mask2Former's head: pixel decoder, masked-attention decoder, shared prediction layers.

Shapes: B images, Q queries, C channels, C' mask channels, K classes, L predictions (decoder layers
+ 1).
"""
from collections.abc import Sequence

import torch
from mmdet.structures import SampleList
from mmengine.model import ModuleList, caffe2_xavier_init
from torch import Tensor, nn

from mmpanseg.models.heads.base import LayerPredictions, PanopticHead
from mmpanseg.models.layers.attention import Memory
from mmpanseg.models.layers.positional_encoding import sine_encoding
from mmpanseg.models.layers.precision import parameter_dtype, without_autocast
from mmpanseg.models.transformer_decoders.masked_attention_decoder import (
    MULTI_SCALE,
    QUERY_FEATS,
    QUERY_POS,
    CrossAttentionMasks,
    DecodedQueries,
)
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits, ProductMaskLogits, at_least_float
from mmpanseg.structures.segment_map import SegmentBatch
from mmpanseg.utils.config_checks import resolve_option


@MODELS.register_module()
class Mask2FormerHead(PanopticHead):
    """Mask classification with learnable, supervised queries (Mask2Former section 3.2).

    Parameter names are those of mmdet's head, so that its released checkpoints load with
    ``strict=True``.

    Args:
        in_channels: channels of the backbone's feature maps, in decreasing order of resolution.
        num_things_classes: number of thing classes, set by the segmentor.
        num_stuff_classes: number of stuff classes, set by the segmentor.
        num_queries: number of queries Q.
        channels: width C of the pixel decoder and the transformer decoder.
        out_channels: width C' of mask features and mask embeddings.
        levels: indices of the pixel decoder's maps that the queries attend to, 0 = the coarsest
            (stride 32).
        multi_scale: 'efficient': the decoder layers attend to the maps in turn; 'naive': each
            layer attends to all maps at once (Table 4d).
        query_feat: initial content of the queries: 'supervised' (learned, with losses on the
            prediction from it), 'unsupervised' (learned, without these losses) or 'zero' (not
            learned, without these losses) (Table Xb).
        query_pos: position embeddings of the queries: 'learned', or 'none' as in MP-Former's
            released code.
        project_inputs: apply a 1x1 convolution to the maps between both decoders even where their
            widths are equal.
        pixel_decoder_fp32: run the pixel decoder in single precision under autocast, as
            published; if False, only its deformable attention runs in single precision.
        pixel_decoder: config of the pixel decoder; channels are filled in from the head.
        transformer_decoder: config of the transformer decoder; channels are filled in alike.
        criterion: config of the losses; the number of classes is filled in.
        init_cfg: config of the initialization, see mmengine's ``BaseModule``.

    Raises:
        ValueError: ``levels`` names a map that does not exist, or an option is unknown.
    """

    query_parts: tuple[str, ...] = ('matching', )

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
        self.num_queries = num_queries
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

    def forward(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> tuple[Tensor, MaskLogits]:
        """Compute the predictions of all layers.

        Args:
            features: feature maps of the backbone, in decreasing order of resolution.
            metainfos: ignored; attention is restricted by masks, not by padding.

        Returns:
            class logits [L, B, Q, K + 1] and L mask logits; the last prediction is the result.
        """
        mask_features, maps = self.decode_pixels(features)
        return self.classify(self.decode_queries(mask_features, maps), mask_features)

    def loss(self, features: Sequence[Tensor],
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        mask_features, maps = self.decode_pixels(features)
        queries = self.decode_queries(mask_features, maps)[self.query_feat.first_supervised:]
        return self.criterion(
            *self.classify(queries, mask_features), self.batch_segments(batch_data_samples))

    def predict(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> tuple[Tensor, MaskLogits]:
        mask_features, maps = self.decode_pixels(features)
        queries = self.decode_queries(mask_features, maps)[-1:]
        cls_logits, mask_logits = self.classify(queries, mask_features)
        return at_least_float(cls_logits[0]), mask_logits.float()

    def layer_predictions(self, features: Sequence[Tensor], segments: SegmentBatch,
                          part: str = 'matching') -> LayerPredictions:
        self.check_query_part(part)
        cls_logits, mask_logits = self(features)
        return LayerPredictions(
            cls_logits, mask_logits, [cls_logits.shape[2]] * cls_logits.shape[1])

    def decode_pixels(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute mask features [B, C', h, w] at stride 4 and the maps that queries attend to.

        Args:
            features: feature maps of the backbone, in decreasing order of resolution.

        Returns:
            mask features, and maps [B, C, h, w] in increasing order of resolution.
        """
        if not self.pixel_decoder_fp32:
            return self.pixel_decoder(features)
        dtype = parameter_dtype(self.pixel_decoder)
        with without_autocast(features[0].device):
            return self.pixel_decoder([x.to(dtype) for x in features])

    def decode_queries(self, mask_features: Tensor,
                       maps: Sequence[Tensor]) -> list[DecodedQueries]:
        """Compute the queries of all L predictions; arguments as :meth:`decode_pixels` returns."""
        memories = self.memories(maps)
        attn_masks = CrossAttentionMasks(mask_features, [memory.sizes for memory in memories])
        batch = len(mask_features)
        return self.transformer_decoder(
            self.query_feat.weight.expand(batch, -1, -1),
            self.query_embed.weight.expand(batch, -1, -1), memories, attn_masks, self.mask_embed)

    def classify(self, decoded: Sequence[DecodedQueries],
                 mask_features: Tensor) -> tuple[Tensor, MaskLogits]:
        """Predict from decoded queries.

        Args:
            decoded: queries of L predictions.
            mask_features: [B, C', h, w].

        Returns:
            class logits [L, B, Q, K + 1] and L mask logits, products of mask embeddings and mask
            features.
        """
        queries = torch.stack([prediction.queries for prediction in decoded])
        embeds = torch.stack([
            self.mask_embed(queries) if embeds is None else embeds for queries, embeds in decoded])
        return self.cls_embed(queries), ProductMaskLogits(embeds, mask_features)

    def memories(self, maps: Sequence[Tensor]) -> list[Memory]:
        """Keys and values of the decoder layers' cross-attention, from maps [B, C, h, w]."""
        return self.multi_scale([
            self._memory(index, maps[level]) for index, level in enumerate(self.levels)])

    def _memory(self, index: int, x: Tensor) -> Memory:
        height, width = x.shape[-2:]
        value = self.decoder_input_projs[index](x).flatten(2).transpose(1, 2)
        value = value + self.level_embed.weight[index]
        position = sine_encoding(
            (height, width), value.shape[-1], value.device, value.dtype)
        return Memory(value + position, value, ((height, width), ))
