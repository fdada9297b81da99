"""Predictions for an image, and their mean over augmented views (test-time augmentation).

Shapes: V views; Q queries of each; K classes; H, W result.
"""
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.models.inference.full_size_masks import FullSizeMasks, OutputMasks
from mmpanseg.utils.device import chunk_rows

# matched queries of two views are averaged from this similarity on
MIN_SIMILARITY = 0.5


class View(NamedTuple):
    """Predictions for one image or for an augmented copy of it.

    Attributes:
        probs: class probabilities [Q, K + 1], "no object" last. The sum over classes can differ
            from 1, see :func:`mmpanseg.models.inference.full_size_masks.sigmoid_scores`.
        masks: masks of the same queries.
    """
    probs: Tensor
    masks: FullSizeMasks


class MeanMasks:
    """Mean mask logits of matched queries, for the queries of the first view.

    Args:
        masks: masks of the V views.
        matches: int64 [V - 1, Q], per further view the query matched with each of the first view.
        accepted: bool [V - 1, Q], whether that pair is similar enough to be averaged.
    """

    def __init__(self, masks: Sequence[FullSizeMasks], matches: Tensor, accepted: Tensor) -> None:
        self.masks = masks
        self.matches = matches
        self.accepted = accepted
        self.size = masks[0].size
        self.activation = masks[0].activation
        self.broken = masks[0].broken

    def max_probs(self, queries: Tensor) -> Tensor:
        """Upper bound of the mask probabilities of each query, [n]: the maximum over the views."""
        of_views = [self.masks[0].max_probs(queries)] + [
            masks.max_probs(match[queries]) for masks, match in zip(self.masks[1:], self.matches)]
        return torch.stack(of_views).amax(0)

    def chunks(self, queries: Tensor) -> Iterator[Tensor]:
        """Yield mean logits [m, H, W] of the first view's queries in order, m at a time."""
        largest = max(masks.largest_plane for masks in self.masks)
        for part in queries.split(chunk_rows(queries.device, 2 * largest)):
            mean = self.masks[0].full_size(part)
            count = torch.ones(len(part), 1, 1, device=part.device)
            for masks, match, accepted in zip(self.masks[1:], self.matches, self.accepted):
                use = accepted[part].nonzero()[:, 0]
                count[use] += 1
                # a running mean of equal views is exactly their value
                mean[use] += (masks.full_size(match[part[use]]) - mean[use]) / count[use]
            yield mean


def merge_views(views: Sequence[View]) -> tuple[Tensor, OutputMasks]:
    """Average the predictions for several views of an image.

    No published rule exists for panoptic and instance results. Here the queries of every view are
    matched one to one with those of the first view so that the sum of their similarities (class
    times mask) is largest; then class probabilities and mask logits of matched queries are
    averaged. Pairs with a similarity below ``MIN_SIMILARITY`` are left out, so a view does not
    change a query whose segment it does not show. Equal views give exactly the predictions of one
    of them.

    Args:
        views: V >= 1 views of one image.

    Returns:
        class probabilities [Q, K + 1] and masks of the first view's queries.
    """
    first, rest = views[0], views[1:]
    if not rest:
        return first.probs, first.masks
    from scipy.optimize import linear_sum_assignment  # slow to import

    shapes = coarse_mask_probs(first, first)
    matches, accepted, mean = [], [], first.probs.clone()
    count = torch.ones(len(mean), 1, device=mean.device)
    for view in rest:
        similarity = bhattacharyya_coefficients(first.probs, view.probs) * dice_coefficients(
            shapes, coarse_mask_probs(view, first))
        match = torch.as_tensor(
            linear_sum_assignment(similarity.cpu().numpy(), maximize=True)[1],
            device=mean.device)
        similar = similarity.gather(1, match[:, None])[:, 0] >= MIN_SIMILARITY
        count += similar[:, None]
        mean += (view.probs[match] - mean) / count * similar[:, None]
        matches.append(match)
        accepted.append(similar)
    return mean, MeanMasks(
        [view.masks for view in views], torch.stack(matches), torch.stack(accepted))


def coarse_mask_probs(view: View, reference: View) -> Tensor:
    """Sample the mask probabilities of a view on a coarse grid over the image.

    Args:
        view: the view to sample.
        reference: the grid has about as many rows and columns as the mask logits of this view.

    Returns:
        [Q, rows * columns].
    """
    masks = reference.masks
    queries = torch.arange(len(view.probs), device=view.probs.device)
    rows, columns = (
        max(1, masks.mask_logits.size[axis] * masks.image_size[axis] // masks.padded_size[axis])
        for axis in (0, 1))
    masks = view.masks.at_size((rows, columns))
    return torch.cat([masks.activation.probs(chunk).flatten(1)
                      for chunk in masks.chunks(queries)])


def bhattacharyya_coefficients(a: Tensor, b: Tensor) -> Tensor:
    """Similarities [Q, Q] of class probabilities [Q, K + 1]; 1 for equal ones.

    Scores are divided by their sum first; rows of zeros have similarity 0.
    """
    a, b = (F.normalize(x.sqrt(), dim=1, eps=torch.finfo(x.dtype).tiny) for x in (a, b))
    return a @ b.T


def dice_coefficients(a: Tensor, b: Tensor) -> Tensor:
    """Similarities [Q, Q] of soft masks [Q, n]; 1 for equal ones, 0 for empty ones."""
    total = a.square().sum(1)[:, None] + b.square().sum(1)
    return 2 * (a @ b.T) / total.clamp(min=torch.finfo(a.dtype).tiny)
