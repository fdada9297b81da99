"""Heuristic fusion: things with little overlap first, then stuff in the remaining pixels.

Shapes: H, W result.
"""
import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.base import FusionHead, take_former_names
from mmpanseg.models.fusion_heads.pixel_assignment import assign_by_argmax, assign_in_order
from mmpanseg.models.fusion_heads.segments import paint, segment_table
from mmpanseg.models.inference.full_size_masks import OutputMasks
from mmpanseg.registry import MODELS
from mmpanseg.utils.device import bincount, chunk_rows, to_host


@MODELS.register_module()
class HeuristicFusionHead(FusionHead):
    """Procedure of Kirillov et al. ("Panoptic Segmentation") that combines things and stuff.

    In decreasing order of class score, each thing of at least ``score_thr`` gets its pixels that
    are still free; a thing is skipped if earlier ones cover more than ``mask_overlap`` of it. The
    remaining pixels go to the stuff class with the largest score x mask, however small that is;
    stuff with less than ``stuff_area_limit`` pixels becomes void. So things always have precedence
    over stuff. Options that mmdet's HeuristicFusionHead also has have its names and meaning.

    Args:
        num_things_classes: number of thing classes; the segmentor sets it.
        num_stuff_classes: number of stuff classes; the segmentor sets it.
        score_thr: least class score of a thing.
        mask_overlap: largest share of a thing that earlier ones may cover.
        stuff_area_limit: least area of stuff, in pixels of the result.
        **options: options of :class:`FusionHead`.

    Raises:
        TypeError: an option is unknown; the text has the known ones.
    """

    def __init__(self, num_things_classes: int, num_stuff_classes: int, score_thr: float = 0.5,
                 mask_overlap: float = 0.5, stuff_area_limit: int = 64 * 64, **options) -> None:
        former = take_former_names(options, dict(overlap_thr='mask_overlap'))
        super().__init__(num_things_classes, num_stuff_classes, **options)
        self.score_thr = score_thr
        self.mask_overlap = former.get('mask_overlap', mask_overlap)
        self.stuff_area_limit = stuff_area_limit

    def panoptic(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> PixelData:
        is_thing = labels < self.num_things_classes
        things = (is_thing & (scores >= self.score_thr)).nonzero()[:, 0]
        things = things[scores[things].argsort(descending=True, stable=True)]
        owner, areas = assign_in_order(
            masks, things, torch.full_like(scores[things], 1 - self.mask_overlap))
        values, segments = segment_table(
            things, labels[things], scores[things], areas, self.num_things_classes)

        stuff = (~is_thing & (labels != self.num_classes) & (scores > 0)).nonzero()[:, 0]
        if len(stuff):
            # owners are numbered on after the things, by stuff class
            winner = assign_by_argmax(scores[stuff], stuff, masks)[0]
            classes = labels[stuff] - self.num_things_classes + len(things) + 1
            for rows, wins in zip(*(plane.split(chunk_rows(owner.device, owner.shape[1]))
                                    for plane in (owner, winner))):
                rows.copy_(torch.where(rows == 0, classes[wins.long()], rows))
        stuff_values, stuff_segments = self.accept_stuff(
            owner, len(things), stuff, scores[stuff], labels[stuff])
        return paint(owner, [self.num_classes, *values, *stuff_values],
                     segments + stuff_segments)

    def accept_stuff(self, owner: Tensor, offset: int, queries: Tensor, scores: Tensor,
                     labels: Tensor) -> tuple[list[int], list[dict]]:
        """Decide which stuff classes become segments.

        Args:
            owner: int [H, W], ``offset + 1 + c`` for pixels of the c-th stuff class.
            offset: number of things.
            queries: int64 [n], numbers of the stuff queries.
            scores: [n], their class scores; the best query of a class is the segment's.
            labels: int64 [n], their classes.

        Returns:
            the map value of each stuff class (K = void if it is too small), and
            ``segments_info``.
        """
        num_stuff = self.num_classes - self.num_things_classes
        pixels = torch.zeros(offset + 1 + num_stuff, dtype=torch.long, device=owner.device)
        for rows in owner.split(chunk_rows(owner.device, owner.shape[1])):
            pixels += bincount(rows.long(), len(pixels))
        best: dict[int, tuple[float, int]] = {}
        # one copy for all of them
        areas, *table = (column.tolist() for column in to_host(
            pixels[offset + 1:], queries, labels, scores))
        for query, label, score in zip(*table):
            best[label] = max(best.get(label, (0.0, -1)), (score, -query))
        values, segments = [], []
        for label, area in enumerate(areas, self.num_things_classes):
            accepted = area > 0 and area >= self.stuff_area_limit
            values.append(label if accepted else self.num_classes)
            if accepted:
                score, query = best[label]
                segments.append(dict(
                    id=label, label=label, isthing=False, score=score, query=-query))
        return values, segments
