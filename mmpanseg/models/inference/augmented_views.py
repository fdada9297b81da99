"""Predictions for one image, and several of them (test-time augmentation) made into one.

Shapes: V views, Q queries, K classes, h, w mask logits, H, W result.
"""
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmpanseg.models.inference.full_size_masks import FullSizeMasks, MaskActivation
from mmpanseg.utils.device import chunk_rows

# Less alike, two queries of different views are taken for different segments.
MIN_SIMILARITY = 0.5


class OutputMasks(Protocol):
    """Mask logits of the queries of one image at the result's size."""

    size: tuple[int, int]
    activation: MaskActivation

    def chunks(self, queries: Tensor) -> Iterator[Tensor]:
        """Logits [m, H, W] of the queries in order, m of them at a time."""

    def peaks(self, queries: Tensor) -> Tensor:
        """What none of the queries' masks exceeds, [n]."""


class View(NamedTuple):
    """Predictions for one image or an augmented form of it.

    ``probs``: class probabilities [Q, K + 1], "no object" last; ``masks``: of the same queries.
    Probabilities of a query need not sum to 1, see ``activations``.
    """
    probs: Tensor
    masks: FullSizeMasks


class MergedView(NamedTuple):
    """As :class:`View`, means over several."""
    probs: Tensor
    masks: OutputMasks


class MeanMasks:
    """Means of the mask logits of matched queries.

    Args:
        masks: of the V views.
        matches: int64 [V - 1, Q], the query of each further view for each one of the first.
        agrees: bool [V - 1, Q], whether that pair counts.
    """

    def __init__(self, masks: Sequence[FullSizeMasks], matches: Tensor, agrees: Tensor) -> None:
        self.masks = masks
        self.matches = matches
        self.agrees = agrees
        self.size = masks[0].size
        self.activation = masks[0].activation

    def peaks(self, queries: Tensor) -> Tensor:
        """The largest of the views' peaks, [n]."""
        of_views = [self.masks[0].peaks(queries)] + [
            masks.peaks(match[queries]) for masks, match in zip(self.masks[1:], self.matches)]
        return torch.stack(of_views).amax(0)

    def chunks(self, queries: Tensor) -> Iterator[Tensor]:
        """Logits [m, H, W] of the first view's queries in order, m of them at a time."""
        largest = max(max(m.size[0] * m.size[1], m.padded[0] * m.padded[1]) for m in self.masks)
        for part in queries.split(chunk_rows(queries.device, 2 * largest)):
            mean = self.masks[0].full(part)
            count = torch.ones(len(part), 1, 1, device=part.device)
            for masks, match, agrees in zip(self.masks[1:], self.matches, self.agrees):
                use = agrees[part].nonzero()[:, 0]
                count[use] += 1
                # a running mean leaves equal views exactly as they are
                mean[use] += (masks.full(match[part[use]]) - mean[use]) / count[use]
            yield mean


def merge_views(views: Sequence[View]) -> MergedView | View:
    """One set of queries for several views of an image.

    No published rule exists for panoptic and instance results. Here the queries of every view are
    matched one to one with those of the first view, so that the sum of their similarities is
    largest; then class probabilities and mask logits of matched queries are averaged. Pairs less
    alike than ``MIN_SIMILARITY`` are left out: a view has no say on what it did not see. Views
    that are equal give exactly what each of them gives.
    """
    if len(views) == 1:
        return views[0]
    first, rest = views[0], views[1:]
    shapes = coarse_masks(first, first)
    matches, agrees, mean = [], [], first.probs.clone()
    count = torch.ones(len(mean), 1, device=mean.device)
    for view in rest:
        similarity = class_similarity(first.probs, view.probs) * mask_similarity(
            shapes, coarse_masks(view, first))
        match = torch.as_tensor(
            linear_sum_assignment(similarity.cpu().numpy(), maximize=True)[1],
            device=mean.device)
        agree = similarity.gather(1, match[:, None])[:, 0] >= MIN_SIMILARITY
        count += agree[:, None]
        mean += (view.probs[match] - mean) / count * agree[:, None]
        matches.append(match)
        agrees.append(agree)
    return MergedView(mean, MeanMasks(
        [view.masks for view in views], torch.stack(matches), torch.stack(agrees)))


def coarse_masks(view: View, grid: View) -> Tensor:
    """Mask probabilities [Q, n] of a view on a coarse grid over the image.

    The grid has about as many rows and columns as the mask logits of the view ``grid``.
    """
    of = grid.masks
    queries = torch.arange(len(view.probs), device=view.probs.device)
    rows, columns = (
        max(1, of.mask_logits.size[axis] * of.cut[axis] // of.padded[axis]) for axis in (0, 1))
    masks = view.masks.at_size((rows, columns))
    return torch.cat([masks.activation.probs(chunk).flatten(1)
                      for chunk in masks.chunks(queries)])


def class_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Bhattacharyya coefficients [Q, Q] of class probabilities [Q, K + 1]; 1 where they are equal.

    Scores that do not sum to 1 are taken relative to their sum; no score is like nothing.
    """
    a, b = (F.normalize(x.sqrt(), dim=1, eps=torch.finfo(x.dtype).tiny) for x in (a, b))
    return a @ b.T


def mask_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Dice coefficients [Q, Q] of soft masks [Q, n]; 1 where they are equal."""
    total = a.square().sum(1)[:, None] + b.square().sum(1)
    return 2 * (a @ b.T) / total.clamp(min=torch.finfo(a.dtype).tiny)
