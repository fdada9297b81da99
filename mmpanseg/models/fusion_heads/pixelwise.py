"""Pixel-wise fusion: an arg-max over weighted masks at every pixel."""
from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.base import FusionHead, take_former_names
from mmpanseg.models.fusion_heads.pixel_assignment import assign_by_argmax
from mmpanseg.models.fusion_heads.segments import paint
from mmpanseg.models.inference.full_size_masks import OutputMasks
from mmpanseg.registry import MODELS
from mmpanseg.structures.result_coding import segment_value
from mmpanseg.utils.device import bincount, chunk_rows, to_host

_RENAMED = dict(score_thr='object_mask_thr', overlap_thr='iou_thr')


@MODELS.register_module()
class PixelwiseFusionHead(FusionHead):
    """Panoptic inference of MaskFormer (section 3.4) as published with Mask2Former.

    Options that mmdet's MaskFormerFusionHead also has have its names and meaning. The arg-max is
    computed over a few masks at a time and only over queries above the score threshold, so memory
    does not grow with the number of queries.

    Args:
        num_things_classes: number of thing classes; the segmentor sets it.
        num_stuff_classes: number of stuff classes; the segmentor sets it.
        object_mask_thr: class score that a query must exceed.
        iou_thr: least ratio of the pixels that a query wins to the pixels of its own mask (at
            least 0.5); below, its pixels become void.
        weighted: multiply masks by class scores in the arg-max.
        filter_low_score: assign only pixels where the winner's own mask is at least 0.5, others
            become void. False also accepts queries whose own mask is nowhere 0.5, unlike mmdet, as
            in the arg-max that Panoptic SegFormer compares with (Table B.2).
        **options: options of :class:`FusionHead`.

    Raises:
        TypeError: an option is unknown; the text has the known ones.
    """

    threshold = 'object_mask_thr'

    def __init__(self, num_things_classes: int, num_stuff_classes: int,
                 object_mask_thr: float = 0.8, iou_thr: float = 0.8, weighted: bool = True,
                 filter_low_score: bool = True, **options) -> None:
        former = take_former_names(options, _RENAMED)
        super().__init__(num_things_classes, num_stuff_classes, **options)
        self.object_mask_thr = former.get('object_mask_thr', object_mask_thr)
        self.iou_thr = former.get('iou_thr', iou_thr)
        self.weighted = weighted
        self.filter_low_score = filter_low_score

    def panoptic(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> PixelData:
        is_object, confident = labels != self.num_classes, scores > self.object_mask_thr
        self.log.check('no_object', is_object)
        self.log.check('score', confident, scores, self.object_mask_thr, 'object_mask_thr')
        kept = (is_object & confident).nonzero()[:, 0]
        weights = scores[kept] if self.weighted else torch.ones_like(scores[kept])
        winner, inside, own_area = assign_by_argmax(weights, kept, masks)
        if not self.filter_low_score:
            inside.fill_(len(kept) > 0)
            own_area = own_area.clamp(min=1)
        won_outside, painted = count_winners(winner, inside, len(kept))
        # one copy for all of them
        table = to_host(won_outside + painted, own_area, painted, labels[kept], kept, scores[kept])
        values, segments = self.accept(*(column.tolist() for column in table))
        winner.masked_fill_(~inside, len(kept))
        return paint(winner, [*values, self.num_classes], segments)

    def accept(self, won_areas: Sequence[int], own_areas: Sequence[int],
               painted_areas: Sequence[int], labels: Sequence[int], queries: Sequence[int],
               scores: Sequence[float]) -> tuple[list[int], list[dict]]:
        """Decide query by query, in order, which ones become segments.

        Args:
            won_areas: pixels that each query won.
            own_areas: pixels where its own mask is at least 0.5.
            painted_areas: pixels for which both hold.
            labels: class of each query.
            queries: number of each query.
            scores: class score of each query.

        Returns:
            the map value of each query (K = void), and ``segments_info``.
        """
        values: list[int] = []
        segments: list[dict] = []
        stuff, instances = set(), 0
        for won, own, painted, label, query, score in zip(
                won_areas, own_areas, painted_areas, labels, queries, scores):
            if not self.has_segment(query, won, own, painted):
                values.append(self.num_classes)
                continue
            is_thing = label < self.num_things_classes
            instances += is_thing
            values.append(segment_value(label, is_thing * instances))
            self.log.keep(query, values[-1])
            if is_thing or label not in stuff:
                segments.append(dict(
                    id=values[-1], label=label, isthing=is_thing, score=score, query=query))
                stuff.add(label)
        return values, segments

    def has_segment(self, query: int, won: int, own: int, painted: int) -> bool:
        """Decide whether a query becomes a segment; arguments as in :meth:`accept`."""
        if not own:
            self.log.drop('empty', query)
        elif won / own < self.iou_thr:
            self.log.drop('overlap', query, won / own, self.iou_thr, 'iou_thr')
        elif not painted:
            self.log.drop('no_pixels', query)
        else:
            return True
        return False


def count_winners(winner: Tensor, inside: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Count the pixels that each query won.

    Args:
        winner: integers [H, W] in 0 .. count - 1.
        inside: bool [H, W], whether the winner's own mask is at least 0.5.
        count: number of queries.

    Returns:
        int64 [count] of pixels outside the own mask, and of pixels inside.
    """
    counts = torch.zeros(2 * count, dtype=torch.long, device=winner.device)
    if count:
        step = chunk_rows(winner.device, winner.shape[1])
        for part, within in zip(winner.split(step), inside.split(step)):
            counts += bincount(part.long() * 2 + within, 2 * count)
    return counts[0::2], counts[1::2]
