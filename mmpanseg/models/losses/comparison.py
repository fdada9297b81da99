"""Where predicted and annotated masks are compared: at points or on whole masks (Table 5).

Mask2Former compares at points. Whole masks are compared as in MaskFormer's released code: for
matching at the size of the mask logits, with the nearest pixel of the ground truth; for the loss at
the size of the ground truth, with the logits resized bilinearly.

Shapes: B images, Q queries, N segments, P points or pixels, M matched pairs.
"""
from typing import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.models.task_modules.assigners import Matches
from mmpanseg.models.task_modules.point_sampling import PointSampler
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.structures.segment_map import SegmentBatch

PairLoss = Callable[[Tensor, Tensor], Tensor]


def match_on_points(sampler: PointSampler, mask_logits: MaskLogits, layer: int,
                    segments: SegmentBatch, cls_logits: Tensor) -> tuple[Tensor, Tensor]:
    """All queries and segments of a prediction at fresh uniform points.

    Args:
        sampler: draws the points.
        mask_logits, layer: the masks of one prediction.
        segments: ground truth of the B images.
        cls_logits: [B, Q, K + 1] of that prediction.

    Returns:
        logits [B, Q, P] and targets [B, P, N] in 0..1.
    """
    points = sampler.uniform(len(segments), cls_logits.device, cls_logits.dtype)
    return mask_logits.sample(layer, points), segments.sample_all(points)


def match_on_masks(sampler: PointSampler, mask_logits: MaskLogits, layer: int,
                   segments: SegmentBatch, cls_logits: Tensor) -> tuple[Tensor, Tensor]:
    """All queries and segments of a prediction at every pixel of its mask logits.

    Arguments and results are those of :func:`match_on_points`, P pixels in place of points.
    """
    queries = torch.arange(cls_logits.shape[1], device=cls_logits.device)
    logits = torch.stack([
        mask_logits.dense(layer, image, queries).flatten(1) for image in range(len(segments))])
    points = nearest_pixels(mask_logits.size, segments.size).to(cls_logits)
    return logits, segments.sample_all(points.expand(len(segments), -1, -1))


def nearest_pixels(size: tuple[int, int], source: tuple[int, int]) -> Tensor:
    """For each pixel of a map its nearest-neighbour pixel in another, as points [h * w, 2]."""
    y, x = (
        (torch.arange(length, dtype=torch.float64) * full // length + 0.5) / full
        for length, full in zip(size, source))
    return torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).flatten(0, 1)


def losses_on_points(losses: Sequence[PairLoss], sampler: PointSampler, mask_logits: MaskLogits,
                     matches: Matches, segments: SegmentBatch) -> Tensor:
    """Losses of matched pairs at importance-sampled points of their own.

    Args:
        losses: functions of logits [m, P] and targets [m, P], giving [m].
        sampler: picks the points.
        mask_logits, segments: predictions and ground truth.
        matches: the M pairs.

    Returns:
        [number of losses, M].
    """
    rows = matches.rows
    logits, points = mask_logits.sample_rows(rows, sampler.uncertain)
    with torch.no_grad():
        targets = segments.sample_pairs(points, rows.image, matches.segment)
    return torch.stack([loss(logits, targets) for loss in losses])


def losses_on_masks(losses: Sequence[PairLoss], sampler: PointSampler, mask_logits: MaskLogits,
                    matches: Matches, segments: SegmentBatch) -> Tensor:
    """Losses of matched pairs at every pixel of the ground truth.

    Arguments and result are those of :func:`losses_on_points`. Full-size planes exist for a few
    pairs at a time, in the backward pass too, which makes them anew.
    """
    def reduce(logits: Tensor, image: int, part: slice) -> Tensor:
        logits = F.interpolate(
            logits[None], segments.size, mode='bilinear', align_corners=False)[0].flatten(1)
        targets = segments.masks(image, matches.segment[part]).flatten(1).to(logits.dtype)
        return torch.stack([loss(logits, targets) for loss in losses])

    height, width = segments.size
    return mask_logits.reduce_rows(matches.rows, reduce, len(losses), height * width)


MATCH_ON = {'points': match_on_points, 'masks': match_on_masks}
LOSS_ON = {'points': losses_on_points, 'masks': losses_on_masks}
