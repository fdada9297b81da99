"""Semantic segmentation from queries. Q queries, K classes, H, W result."""
from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.inference.augmented_views import View
from mmpanseg.models.inference.full_size_masks import ReadRows
from mmpanseg.utils.device import chunk_rows


def fuse_semantic(views: Sequence[View], resize_scores: bool = False) -> PixelData:
    """Label every pixel with the class that has the largest mean score over the views.

    The image is processed in strips of rows, so that no [K, H, W] map is created. Score maps of
    several views (test-time augmentation) are averaged, as published.

    Args:
        views: one or several views of an image.
        resize_scores: see :func:`semantic_score_reader`.

    Returns:
        ``sem_seg`` int32 [1, H, W], labels 0 .. K - 1.
    """
    readers = [semantic_score_reader(view, resize_scores) for view in views]
    probs, size = views[0].probs, views[0].masks.size
    step = chunk_rows(probs.device, sum(probs.shape) * size[1])
    labels = torch.empty(size, dtype=torch.int32, device=probs.device)
    for start in range(0, size[0], step):
        stop = min(start + step, size[0])
        mean = readers[0](start, stop)
        for count, read in enumerate(readers[1:], 2):
            # a running mean of equal views is exactly their value
            mean += (read(start, stop) - mean) / count
        labels[start:stop] = mean.argmax(0)
    return PixelData(sem_seg=labels[None])


def semantic_score_reader(view: View, resize_scores: bool = False) -> ReadRows:
    """Create a function that computes rows of the semantic score map.

    Scores are sums over queries of class x mask probability (semantic inference of MaskFormer,
    section 3.4), without the "no object" class; they are not normalized.

    Args:
        view: predictions for one image.
        resize_scores: compute scores at the size of the network's input and resize them, as
            published for models without other outputs; otherwise mask logits are resized.

    Returns:
        function of (first row, last row + 1) that returns scores [K, rows, W].
    """
    masks = view.masks
    weights = view.probs[:, :-1].T.contiguous()
    logits = masks.low_resolution(torch.arange(len(view.probs), device=weights.device))

    def mix(rows: Tensor) -> Tensor:
        """Scores [K, n, w] of mask logits [Q, n, w]."""
        probs = masks.all_probs(rows).flatten(1)
        return (weights @ probs).view(-1, *rows.shape[1:])

    def input_scores(start: int, stop: int) -> Tensor:
        return mix(masks.input_rows(logits, start, stop))

    def read(start: int, stop: int) -> Tensor:
        start, stop = masks.rows_before_unflip(start, stop)
        if resize_scores:
            return masks.unflip(masks.resize_input_rows(input_scores, start, stop))
        return masks.unflip(mix(masks.result_rows(logits, start, stop)))

    return read
