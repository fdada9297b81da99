"""Pixel-wise fusion: every pixel goes to the query with the largest weighted mask there."""
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.fusion_head import FusionHead
from mmpanseg.models.fusion_heads.segments import paint
from mmpanseg.models.fusion_heads.views import OutputMasks
from mmpanseg.registry import MODELS
from mmpanseg.structures.chunks import chunk_rows


@MODELS.register_module()
class PixelwiseFusionHead(FusionHead):
    """Panoptic inference of MaskFormer (section 3.4) as published with Mask2Former.

    Only queries above the score threshold ever get pixels, and one running arg-max over them
    needs a handful of planes however many queries there are.

    Args:
        num_things_classes, num_stuff_classes: set once, at the segmentor.
        score_thr: a query must be more confident than this (t_score).
        overlap_thr: share of its own mask that a query must win to be kept (t_overlap).
        weighted: masks compete weighted with their scores; without, by themselves.
        fill: a query gets all pixels that it wins, also those where its own mask is below 0.5, as
            in the arg-max that Panoptic SegFormer compares with (Table B.2).
        options: of :class:`FusionHead`.
    """

    def __init__(self, num_things_classes: int, num_stuff_classes: int, score_thr: float = 0.8,
                 overlap_thr: float = 0.8, weighted: bool = True, fill: bool = False,
                 **options) -> None:
        super().__init__(num_things_classes, num_stuff_classes, **options)
        self.score_thr = score_thr
        self.overlap_thr = overlap_thr
        self.weighted = weighted
        self.fill = fill

    def panoptic(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> PixelData:
        kept = ((labels != self.num_classes) & (scores > self.score_thr)).nonzero()[:, 0]
        weights = scores[kept] if self.weighted else torch.ones_like(scores[kept])
        winner, inside, own = compete(weights, kept, masks)
        if self.fill:
            inside.fill_(len(kept) > 0)
            own = own.clamp(min=1)
        # won, own and painted pixels per query: the one host copy of an image
        outside, painted = count_winners(winner, inside, len(kept))
        table = torch.stack([outside + painted, own, painted, labels[kept], kept])
        values, segments = self.accept(*table.tolist(), scores[kept].tolist())
        winner[~inside] = len(kept)
        return paint(winner, [*values, self.num_classes], segments)

    def accept(self, won: list, own: list, painted: list, labels: list, queries: list,
               scores: list) -> tuple[list[int], list[dict]]:
        """Decide query by query, in order, what becomes a segment.

        Args:
            won: pixels each query won.
            own: pixels where its own mask is at least 0.5.
            painted: pixels for which both hold.
            labels, queries, scores: its class, number and confidence.

        Returns:
            the map value of each query (K = void), and the segments' info dicts.
        """
        values, segments, stuff, instances = [], [], set(), 0
        for w, o, p, label, query, score in zip(won, own, painted, labels, queries, scores):
            if not (w and o and p) or w / o < self.overlap_thr:
                values.append(self.num_classes)
                continue
            is_thing = label < self.num_things_classes
            instances += is_thing
            values.append(label + is_thing * instances * INSTANCE_OFFSET)
            if is_thing or label not in stuff:
                segments.append(dict(
                    id=values[-1], label=label, isthing=is_thing, score=score, query=query))
                stuff.add(label)
        return values, segments


def compete(scores: Tensor, queries: Tensor,
            masks: OutputMasks) -> tuple[Tensor, Tensor, Tensor]:
    """Running arg-max of score x mask over queries, keeping a few planes only.

    Args:
        scores: [k], weights of the queries.
        queries: int64 [k].
        masks: their masks.

    Returns:
        winner int32 [H, W], position of the winning query (the first one on ties); inside
        bool [H, W], whether the winner's own mask is at least 0.5 there; own int64 [k], pixels of
        each mask.
    """
    best = scores.new_full(masks.size, -1.0)
    winner = torch.zeros(masks.size, dtype=torch.int32, device=scores.device)
    inside = torch.zeros(masks.size, dtype=torch.bool, device=scores.device)
    own = []
    position = 0
    for logits in masks.chunks(queries):
        for plane in logits:
            mask = masks.activation.probs(plane)
            half = mask >= 0.5
            own.append(half.sum())
            weighted = mask.mul_(scores[position])
            better = weighted > best
            torch.where(better, weighted, best, out=best)
            winner.masked_fill_(better, position)
            torch.where(better, half, inside, out=inside)
            position += 1
    own = torch.stack(own) if own else queries
    return winner, inside, own


def count_winners(winner: Tensor, inside: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pixels that each of ``count`` queries won outside its own mask, and inside; int64 [count]."""
    counts = torch.zeros(2 * count, dtype=torch.long, device=winner.device)
    if count:
        step = chunk_rows(winner.device, winner.shape[1])
        for part, within in zip(winner.split(step), inside.split(step)):
            counts += torch.bincount((part.long() * 2 + within).flatten(), minlength=2 * count)
    return counts[0::2], counts[1::2]
