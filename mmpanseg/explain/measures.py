"""Numbers and pictures of a query's layers: IoU, areas, shares of the attention.

H, W: size of the image; h, w: size of a map; H', W': size of pictures.
"""
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from mmpanseg.explain.explanation import (
    PICTURE_SIDE,
    ClassScore,
    LayerView,
    Look,
    Points,
    RunnerUp,
)
from mmpanseg.explain.grids import grid_of
from mmpanseg.explain.traces import AttentionMap, Layer, SampledPoints, Trace
from mmpanseg.models.fusion_heads import FusionHead
from mmpanseg.models.fusion_heads.query_fates import Fate
from mmpanseg.models.inference.augmented_views import View
from mmpanseg.models.inference.full_size_masks import FullSizeMasks

NO_OBJECT = 'no object'
# queries whose masks overlap a segment less are no runner-ups
LEAST_IOU = 0.01
NUM_ALTERNATIVES = 5


class LayerMeasures:
    """Compares the layers of a query with its final mask.

    Args:
        head: the fusion head.
        metainfo: meta information of the image.
        final: final masks of all queries.
        row: the query's row.

    Attributes:
        area: pixels of the final mask.
    """

    def __init__(self, head: FusionHead, metainfo: dict, final: FullSizeMasks, row: int,
                 device: torch.device) -> None:
        self._head, self._metainfo, self._device = head, metainfo, device
        inside = self._inside(final, row)[0]
        self.area = int(inside.sum())
        self._final = inside.cpu().numpy()
        scale = min(1.0, PICTURE_SIDE / max(inside.shape))
        height, width = (max(1, round(side * scale)) for side in inside.shape)
        self._picture_size = (height, width)

    def iou_with(self, inside: np.ndarray) -> float:
        """IoU of the final mask with pixels bool [H, W]."""
        return mask_iou(self._final, inside)

    def view(self, layer: Layer) -> LayerView:
        """Measure one layer."""
        found = LayerView(
            layer.title, None if layer.scores is None else layer.scores.tolist(),
            looks=[self._look(look) for look in layer.attention],
            points=None if layer.points is None else self._points(layer.points))
        if layer.masks is not None:
            masks = self._head.full_size_masks(layer.masks, 0, self._metainfo)
            inside, probs = self._inside(masks, layer.row)
            plain = inside.cpu().numpy()
            found.area, found.iou = int(plain.sum()), mask_iou(plain, self._final)
            height, width = self._picture_size
            found.mask = cv2.resize(probs.clamp(0, 1).float().cpu().numpy(), (width, height),
                                    interpolation=cv2.INTER_AREA)
        if layer.owner is not None:
            owner = layer.owner.to(torch.int32).cpu().numpy()
            grid = grid_of(owner.shape, self._metainfo)
            found.owners = grid.spread(owner, self._picture_size)
            found.cluster = found.owners == layer.row
            found.cluster_iou = mask_iou(grid.cut(owner == layer.row), grid.cut(grid.coverage(
                self._final, owner.shape) >= 0.5))
        if layer.logits is not None:
            grid = grid_of(layer.logits.shape[-2:], self._metainfo)
            found.logits = grid.cut(layer.logits.cpu().numpy())
            found.logits_extent = grid.extent
        return found

    def _inside(self, masks: FullSizeMasks, row: int) -> tuple[Tensor, Tensor]:
        """Binary mask bool [H, W] and probabilities [H, W] of a row."""
        logits = masks.full_size(torch.tensor([row], device=self._device))[0]
        return logits > masks.activation.threshold, masks.activation.probs(logits)

    def _look(self, look: AttentionMap) -> Look:
        heads = look.heads.cpu().numpy()
        grid = grid_of(heads.shape[-2:], self._metainfo)
        share = (heads * grid.coverage(self._final, heads.shape[-2:])).sum((1, 2))
        allowed = None if look.allowed is None else grid.cut(look.allowed.cpu().numpy())
        return Look(grid.stride, grid.cut(heads), allowed, share.tolist(),
                    look.queries_share, grid.extent)

    def _points(self, points: SampledPoints) -> Points:
        # from the padded input to the image, (x, y)
        scale = np.array([padded / own for padded, own in zip(
            self._metainfo['batch_input_shape'], self._metainfo['img_shape'])][::-1], np.float32)
        places = points.places.cpu().numpy() * scale
        weights = points.weights.cpu().numpy()
        x, y = np.floor(places * self._final.shape[::-1]).astype(int).transpose(3, 0, 1, 2)
        height, width = self._final.shape
        there = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        hit = self._final[y.clip(0, height - 1), x.clip(0, width - 1)] & there
        reference = points.reference.cpu().numpy().reshape(-1, 2) * scale
        return Points(places, weights, reference.ravel().tolist(),
                      float((weights * hit).sum() / len(weights)))


def mask_iou(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two bool masks; 0 if both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0


def best_classes(probs: Tensor, names: Sequence[str],
                 most: int = NUM_ALTERNATIVES) -> list[ClassScore]:
    """Find the classes with the best scores, "no object" included, the best first.

    Args:
        probs: scores [K + 1], "no object" last.
        names: of the K classes.
        most: largest number of classes; those of score 0 are left out.
    """
    top = probs.topk(min(most, len(probs)))
    every = (*names, NO_OBJECT)
    return [ClassScore(every[label], score)
            for score, label in zip(top.values.tolist(), top.indices.tolist()) if score > 0]


def find_runner_ups(view: View, inside: np.ndarray, row: int, fates: Sequence[Fate],
                    names: Sequence[str], most: int, trace: Trace) -> list[RunnerUp]:
    """Find the other queries whose masks overlap a segment, the largest IoU first.

    Args:
        view: predictions for the image.
        inside: pixels of the segment, bool [H, W].
        row: row of the segment, which is left out.
        fates: of all rows.
        names: of the classes.
        most: largest number of queries.
        trace: names the query of each row.
    """
    probs, masks = view
    pixels = torch.from_numpy(inside).to(probs.device)
    rows = torch.arange(len(probs), device=probs.device)
    counts = []
    for logits in masks.chunks(rows):
        own = logits > masks.activation.threshold
        counts.append(torch.stack([(own & pixels).sum((1, 2)), (own | pixels).sum((1, 2))]))
    common, union = torch.cat(counts, 1).double()
    ious = common / union.clamp(min=1)
    ious[row] = -1
    best = ious.topk(min(most, len(ious)))
    found = []
    for iou, other in zip(best.values.tolist(), best.indices.tolist()):
        if iou >= LEAST_IOU:
            fate = fates[other]
            found.append(RunnerUp(other, trace.query(0, other), iou, names[fate.label],
                                  fate.score, fate))
    return found
