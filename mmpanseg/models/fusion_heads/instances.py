"""Instance segmentation from queries. Q queries, K classes, n instances, H, W result."""
from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as rle_tools
from torch import Tensor

from mmpanseg.models.inference.augmented_views import OutputMasks
from mmpanseg.structures.segment_geometry import mask_boxes
from mmpanseg.utils.device import to_device, to_host

MASK_FORMATS = ('dense', 'rle')


class MaskStore:
    """Masks of n instances, filled in as they are made: one bool tensor, or run lengths.

    Args:
        count: n.
        size: (H, W).
        mask_format: 'dense' (bool [n, H, W]) or 'rle' (n COCO run-length encodings), which takes
            no n x H x W bytes.
        device: of the dense masks and of the boxes.
    """

    def __init__(self, count: int, size: tuple[int, int], mask_format: str,
                 device: torch.device) -> None:
        dense = mask_format == 'dense'
        self.masks: Tensor | list[dict] = (
            torch.zeros(count, *size, dtype=torch.bool, device=device) if dense else [{}] * count)
        self.bboxes = torch.zeros(count, 4, device=device)

    def put(self, positions: Sequence[int], rows: Sequence[int], masks: Tensor) -> None:
        """Store some masks, all with one copy to the host at most.

        Args:
            positions: instances.
            rows: the mask of each of them.
            masks: bool [m, H, W].
        """
        boxes = mask_boxes(masks).to(self.bboxes)
        place, row = to_device(self.bboxes.device, list(positions), list(rows))
        self.bboxes[place] = boxes[row]
        if isinstance(self.masks, Tensor):
            for position, number in zip(positions, rows):
                self.masks[position] = masks[number]
            return
        encoded = [encode_mask(mask) for mask in to_host(masks)[0]]
        for position, number in zip(positions, rows):
            self.masks[position] = encoded[number]


def encode_mask(mask: Tensor) -> dict:
    """COCO run-length encoding of a mask, bool [H, W]."""
    return rle_tools.encode(np.asfortranarray(to_host(mask)[0].numpy()).view(np.uint8))


def mean_inside(masks: OutputMasks, logits: Tensor,
                extra_pixels: float = 0) -> tuple[Tensor, Tensor]:
    """Binary masks bool [m, H, W] of logits, and the mean [m] of each mask inside (empty: 0).

    Args:
        masks: where the logits come from.
        logits: [m, H, W].
        extra_pixels: added to the number of pixels that the sum is divided by.
    """
    inside = logits > masks.activation.half
    area = inside.flatten(1).sum(1)
    total = masks.activation.probs(logits).mul_(inside).flatten(1).sum(1)
    return inside, total / (area + extra_pixels).clamp(min=torch.finfo(total.dtype).tiny)


def predict_instances(probs: Tensor, masks: OutputMasks, num_things_classes: int,
                      max_per_image: int, mask_format: str = 'dense',
                      things_only: bool = False, extra_pixels: float = 1e-6,
                      confidence: Callable[[Tensor, Tensor], Tensor] = torch.mul,
                      ) -> InstanceData:
    """The best (query, class) pairs of an image as instances, as published.

    Pairs with a stuff class are removed after the selection, so there may be fewer than
    ``max_per_image``; ``things_only`` removes them before it, and what has no score at all. A
    mask is where it is above 0.5; the score is the class probability times the mean of the mask
    inside (0 for an empty one), or what ``confidence`` makes of the two.

    Args:
        probs: [Q, K + 1], class probabilities, "no object" last.
        masks: the queries' masks.
        num_things_classes: labels below are things.
        max_per_image: pairs to select.
        mask_format: see :class:`MaskStore`.
        things_only: select among things, not among all classes.
        extra_pixels: see :func:`mean_inside`.
        confidence: gives scores [n] from class probabilities and means [n].

    Returns:
        by descending class probability: ``masks``, ``scores`` [n], ``labels`` int64 [n] and
        ``bboxes`` [n, 4]:
        the tight boxes around the masks, (x1, y1, x2, y2) with x2 and y2 one behind the last
        pixel; zeros for an empty mask. (Published models give no boxes.)
    """
    num_classes = probs.shape[1] - 1
    pairs = probs[:, :-1]
    if things_only:
        pairs = torch.where(
            torch.arange(num_classes, device=pairs.device) < num_things_classes, pairs, 0)
    scores, index = pairs.flatten().topk(min(max_per_image, pairs.numel()))
    # what is selected, read once: how many there are decides the shapes of what follows
    host_scores, host_index = (x.numpy() for x in to_host(scores, index))
    kept = host_index % num_classes < num_things_classes
    if things_only:
        kept &= host_scores > 0
    # a query may be selected with several classes
    wanted, row_of = np.unique(host_index[kept] // num_classes, return_inverse=True)
    kept, queries, query_of = to_device(probs.device, np.flatnonzero(kept), wanted, row_of)
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
