"""Mask-wise merging: whole masks take free pixels, the most confident first.

Shapes: Q queries, H, W result.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.base import FusionHead
from mmpanseg.models.fusion_heads.instances import mean_inside, predict_instances
from mmpanseg.models.fusion_heads.segments import paint, segment_table
from mmpanseg.models.inference.augmented_views import OutputMasks
from mmpanseg.models.inference.test_cfg import Outputs
from mmpanseg.registry import MODELS

ThingsStuff = float | Sequence[float]


@MODELS.register_module()
class MaskWiseFusionHead(FusionHead):
    """Mask-wise merging of Panoptic SegFormer (section 3.6 and Algorithm 1 of its first version).

    A query's confidence is ``p ** alpha * s ** beta`` with its class score p and the mean s of its
    mask where that is above 0.5. In the order of confidence each mask above 0.5 takes the pixels
    that are still free; it is left out if its confidence is below ``t_cnf`` or if the free pixels
    are less than ``t_keep`` of it. Pixels that nobody takes are void.

    Algorithm 1 of the first version is ``alpha=1, beta=0, t_cnf=0.3, t_keep=0``. The released code
    of the second one is ``t_keep=(0.6, 0.8), extra_pixels=1, resize_once=True``, with
    ``t_cnf=0.3`` for PVTv2 and Swin.

    Masks have pixels a chunk at a time, however many queries there are.

    Args:
        num_things_classes, num_stuff_classes: set once, at the segmentor.
        alpha, beta: see above (Table B.3).
        t_cnf: least confidence, one number or one for things and one for stuff (Table B.4).
        t_keep: least share of a mask that must be free, the same way (Table B.4).
        extra_pixels: added to the count of pixels that s is divided by; 1 in the released code.
        options: of :class:`FusionHead`.

    Raises:
        ValueError: for thresholds that are no number or pair of numbers.
    """

    def __init__(self, num_things_classes: int, num_stuff_classes: int, alpha: float = 1,
                 beta: float = 2, t_cnf: ThingsStuff = 0.25, t_keep: ThingsStuff = 0.6,
                 extra_pixels: float = 0, **options) -> None:
        super().__init__(num_things_classes, num_stuff_classes, **options)
        self.alpha = alpha
        self.beta = beta
        self.t_cnf = things_stuff('t_cnf', t_cnf)
        self.t_keep = things_stuff('t_keep', t_keep)
        self.extra_pixels = extra_pixels

    def instances(self, probs: Tensor, masks: OutputMasks, outputs: Outputs) -> InstanceData:
        """Instances of one image, scored by their confidence; they may overlap."""
        return predict_instances(
            probs, masks, self.num_things_classes, outputs.max_per_image, outputs.mask_format,
            self.rank_things_only, self.extra_pixels, self.confidence)

    def confidence(self, scores: Tensor, means: Tensor) -> Tensor:
        """Of queries with class scores [n] and mean masks [n]; 0 for an empty mask."""
        return scores ** self.alpha * means ** self.beta * (means > 0)

    def panoptic(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> PixelData:
        candidates = self.candidates(scores, labels, masks)
        means = [mean_inside(masks, logits, self.extra_pixels)[1]
                 for logits in masks.chunks(candidates)] if len(candidates) else []
        confidence = self.confidence(scores[candidates], torch.cat([scores[:0], *means]))
        confident = (confidence >= self.of_kind(self.t_cnf, labels[candidates])).nonzero()[:, 0]
        confidence, order = confidence[confident].sort(descending=True, stable=True)
        queries = candidates[confident[order]]
        labels = labels[queries]

        merging = merge(masks, queries, self.of_kind(self.t_keep, labels))
        values, segments = segment_table(
            queries, labels, confidence, merging.taken, self.num_things_classes)
        return paint(merging.owner, [self.num_classes, *values], segments)

    def candidates(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> Tensor:
        """Queries, int64 [n], that may be confident enough: a mean is never above the peak."""
        queries = (labels != self.num_classes).nonzero()[:, 0]
        # room for the rounding of resized masks
        peaks = masks.peaks(queries) * 1.001
        bound = self.confidence(scores[queries], peaks)
        return queries[bound >= self.of_kind(self.t_cnf, labels[queries])]

    def of_kind(self, pair: tuple[float, float], labels: Tensor) -> Tensor:
        """The first number for things, the second for stuff."""
        return torch.where(labels < self.num_things_classes, *pair)


def things_stuff(name: str, value: ThingsStuff) -> tuple[float, float]:
    """One number for both kinds, or (things, stuff), as a pair."""
    pair = (value, value) if isinstance(value, (int, float)) else tuple(value)
    if len(pair) != 2 or not all(isinstance(number, (int, float)) for number in pair):
        raise ValueError(f'panoptic_fusion_head.{name}={value!r} must be one number, or two: '
                         'one for things and one for stuff')
    return pair


class Merging(NamedTuple):
    """Who got which pixels: ``owner`` int32 [H, W], 0 = free, k + 1 = the k-th mask;
    ``taken`` int64 [n], pixels of each.
    """
    owner: Tensor
    taken: Tensor


def merge(masks: OutputMasks, queries: Tensor, min_free: Tensor,
          strictly: bool = False) -> Merging:
    """Let masks take free pixels, one after the other.

    Args:
        masks: of all queries; above 0.5 is inside.
        queries: int64 [n], in order.
        min_free: [n], share of each mask that must be free for it to take any.
        strictly: more than that share must be.
    """
    enough = torch.gt if strictly else torch.ge
    owner = torch.zeros(masks.size, dtype=torch.int32, device=queries.device)
    taken, number = [], 0
    for logits in masks.chunks(queries) if len(queries) else ():
        for mask in logits > masks.activation.half:
            area = mask.sum()
            free = mask.logical_and_(owner == 0)
            count = free.sum()
            # no mask waits for the host: a refused one takes nothing
            accepted = enough(count, min_free[number] * area)
            number += 1
            owner.masked_fill_(free.logical_and_(accepted), number)
            taken.append(count * accepted)
    return Merging(owner, torch.stack(taken) if taken else queries)
