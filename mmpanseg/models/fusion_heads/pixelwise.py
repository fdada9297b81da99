"""Pixel-wise fusion: every pixel goes to the query with the largest weighted mask there."""
from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.base import FusionHead
from mmpanseg.models.fusion_heads.segments import paint
from mmpanseg.models.inference.augmented_views import OutputMasks
from mmpanseg.registry import MODELS
from mmpanseg.structures.result_coding import segment_value
from mmpanseg.utils.device import bincount, chunk_rows, to_host

# Elements of the masks compared at once. Pixels of a mask are counted in single precision.
_STRIP_ON_CPU, _STRIP_ELSEWHERE = 1 << 18, 1 << 24


@MODELS.register_module()
class PixelwiseFusionHead(FusionHead):
    """Panoptic inference of MaskFormer (section 3.4) as published with Mask2Former.

    Only queries above the score threshold ever get pixels, and one arg-max over them, some at a
    time, needs a handful of planes however many queries there are.

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
        # won, own and painted pixels per query: read together
        outside, painted = count_winners(winner, inside, len(kept))
        table = to_host(outside + painted, own, painted, labels[kept], kept, scores[kept])
        values, segments = self.accept(*(column.tolist() for column in table))
        winner.masked_fill_(~inside, len(kept))
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
            values.append(segment_value(label, is_thing * instances))
            if is_thing or label not in stuff:
                segments.append(dict(
                    id=values[-1], label=label, isthing=is_thing, score=score, query=query))
                stuff.add(label)
        return values, segments


def compete(scores: Tensor, queries: Tensor,
            masks: OutputMasks) -> tuple[Tensor, Tensor, Tensor]:
    """Arg-max of score x mask over queries, a few masks and rows at a time.

    Args:
        scores: [k], weights of the queries.
        queries: int64 [k].
        masks: their masks.

    Returns:
        winner int32 [H, W], position of the winning query (the first one on ties); inside
        bool [H, W], whether the winner's own mask is at least 0.5 there; own int64 [k], pixels of
        each mask.
    """
    count = len(queries)
    best = scores.new_full(masks.size, -1.0)
    winner = torch.zeros(masks.size, dtype=torch.int32, device=scores.device)
    inside = torch.zeros(masks.size, dtype=torch.bool, device=scores.device)
    own = torch.zeros(count, dtype=torch.long, device=scores.device)
    if not count:
        return winner, inside, own
    # earlier queries have larger codes; the last bit is for "inside"
    codes = 2 * torch.arange(count, 0, -1, device=scores.device).to(scores.dtype)
    start = 0
    for logits in masks.chunks(queries):
        part = slice(start, start + len(logits))
        step = strip_rows(logits)
        for strip, *planes in zip(logits.split(step, dim=1), *(
                plane.split(step) for plane in (best, winner, inside))):
            top, code, pixels = _best_of(
                masks.activation.probs(strip), scores[part], codes[part])
            own[part] += pixels
            _update(planes, top, code.int(), count)
        start += len(logits)
    return winner, inside, own


def _best_of(masks: Tensor, scores: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Largest weighted mask [h, W], its code plus 1 where it is inside, and pixels inside [m].

    Codes are numbers of the masks' own type [m], because comparisons that give such numbers are
    several times as fast on a CPU as those that give truth values, and as selecting by these.
    """
    weighted = masks * scores[:, None, None]
    inside = masks.ge_(0.5)
    pixels = inside.sum((1, 2)).long()
    top = weighted.amax(0)
    return top, weighted.eq_(top).mul_(inside.add_(codes[:, None, None])).amax(0), pixels


def _update(planes: Sequence[Tensor], top: Tensor, code: Tensor, count: int) -> None:
    """Let the best of some masks replace what is in the planes (best, winner, inside)."""
    best, winner, inside = planes
    better = top > best
    torch.where(better, top, best, out=best)
    torch.where(better, count - (code >> 1), winner, out=winner)
    torch.where(better, (code & 1).bool(), inside, out=inside)


def strip_rows(logits: Tensor) -> int:
    """Rows of masks [m, H, W] to compare at once: on a CPU they stay in the cores' caches."""
    limit = _STRIP_ON_CPU if logits.device.type == 'cpu' else _STRIP_ELSEWHERE
    return max(1, limit // max(1, logits.shape[0] * logits.shape[2]))


def count_winners(winner: Tensor, inside: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pixels that each of ``count`` queries won outside its own mask, and inside; int64 [count]."""
    counts = torch.zeros(2 * count, dtype=torch.long, device=winner.device)
    if count:
        step = chunk_rows(winner.device, winner.shape[1])
        for part, within in zip(winner.split(step), inside.split(step)):
            counts += bincount(part.long() * 2 + within, 2 * count)
    return counts[0::2], counts[1::2]
