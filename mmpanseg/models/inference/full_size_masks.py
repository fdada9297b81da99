"""Mask logits of an image at the size of the result, a few queries or a few rows at a time.

Shapes: Q queries of the image; m of them at a time; h, w mask logits; H, W result.
"""
import copy
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.models.inference.kept_planes import KeptPlanes
from mmpanseg.models.layers.bilinear_resize import resize_planes, resize_rows, source_rows
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.utils.device import chunk_rows


def softmax_scores(cls_logits: Tensor) -> Tensor:
    """Probabilities [..., Q, K + 1] of logits [..., Q, K + 1], "no object" last."""
    return cls_logits.softmax(-1)


def sigmoid_scores(cls_logits: Tensor) -> Tensor:
    """Independent scores [..., Q, K + 1] of logits [..., Q, K]; the score of "no object" is 0."""
    return F.pad(cls_logits.sigmoid(), (0, 1))


class MaskActivation(NamedTuple):
    """Conversion of mask logits to mask probabilities and to binary masks.

    Attributes:
        probs: function of logits that returns new tensors of probabilities in 0 .. 1.
        threshold: logit above which a pixel is part of the binary mask.
        empty: logit of the pixels of an empty mask.
    """
    probs: Callable[[Tensor], Tensor]
    threshold: float
    empty: float = -1e4


SIGMOID = MaskActivation(torch.sigmoid, 0.0)
# for heads that predict probabilities, such as masks read from attention maps
IDENTITY = MaskActivation(torch.clone, 0.5, 0.0)

SCORE_ACTIVATIONS = dict(softmax=softmax_scores, sigmoid=sigmoid_scores)
MASK_ACTIVATIONS = dict(sigmoid=SIGMOID, none=IDENTITY)


class OutputMasks(Protocol):
    """Mask logits of the queries of one image at the size of the result."""

    size: tuple[int, int]
    activation: MaskActivation
    broken: Tensor | None

    def chunks(self, queries: Tensor) -> Iterator[Tensor]:
        """Yield logits [m, H, W] of the queries in order, m of them at a time."""

    def max_probs(self, queries: Tensor) -> Tensor:
        """Upper bound of the mask probabilities of each query, [n]."""


FLIPPED_DIMS = {'horizontal': (-1, ), 'vertical': (-2, ), 'diagonal': (-2, -1)}

# function of (first row, last row + 1) that returns these rows of some planes
ReadRows = Callable[[int, int], Tensor]


