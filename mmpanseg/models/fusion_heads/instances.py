"""Instance segmentation from queries. Q queries, K classes, n instances, H, W result."""
from collections.abc import Callable

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmpanseg.models.inference.full_size_masks import OutputMasks
from mmpanseg.models.inference.instance_masks import MaskStore
from mmpanseg.utils.device import to_device, to_host


def mean_inside(masks: OutputMasks, logits: Tensor,
                extra_pixels: float = 0) -> tuple[Tensor, Tensor]:
    """Compute binary masks and the mean mask probability inside each.

    Args:
        masks: masks that the logits belong to.
        logits: [m, H, W].
        extra_pixels: added to the number of pixels that the sum is divided by.

    Returns:
        bool [m, H, W], and means [m]; 0 for an empty mask.
    """
    inside = logits > masks.activation.threshold
    area = inside.flatten(1).sum(1)
    total = masks.activation.probs(logits).mul_(inside).flatten(1).sum(1)
    return inside, total / (area + extra_pixels).clamp(min=torch.finfo(total.dtype).tiny)


def mask_scores(masks: OutputMasks, queries: Tensor, extra_pixels: float = 0) -> Tensor:
    """Mean mask probability inside the masks of queries int64 [n], see :func:`mean_inside`."""
    if not len(queries):
        return torch.zeros(0, device=queries.device)
    return torch.cat([mean_inside(masks, logits, extra_pixels)[1]
                      for logits in masks.chunks(queries)])


def predict_instances(probs: Tensor, masks: OutputMasks, num_things_classes: int,
                      max_per_image: int, mask_format: str = 'dense',
                      things_only: bool = False, extra_pixels: float = 1e-6,
                      confidence: Callable[[Tensor, Tensor], Tensor] = torch.mul,
                      ) -> InstanceData:
    """Select the best (query, class) pairs of an image as instances, as published.

    By default pairs with a stuff class are removed after the selection, so there can be fewer than
    ``max_per_image``. The score is the class probability times the mean mask probability inside the
    mask (0 for an empty one), or what ``confidence`` computes from the two.

    Args:
        probs: class probabilities [Q, K + 1], "no object" last.
        masks: masks of the queries.
        num_things_classes: labels below are things.
        max_per_image: number of pairs to select.
        mask_format: see :class:`MaskStore`.
        things_only: remove pairs with a stuff class, and those with a score of 0, before the
            selection.
        extra_pixels: see :func:`mean_inside`.
        confidence: function of class probabilities [n] and means [n] that returns scores [n].

    Returns:
        by descending class probability: ``masks``, ``scores`` [n], ``labels`` int64 [n] and
        ``bboxes`` float32 [n, 4], the smallest boxes around the masks: (x1, y1, x2, y2) with x2
        and y2 one past the last pixel, zeros for an empty mask. (Published models predict no
        boxes.)
    """
    num_classes = probs.shape[1] - 1
    pairs = probs[:, :-1]
    if things_only:
        pairs = torch.where(
            torch.arange(num_classes, device=pairs.device) < num_things_classes, pairs, 0)
    if masks.broken is not None:
        pairs = torch.where(masks.broken[:, None], -1, pairs)
    scores, index = pairs.flatten().topk(min(max_per_image, pairs.numel()))
    # one copy: the number of things determines the shapes below
    host_scores, host_index = (x.numpy() for x in to_host(scores, index))
    is_kept = (host_index % num_classes < num_things_classes) & (host_scores >= 0)
    if things_only:
        is_kept &= host_scores > 0
    # a query can be selected with several classes
    wanted, row_of = np.unique(host_index[is_kept] // num_classes, return_inverse=True)
    kept, queries, query_of = to_device(probs.device, np.flatnonzero(is_kept), wanted, row_of)
    scores, labels = scores[kept], index[kept] % num_classes

    store = MaskStore(len(labels), masks.size, mask_format, probs.device)
    means, row = probs.new_zeros(len(queries)), 0
    for logits in masks.chunks(queries) if len(queries) else ():
        stop = row + len(logits)
        inside, means[row:stop] = mean_inside(masks, logits, extra_pixels)
        positions = np.flatnonzero((row_of >= row) & (row_of < stop))
        store.put(positions.tolist(), (row_of[positions] - row).tolist(), inside)
        row = stop
    return InstanceData(masks=store.masks, scores=confidence(scores, means[query_of]),
                        labels=labels, bboxes=store.bboxes)
