"""MP-Former's head: Mask2Former's, trained with extra queries that ground truth pilots.

Shapes: B images, P mask-piloted slots, Q learnable queries, C channels, K classes, L predictions.
Slots come first in every sequence of queries, learnable queries last.
"""
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from mmdet.structures import SampleList
from torch import Tensor, nn

from mmpanseg.models.heads.base import batch_segments
from mmpanseg.models.heads.mask2former import Mask2FormerHead
from mmpanseg.models.transformer_decoders.mask_piloting import PilotedRegions, Piloting, Pilots
from mmpanseg.models.transformer_decoders.masked_attention_decoder import DecodedQueries
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits


class PilotedPredictions(NamedTuple):
    """Class logits [L, B, queries, K + 1] and mask logits of both parts."""
    matching: tuple[Tensor, MaskLogits]
    piloted: tuple[Tensor, MaskLogits]


@MODELS.register_module()
class MPFormerHead(Mask2FormerHead):
    """Mask2Former's head with mask-piloted training (MP-Former section 4).

    What is different, in training only: every segment of the ground truth is also fed as a query,
    the embedding of its (sometimes wrong) label, which looks inside its (noised) mask instead of
    the mask it predicts, and is trained to give label and mask back. Self-attention hides these
    queries from the learnable ones. Inference is Mask2Former's; ``label_embed`` is the only
    parameter that Mask2Former does not have.

    Args:
        piloting: settings of :class:`Piloting`; the defaults are the paper's.
        kwargs: those of :class:`Mask2FormerHead`. ``query_pos='none'`` is the released
            code's; the paper calls the model identical to Mask2Former, whose codes are learned.
            The slots never have a position code.
    """

    def __init__(self, *args, piloting: dict = dict(), **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.label_embed = nn.Embedding(self.num_classes, self.level_embed.embedding_dim)
        self.piloting = Piloting(self.num_classes, **piloting)

    def loss(self, features: Sequence[Tensor],
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses by name: Mask2Former's, and those of the mask-piloted part with ``_mp``.

        A batch without ground truth goes the same way with no slots: its ``_mp`` losses are zero,
        the label table has a gradient of zeros, and the processes meet as often as ever.
        """
        segments = batch_segments(batch_data_samples)
        pilots = self.piloting(segments)
        matching, piloted = self.forward_piloted(*self.decode_pixels(features), pilots)
        # counted once for both parts
        num_masks = self.criterion.num_masks(segments)
        losses = self.criterion(*matching, segments, num_masks)
        losses_mp = self.criterion(
            *piloted, segments, num_masks * pilots.num_groups,
            partial(pilots.match, self.criterion))
        return {**losses, **{f'{name}_mp': loss for name, loss in losses_mp.items()}}

    def forward_piloted(self, mask_features: Tensor, maps: Sequence[Tensor],
                        pilots: Pilots) -> PilotedPredictions:
        """Supervised predictions of both parts; maps as :meth:`decode_pixels` gives them."""
        decoded = self.decode_piloted(mask_features, maps, pilots)
        slots, learnable = zip(*(
            prediction.split(pilots.num_slots)
            for prediction in decoded[self.query_feat.first_supervised:]))
        return PilotedPredictions(self.classify(learnable, mask_features),
                                  self.classify(slots, mask_features))

    def decode_piloted(self, mask_features: Tensor, maps: Sequence[Tensor],
                       pilots: Pilots) -> list[DecodedQueries]:
        """Queries of all predictions, P + Q in each."""
        memories = self.memories(maps)
        regions = PilotedRegions(pilots, mask_features, [memory.sizes for memory in memories])
        slots = pilots.queries(self.label_embed)
        content, position = (
            table.weight.expand(len(slots), -1, -1)
            for table in (self.query_feat, self.query_embed))
        return self.transformer_decoder(
            torch.cat([slots, content], dim=1),
            torch.cat([torch.zeros_like(slots), position], dim=1),
            memories, regions, self.mask_embed, pilots.self_mask(content.shape[1]))
