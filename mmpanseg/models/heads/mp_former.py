"""MP-Former's head: Mask2Former's, trained with additional mask-piloted queries.

Shapes: B images, P mask-piloted queries, Q learnable queries, C channels, K classes, L predictions.
In every sequence of queries the mask-piloted queries precede the learnable queries.
"""
from collections.abc import Sequence
from functools import partial

import torch
from mmdet.structures import SampleList
from torch import Tensor, nn

from mmpanseg.models.heads.base import LayerPredictions
from mmpanseg.models.heads.mask2former import Mask2FormerHead
from mmpanseg.models.transformer_decoders.mask_piloting import (
    PilotedAttentionMasks,
    PilotedQueries,
    Piloting,
)
from mmpanseg.models.transformer_decoders.masked_attention_decoder import DecodedQueries
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.structures.segment_map import SegmentBatch


@MODELS.register_module()
class MPFormerHead(Mask2FormerHead):
    """Mask2Former's head with mask-piloted training (MP-Former section 4).

    In training every ground truth segment adds a mask-piloted query: the embedding of its label,
    which is replaced by another label with some probability. In cross-attention this query attends
    inside the ground truth mask, with noise, instead of the mask predicted before. It is trained to
    reconstruct label and mask. Learnable queries do not attend to mask-piloted queries in
    self-attention. Inference equals Mask2Former's; ``label_embed`` is the only additional
    parameter.

    Args:
        args: positional arguments of :class:`Mask2FormerHead`.
        piloting: options of :class:`Piloting`; the defaults are those of the paper.
        kwargs: keyword arguments of :class:`Mask2FormerHead`. The released code corresponds to
            ``query_pos='none'``; the paper describes the model as identical to Mask2Former, whose
            position embeddings are learned. Mask-piloted queries have no position embedding.
    """

    query_parts = ('matching', 'piloted')

    def __init__(self, *args, piloting: dict = dict(), **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.label_embed = nn.Embedding(self.num_classes, self.level_embed.embedding_dim)
        self.piloting = Piloting(self.num_classes, **piloting)

    def loss(self, features: Sequence[Tensor],
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Compute Mask2Former's losses, and those of the mask-piloted queries, named ``*_mp``.

        A batch without ground truth runs the same operations with P = 0: its ``*_mp`` losses are
        zero, the gradient of ``label_embed`` is zero, and collective calls are as frequent as on
        the other ranks.
        """
        segments = self.batch_segments(batch_data_samples)
        pilots = self.piloting(segments)
        matching, piloted = self.forward_piloted(*self.decode_pixels(features), pilots)
        # one collective call for both parts
        num_masks = self.criterion.num_masks(segments)
        losses = self.criterion(*matching, segments, num_masks)
        losses_mp = self.criterion(
            *piloted, segments, num_masks * pilots.num_groups,
            partial(pilots.match, self.criterion))
        return {**losses, **{f'{name}_mp': loss for name, loss in losses_mp.items()}}

    def layer_predictions(self, features: Sequence[Tensor], segments: SegmentBatch,
                          part: str = 'matching') -> LayerPredictions:
        if part != 'piloted':
            return super().layer_predictions(features, segments, part)
        mask_features, maps = self.decode_pixels(features)
        pilots = self.piloting.clean()(segments)
        decoded = [prediction.split(pilots.num_piloted)[0]
                   for prediction in self.decode_piloted(mask_features, maps, pilots)]
        return LayerPredictions(*self.classify(decoded, mask_features), pilots.counts)

    def forward_piloted(
            self, mask_features: Tensor, maps: Sequence[Tensor], pilots: PilotedQueries
    ) -> tuple[tuple[Tensor, MaskLogits], tuple[Tensor, MaskLogits]]:
        """Compute the supervised predictions of learnable and mask-piloted queries.

        Args:
            mask_features: [B, C', h, w], see :meth:`decode_pixels`.
            maps: [B, C, h, w] each, see :meth:`decode_pixels`.
            pilots: mask-piloted queries of the batch.

        Returns:
            for the Q learnable queries and for the P mask-piloted queries, class logits
            [L, B, queries, K + 1] and mask logits.
        """
        decoded = self.decode_piloted(mask_features, maps, pilots)
        piloted, learnable = zip(*(
            prediction.split(pilots.num_piloted)
            for prediction in decoded[self.query_feat.first_supervised:]))
        return self.classify(learnable, mask_features), self.classify(piloted, mask_features)

    def decode_piloted(self, mask_features: Tensor, maps: Sequence[Tensor],
                       pilots: PilotedQueries) -> list[DecodedQueries]:
        """Compute the P + Q queries of all predictions; see :meth:`forward_piloted`."""
        memories = self.memories(maps)
        attn_masks = PilotedAttentionMasks(
            pilots, mask_features, [memory.sizes for memory in memories])
        piloted = pilots.queries(self.label_embed)
        content, position = (
            table.weight.expand(len(piloted), -1, -1)
            for table in (self.query_feat, self.query_embed))
        return self.transformer_decoder(
            torch.cat([piloted, content], dim=1),
            torch.cat([torch.zeros_like(piloted), position], dim=1),
            memories, attn_masks, self.mask_embed, pilots.self_attn_mask(content.shape[1]))
