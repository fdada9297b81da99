"""Heuristic fusion: things that hardly overlap, then stuff where they left room."""
import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.base import FusionHead
from mmpanseg.models.fusion_heads.mask_wise import merge
from mmpanseg.models.fusion_heads.pixelwise import compete
from mmpanseg.models.fusion_heads.segments import paint, segment_table
from mmpanseg.models.inference.augmented_views import OutputMasks
from mmpanseg.registry import MODELS
from mmpanseg.utils.device import bincount, chunk_rows, to_host


@MODELS.register_module()
class HeuristicFusionHead(FusionHead):
    """The procedure that Kirillov et al. made panoptic maps with ("Panoptic Segmentation").

    Things above ``score_thr`` take pixels in the order of their class scores, each those that no
    thing before it has; a thing of which too much is taken is left out. What is free then goes to
    the stuff class with the largest score x mask, however small that is; stuff of less than
    ``stuff_area_limit`` pixels becomes void. So a thing always wins over stuff.

    Args:
        num_things_classes, num_stuff_classes: set once, at the segmentor.
        score_thr: a thing must be at least this confident.
        overlap_thr: largest share of a thing that earlier ones may have taken.
        stuff_area_limit: least area of stuff, in pixels of the result.
        options: of :class:`FusionHead`.
    """

    def __init__(self, num_things_classes: int, num_stuff_classes: int, score_thr: float = 0.5,
                 overlap_thr: float = 0.5, stuff_area_limit: int = 64 * 64, **options) -> None:
        super().__init__(num_things_classes, num_stuff_classes, **options)
        self.score_thr = score_thr
        self.overlap_thr = overlap_thr
        self.stuff_area_limit = stuff_area_limit

    def panoptic(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> PixelData:
        is_thing = labels < self.num_things_classes
        things = (is_thing & (scores >= self.score_thr)).nonzero()[:, 0]
        things = things[scores[things].argsort(descending=True, stable=True)]
        owner, taken = merge(masks, things, torch.full_like(scores[things], 1 - self.overlap_thr))
        values, segments = segment_table(
            things, labels[things], scores[things], taken, self.num_things_classes)

        stuff = (~is_thing & (labels != self.num_classes) & (scores > 0)).nonzero()[:, 0]
        if len(stuff):
            # numbers of stuff go on after those of things, by class
            winner = compete(scores[stuff], stuff, masks)[0]
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
        """Map value of each stuff class (void if it is too small), and info dicts.

        Args:
            owner: int [H, W], ``offset + 1 + c`` for pixels of the c-th stuff class.
            offset: see there.
            queries, scores, labels: [n], of the stuff queries; the best one stands for its class.
        """
        num_stuff = self.num_classes - self.num_things_classes
        areas = torch.zeros(offset + 1 + num_stuff, dtype=torch.long, device=owner.device)
        for rows in owner.split(chunk_rows(owner.device, owner.shape[1])):
            areas += bincount(rows.long(), len(areas))
        best: dict[int, tuple[float, int]] = {}
        # read together: the host waits once
        areas, *table = (column.tolist() for column in to_host(
            areas[offset + 1:], queries, labels, scores))
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