class FullSizeMasks:
    """Mask logits of one image that are resized to the size of the result on demand.

    Values equal those of resizing all queries at once (to the padded input, crop to the image,
    to the original size), but pixels exist for a chunk of queries or of rows only.

    Args:
        mask_logits: predictions for the batch; the last layer's are used.
        image: index of the image in the batch.
        metainfo: ``batch_input_shape``, ``img_shape`` and ``ori_shape`` of the image; with
            ``unflip`` also ``flip`` and ``flip_direction``.
        rescale: whether the result has ``ori_shape``; otherwise it has ``img_shape``.
        unflip: undo the flip that the pipeline applied to the image.
        activation: conversion of the logits to probabilities and binary masks.
        resize_once: resize logits directly to the size of the result, as Panoptic SegFormer does.
            Padding is then cropped before, which is exact if the image ends at the border of one
            of the logits' pixels.
        align_corners: for both resizings, see :func:`torch.nn.functional.interpolate`.

    Attributes:
        broken: bool [Q], queries whose masks are empty, because their logits are not finite; None
            for none.
        kept: masks that are resized once, for several fusions; None to resize them each time.
    """

    broken: Tensor | None = None
    kept: KeptPlanes | None = None

    def __init__(self, mask_logits: MaskLogits, image: int, metainfo: dict,
                 rescale: bool = True, unflip: bool = False,
                 activation: MaskActivation = SIGMOID, resize_once: bool = False,
                 align_corners: bool = False) -> None:
        self.mask_logits = mask_logits
        self.image = image
        self.activation = activation
        self.align_corners = align_corners
        self.padded_size = tuple(metainfo['batch_input_shape'])
        self.image_size = tuple(metainfo['img_shape'][:2])
        self.size = tuple(metainfo['ori_shape'][:2]) if rescale else self.image_size
        if resize_once:
            # both sizes in pixels of the logits
            self.image_size = tuple(-(-side * own // padded) for side, own, padded in zip(
                self.image_size, mask_logits.size, self.padded_size))
            self.padded_size = tuple(mask_logits.size)
        flipped = unflip and metainfo.get('flip')
        self.flipped_dims = FLIPPED_DIMS[metainfo['flip_direction']] if flipped else ()

    @property
    def largest_plane(self) -> int:
        """Pixels of the largest plane that resizing of one query creates."""
        return max(math.prod(self.size), math.prod(self.padded_size))

    def at_size(self, size: tuple[int, int]) -> 'FullSizeMasks':
        """Copy for a result of another size (H, W)."""
        other = copy.copy(self)
        other.size, other.kept = size, None
        return other

    @property
    def resizing(self) -> tuple:
        """What the full-size logits depend on, beside the predictions."""
        return (type(self), self.size, self.image_size, self.padded_size, self.align_corners,
                self.flipped_dims, self.activation.empty)

    def chunks(self, queries: Tensor) -> Iterator[Tensor]:
        """Yield logits [m, H, W] of the queries in order, m of them at a time."""
        if self.kept is not None:
            yield from self.kept.chunks(queries, self.full_size)
            return
        for part in queries.split(chunk_rows(queries.device, self.largest_plane)):
            yield self.full_size(part)

    def full_size(self, queries: Tensor) -> Tensor:
        """Logits [m, H, W] of all the given queries at once."""
        logits = resize_planes(self.low_resolution(queries), self.padded_size, self.align_corners)
        logits = logits[:, :self.image_size[0], :self.image_size[1]]
        return self.unflip(resize_planes(logits, self.size, self.align_corners))

    def max_probs(self, queries: Tensor) -> Tensor:
        """Largest mask probability of each query, [n]; interpolation cannot exceed it."""
        step = chunk_rows(queries.device, math.prod(self.mask_logits.size))
        return self.activation.probs(torch.cat(
            [self.low_resolution(part).flatten(1).amax(1) for part in queries.split(step)]))

    def all_probs(self, logits: Tensor) -> Tensor:
        """Mask probabilities [Q, ...] of the logits of all queries."""
        return self.activation.probs(logits)

    def unflip(self, x: Tensor) -> Tensor:
        """Flip [..., H, W] of the network's input back to the original image."""
        return x.flip(self.flipped_dims) if self.flipped_dims else x

    def rows_before_unflip(self, start: int, stop: int) -> tuple[int, int]:
        """First row and last row + 1 in the flipped result of rows of the unflipped one."""
        if -2 in self.flipped_dims:
            return self.size[0] - stop, self.size[0] - start
        return start, stop

    def low_resolution(self, queries: Tensor) -> Tensor:
        """Logits [m, h, w] as predicted, before any resizing."""
        logits = self.mask_logits.dense(-1, self.image, queries)
        if self.broken is None:
            return logits
        return logits.masked_fill_(self.broken[queries][:, None, None], self.activation.empty)

    def input_rows(self, logits: Tensor, start: int, stop: int) -> Tensor:
        """Compute rows of the logits at the size of the network's input, padding cropped.

        Args:
            logits: [m, h, w], see :meth:`low_resolution`.
            start: first row.
            stop: last row + 1.

        Returns:
            [m, stop - start, width of the image in the input].
        """
        height = logits.shape[1]
        first, last = source_rows(start, stop, height, self.padded_size[0], self.align_corners)
        rows = resize_rows(logits[:, first:last], first, height, self.padded_size, start, stop,
                           self.align_corners)
        return rows[..., :self.image_size[1]]

    def result_rows(self, logits: Tensor, start: int, stop: int) -> Tensor:
        """Compute rows of the logits at the size of the result, still flipped.

        Args:
            logits: [m, h, w], see :meth:`low_resolution`.
            start: first row.
            stop: last row + 1.

        Returns:
            [m, stop - start, W].
        """
        return self.resize_input_rows(lambda *rows: self.input_rows(logits, *rows), start, stop)

    def resize_input_rows(self, read: ReadRows, start: int, stop: int) -> Tensor:
        """Compute rows of the result from planes at the size of the network's input.

        Args:
            read: returns rows of these planes.
            start: first row of the result, still flipped.
            stop: last row + 1.

        Returns:
            [m, stop - start, W].
        """
        first, last = source_rows(
            start, stop, self.image_size[0], self.size[0], self.align_corners)
        return resize_rows(read(first, last), first, self.image_size[0], self.size, start, stop,
                           self.align_corners)


def competing_activation(threshold: float) -> MaskActivation:
    """Activation for log-probabilities; pixels of a probability above ``threshold`` are inside."""
    return MaskActivation(torch.exp, math.log(threshold))


class CompetingMasks(FullSizeMasks):
    """Log-probabilities of one image's masks in place of logits; see :class:`FullSizeMasks`.

    The softmax over the queries is computed from resized logits at the size of the result, as
    published. Its denominator sums over all queries, a chunk at a time, and is computed once.
    """

    _log_total: Tensor | None = None

    def at_size(self, size: tuple[int, int]) -> 'CompetingMasks':
        other = copy.copy(self)
        other.size, other.kept, other._log_total = size, None, None
        return other

    def full_size(self, queries: Tensor) -> Tensor:
        if self._log_total is None:
            self._log_total = self.log_total(queries.device)
        return super().full_size(queries) - self._log_total

    def log_total(self, device: torch.device) -> Tensor:
        """Logarithm of the sum over all queries of their exponential logits, [H, W]."""
        total = torch.full(self.size, -math.inf, device=device)
        queries = torch.arange(self.mask_logits.num_queries, device=device)
        for part in queries.split(chunk_rows(device, self.largest_plane)):
            total = torch.logaddexp(total, super().full_size(part).logsumexp(0))
        return total

    def max_probs(self, queries: Tensor) -> Tensor:
        # the softmax of interpolated logits can exceed that of the logits
        return torch.ones(len(queries), device=queries.device)

    def all_probs(self, logits: Tensor) -> Tensor:
        return logits.softmax(0)
