"""Comparison of whole masks in place of sampled points (the ablation of Mask2Former's Table 5).

Masks are compared as in MaskFormer's released code: for matching at the size of the mask logits,
with the nearest pixel of the ground truth; for the loss at the size of the ground truth, with the
logits resized bilinearly.

Shapes: B images, Q queries, N segments, P pixels, M matched pairs.
"""
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.models.task_modules.bipartite_matching import Matches
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.structures.segment_map import SegmentBatch

# logits [M, P] and targets [M, P] in 0..1 -> losses [M]
MaskLoss = Callable[[Tensor, Tensor], Tensor]


def all_pairs_on_masks(mask_logits: MaskLogits, layer: int, segments: SegmentBatch,
                       like: Tensor) -> tuple[Tensor, Tensor]:
    """Read all queries and all segments of one prediction at every pixel of its mask logits.

    Args:
        mask_logits: masks of all predictions.
        layer: index of the prediction.
        segments: ground truth of the B images.
        like: tensor of the device and the floating-point type of the result.

    Returns:
        Logits [B, Q, P] and targets [B, P, N] in 0..1.
    """
    queries = torch.arange(mask_logits.num_queries, device=like.device)
    logits = torch.stack([
        mask_logits.dense(layer, image, queries).flatten(1) for image in range(len(segments))])
    points = nearest_pixels(mask_logits.size, segments.size).to(like)
    return logits, segments.sample_all(points.expand(len(segments), -1, -1))


def nearest_pixels(size: tuple[int, int], source_size: tuple[int, int]) -> Tensor:
    """Find the nearest-neighbor pixel of a source map for every pixel of another map.

    Args:
        size: (h, w) of the map.
        source_size: (H, W) of the source map.

    Returns:
        Centers (x, y) of the source pixels in 0..1, float64 [h * w, 2].
    """
    y, x = (
        (torch.arange(length, dtype=torch.float64) * full // length + 0.5) / full
        for length, full in zip(size, source_size))
    return torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).flatten(0, 1)


def losses_on_masks(losses: Sequence[MaskLoss], mask_logits: MaskLogits, matches: Matches,
                    segments: SegmentBatch) -> Tensor:
    """Compute losses of matched pairs over every pixel of the ground truth.

    Full-size masks exist for a few pairs at a time. The backward pass computes them again.

    Args:
        losses: loss functions.
        mask_logits: masks of all predictions.
        matches: the M pairs.
        segments: ground truth of the B images.

    Returns:
        [number of losses, M].
    """
    def reduce(logits: Tensor, image: int, part: slice) -> Tensor:
        logits = F.interpolate(
            logits[None], segments.size, mode='bilinear', align_corners=False)[0].flatten(1)
        targets = segments.masks(image, matches.segment[part]).flatten(1).to(logits.dtype)
        return torch.stack([loss(logits, targets) for loss in losses])

    height, width = segments.size
    return mask_logits.reduce_rows(matches.rows, reduce, len(losses), height * width)
