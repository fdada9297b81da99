"""Semantic segmentation from queries. Q queries, K classes, H, W result."""
from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.inference.augmented_views import View
from mmpanseg.models.inference.full_size_masks import ReadRows
from mmpanseg.utils.device import chunk_rows


def semantic_labels(views: Sequence[View], resize_scores: bool = False) -> PixelData:
    """Label of every pixel: the class with the largest mean score over the views.

    Works through the image in strips of rows, so that no [K, H, W] map ever exists. For several
    views (test-time augmentation) score maps are averaged, as published.

    Args:
        views: of one image, often just one.
        resize_scores: see :func:`semantic_scores`.

    Returns:
        ``sem_seg`` int32 [1, H, W], labels 0 .. K - 1.
    """
    readers = [semantic_scores(view, resize_scores) for view in views]
    probs, size = views[0].probs, views[0].masks.size
    step = chunk_rows(probs.device, sum(probs.shape) * size[1])
    labels = torch.empty(size, dtype=torch.int32, device=probs.device)
    for start in range(0, size[0], step):
        stop = min(start + step, size[0])
        mean = readers[0](start, stop)
        for count, read in enumerate(readers[1:], 2):
            # a running mean leaves equal views exactly as they are
            mean += (read(start, stop) - mean) / count
        labels[start:stop] = mean.argmax(0)
    return PixelData(sem_seg=labels[None])


def semantic_scores(view: View, resize_scores: bool = False) -> ReadRows:
    """Reader of rows of the score map [K, H, W]: sum over queries of class x mask probability.

    MaskFormer's semantic inference (section 3.4), the "no object" class left out; scores are not
    normalized.

    Args:
        view: predictions for one image.
        resize_scores: compute scores at the size of the network's input and resize them, as
            published for models that predict nothing else; otherwise mask logits are resized.
    """
    masks = view.masks
    weights = view.probs[:, :-1].T.contiguous()
    coarse = masks.coarse(torch.arange(len(view.probs), device=weights.device))

    def mix(logits: Tensor) -> Tensor:
        """Logits [Q, n, w] -> scores [K, n, w]."""
        probs = masks.all_probs(logits).flatten(1)
        return (weights @ probs).view(-1, *logits.shape[1:])

    def input_scores(start: int, stop: int) -> Tensor:
        return mix(masks.cut_rows(coarse, start, stop))

    def read(start: int, stop: int) -> Tensor:
        rows = masks.own_rows(start, stop)
        if resize_scores:
            return masks.unflip(masks.resize_cut(input_scores, *rows))
        return masks.unflip(mix(masks.result_rows(coarse, *rows)))

    return read
