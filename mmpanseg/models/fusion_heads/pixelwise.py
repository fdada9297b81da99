"""Pixel-wise fusion: every pixel goes to the query with the largest weighted mask there."""
from typing import Optional, Sequence

import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.full_size import FullSizeMasks
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits


@MODELS.register_module()
class PixelwiseFusionHead(BaseModule):
    """Panoptic inference of MaskFormer (section 3.4) as published with Mask2Former.

    Only queries above the score threshold ever get pixels, and one running arg-max over them
    needs a handful of planes however many queries there are.

    Args:
        num_things_classes, num_stuff_classes: set once, at the segmentor.
        score_thr: a query must be more confident than this (t_score).
        overlap_thr: share of its own mask that a query must win to be kept (t_overlap).
    """

    def __init__(self, num_things_classes: int, num_stuff_classes: int, score_thr: float = 0.8,
                 overlap_thr: float = 0.8, init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_things_classes = num_things_classes
        self.num_classes = num_things_classes + num_stuff_classes
        self.score_thr = score_thr
        self.overlap_thr = overlap_thr

    def predict(self, cls_logits: Tensor, mask_logits: MaskLogits, metainfos: Sequence[dict],
                rescale: bool = True) -> list[dict]:
        """Segments of every image of a batch.

        Args:
            cls_logits: [B, Q, K + 1].
            mask_logits: of the same queries; the last prediction is read.
            metainfos: one dict per image, see :class:`FullSizeMasks`.
            rescale: results at the original size.

        Returns:
            per image a dict with ``pred_panoptic_seg``.
        """
        scores, labels = cls_logits.softmax(-1).max(-1)
        return [
            dict(pred_panoptic_seg=self.panoptic(
                scores[i], labels[i], FullSizeMasks(mask_logits, i, metainfo, rescale)))
            for i, metainfo in enumerate(metainfos)]

    def panoptic(self, scores: Tensor, labels: Tensor, masks: FullSizeMasks) -> PixelData:
        """Panoptic map of one image.

        Args:
            scores, labels: [Q], best of the K + 1 classes.
            masks: the queries' masks.

        Returns:
            ``sem_seg`` int32 [1, H, W] in mmdet's coding (stuff: label; thing: label + instance x
            1000; void: K); ``segments_info`` lists the accepted segments.
        """
        kept = ((labels != self.num_classes) & (scores > self.score_thr)).nonzero()[:, 0]
        winner, inside, own = compete(scores[kept], kept, masks)
        # won, own and painted pixels per query: the one host copy of an image
        counts = torch.bincount(
            winner.flatten().long() * 2 + inside.flatten(), minlength=2 * len(kept))
        table = torch.stack([counts[0::2] + counts[1::2], own, counts[1::2], labels[kept]])
        values, segments = self.accept(*table.tolist(), scores[kept].tolist())
        values = torch.tensor([*values, self.num_classes], device=scores.device, dtype=torch.int32)
        index = torch.where(inside, winner, len(kept)).long()
        result = PixelData(sem_seg=values[index][None])
        result.set_metainfo(dict(segments_info=segments))
        return result

    def accept(self, won: list, own: list, painted: list, labels: list,
               scores: list) -> tuple[list[int], list[dict]]:
        """Decide query by query, in order, what becomes a segment.

        Args:
            won: pixels each query won.
            own: pixels where its own mask is at least 0.5.
            painted: pixels for which both hold.
            labels, scores: its class and confidence.

        Returns:
            the map value of each query (K = void), and the segments' info dicts.
        """
        values, segments, stuff, instances = [], [], set(), 0
        for w, o, p, label, score in zip(won, own, painted, labels, scores):
            if not (w and o and p) or w / o < self.overlap_thr:
                values.append(self.num_classes)
                continue
            is_thing = label < self.num_things_classes
            instances += is_thing
            values.append(label + is_thing * instances * INSTANCE_OFFSET)
            if is_thing or label not in stuff:
                segments.append(dict(
                    id=values[-1], label=label, isthing=is_thing, score=score))
                stuff.add(label)
        return values, segments


def compete(scores: Tensor, queries: Tensor,
            masks: FullSizeMasks) -> tuple[Tensor, Tensor, Tensor]:
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
            mask = plane.sigmoid()
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
