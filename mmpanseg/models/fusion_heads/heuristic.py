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
        is_object = labels != self.num_classes
        confident = torch.where(is_thing, scores >= self.score_thr, scores > 0)
        self.log.check('no_object', is_object)
        self.log.check('score', confident | ~is_thing, scores, self.score_thr, 'score_thr')
        self.log.check('score', confident, scores, 0)
        things = (is_thing & confident).nonzero()[:, 0]
        things = things[scores[things].argsort(descending=True, stable=True)]
        found = assign_in_order(
            masks, things, torch.full_like(scores[things], 1 - self.mask_overlap))
        values, segments = segment_table(
            things, labels[things], scores[things], found.areas, self.num_things_classes)
        self.log.assigned(things, found, self.mask_overlap, 'mask_overlap', covered=True)
        self.log.painted(things, found.areas, values)

        stuff = (~is_thing & is_object & confident).nonzero()[:, 0]
        wins = self.paint_stuff(found.owner, len(things), stuff, scores[stuff], labels[stuff],
                                masks)
        stuff_values, stuff_segments = self.accept_stuff(
            stuff, scores[stuff], labels[stuff], wins)
        return paint(found.owner, [self.num_classes, *values, *stuff_values],
                     segments + stuff_segments)

    def paint_stuff(self, owner: Tensor, offset: int, queries: Tensor, scores: Tensor,
                    labels: Tensor, masks: OutputMasks) -> Tensor:
        """Assign the pixels that no thing has to stuff.

        Args:
            owner: int32 [H, W], 0 for free pixels; they become ``offset + 1 + c`` for the c-th
                stuff class.
            offset: number of things.
            queries: int64 [n], numbers of the stuff queries.
            scores: [n], their class scores.
            labels: int64 [n], their classes.
            masks: masks of all queries.

        Returns:
            int64 [n], pixels of each query.
        """
        wins = queries.new_zeros(len(queries) + 1)
        if len(queries):
            winner = assign_by_argmax(scores, queries, masks)[0]
            classes = labels - self.num_things_classes + offset + 1
            step = chunk_rows(owner.device, owner.shape[1])
            for rows, best in zip(owner.split(step), winner.split(step)):
                free, best = rows == 0, best.long()
                rows.copy_(torch.where(free, classes[best], rows))
                wins += bincount((best + 1) * free, len(wins))
        return wins[1:]

    def accept_stuff(self, queries: Tensor, scores: Tensor, labels: Tensor,
                     wins: Tensor) -> tuple[list[int], list[dict]]:
        """Decide which stuff classes become segments.

        Args:
            queries: int64 [n], numbers of the stuff queries.
            scores: [n], their class scores; the best query of a class is the segment's.
            labels: int64 [n], their classes.
            wins: int64 [n], pixels of each.

        Returns:
            the map value of each stuff class (K = void if it is too small), and
            ``segments_info``.
        """
        classes = range(self.num_things_classes, self.num_classes)
        areas = dict.fromkeys(classes, 0)
        best: dict[int, tuple[float, int]] = {}
        # one copy for all of them
        table = [*zip(*(column.tolist() for column in to_host(queries, labels, scores, wins)))]
        for query, label, score, won in table:
            areas[label] += won
            best[label] = max(best.get(label, (0.0, -1)), (score, -query))
        accepted = {label for label, area in areas.items()
                    if area > 0 and area >= self.stuff_area_limit}
        for query, label, _, won in table:
            if not won:
                self.log.drop('no_pixels', query)
            elif label in accepted:
                self.log.keep(query, label)
            else:
                self.log.drop(
                    'area', query, areas[label], self.stuff_area_limit, 'stuff_area_limit')
        segments = [dict(id=label, label=label, isthing=False, score=best[label][0],
                         query=-best[label][1]) for label in classes if label in accepted]
        return [label if label in accepted else self.num_classes for label in classes], segments
