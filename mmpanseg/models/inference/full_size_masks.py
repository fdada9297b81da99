"""Mask logits at the size of the result, a few queries or a few rows at a time.

Shapes: Q queries; h, w mask logits; H, W result.
Shapes: Q queries; h, w mask logits; H, W result.
"""
import copy
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.utils.device import chunk_rows


def softmax_scores(cls_logits: Tensor) -> Tensor:
    """Probabilities [..., Q, K + 1] of logits [..., Q, K + 1], "no object" last."""
    return cls_logits.softmax(-1)


def sigmoid_scores(cls_logits: Tensor) -> Tensor:
    """Scores [..., Q, K + 1] of logits [..., Q, K], each class by itself; "no object" has 0."""
    return F.pad(cls_logits.sigmoid(), (0, 1))


class MaskActivation(NamedTuple):
    """How mask logits are read.

    ``probs`` makes masks in 0 .. 1 of them; ``half`` is the logit at which a mask is 0.5.
    """
    probs: Callable[[Tensor], Tensor]
    half: float


SIGMOID = MaskActivation(torch.sigmoid, 0.0)
# masks that a head gives as they are, such as those read off attention maps
NONE = MaskActivation(torch.clone, 0.5)

SCORE_ACTIVATIONS = dict(softmax=softmax_scores, sigmoid=sigmoid_scores)
MASK_ACTIVATIONS = dict(sigmoid=SIGMOID, none=NONE)


FLIPPED_DIMS = {'horizontal': (-1, ), 'vertical': (-2, ), 'diagonal': (-2, -1)}

# first and last + 1 row -> those rows of something
ReadRows = Callable[[int, int], Tensor]


class FullSizeMasks:
    """Mask logits of one image, resized to the result's size on demand.

    Resized as all queries at once would be (to the padded input, cut to the image, to the
    original size), but only a chunk of queries or of rows has pixels at any time.

    Args:
        mask_logits: of the batch; the last prediction is read.
        image: index in the batch.
        metainfo: of the image: ``batch_input_shape``, ``img_shape``, ``ori_shape``; with
            ``unflip`` also ``flip`` and ``flip_direction``.
        rescale: to ``ori_shape``, else to ``img_shape``.
        unflip: undo the flip that the pipeline applied to the image.
        activation: how the logits are read.
        resize_once: straight to the result's size, as Panoptic SegFormer does. Padding is then
            cut off before, which is exact where its edge is one of the logits' pixels too.
        align_corners: in both resizings.
    """

    def __init__(self, mask_logits: MaskLogits, image: int, metainfo: dict,
                 rescale: bool = True, unflip: bool = False,
                 activation: MaskActivation = SIGMOID, resize_once: bool = False,
                 align_corners: bool = False) -> None:
        self.mask_logits = mask_logits
        self.image = image
        self.activation = activation
        self.align_corners = align_corners
        self.padded = tuple(metainfo['batch_input_shape'])
        self.cut = tuple(metainfo['img_shape'][:2])
        self.size = tuple(metainfo['ori_shape'][:2]) if rescale else self.cut
        if resize_once:
            self.cut = tuple(-(-cut * own // padded) for cut, own, padded in zip(
                self.cut, mask_logits.size, self.padded))
            self.padded = tuple(mask_logits.size)
        flipped = unflip and metainfo.get('flip')
        self.flipped_dims = FLIPPED_DIMS[metainfo['flip_direction']] if flipped else ()

    def at_size(self, size: tuple[int, int]) -> 'FullSizeMasks':
        """The same masks for a result of another size."""
        other = copy.copy(self)
        other.size = size
        return other

    def chunks(self, queries: Tensor) -> Iterator[Tensor]:
        """Logits [m, H, W] of the queries in order, m of them at a time."""
        largest = max(self.size[0] * self.size[1], self.padded[0] * self.padded[1])
        for part in queries.split(chunk_rows(queries.device, largest)):
            yield self.full(part)

    def full(self, queries: Tensor) -> Tensor:
        """Logits [m, H, W] of all the queries at once."""
        logits = self.mask_logits.dense(-1, self.image, queries)
        logits = _resize(logits, self.padded, self.align_corners)
        logits = logits[:, :self.cut[0], :self.cut[1]]
        return self.unflip(_resize(logits, self.size, self.align_corners))

    def peaks(self, queries: Tensor) -> Tensor:
        """Masks at their largest logit, [n]; resizing goes nowhere above it."""
        step = chunk_rows(queries.device, self.mask_logits.size[0] * self.mask_logits.size[1])
        return self.activation.probs(torch.cat(
            [self.coarse(part).flatten(1).amax(1) for part in queries.split(step)]))

    def all_probs(self, logits: Tensor) -> Tensor:
        """Masks of all queries, [Q, ...], from logits of all of them."""
        return self.activation.probs(logits)

    def unflip(self, x: Tensor) -> Tensor:
        """Turn [..., H, W] of the network's image into that of the original one."""
        return x.flip(self.flipped_dims) if self.flipped_dims else x

    def own_rows(self, start: int, stop: int) -> tuple[int, int]:
        """Where rows of the original image lie in the network's, which may be upside down."""
        if -2 in self.flipped_dims:
            return self.size[0] - stop, self.size[0] - start
        return start, stop

    def coarse(self, queries: Tensor) -> Tensor:
        """Logits [m, h, w] before any resizing; smaller than the network's own maps."""
        return self.mask_logits.dense(-1, self.image, queries)

    def cut_rows(self, coarse: Tensor, start: int, stop: int) -> Tensor:
        """Some rows at the size of the network's image, [m, stop - start, cut width]."""
        height = coarse.shape[1]
        first, last = source_rows(start, stop, height, self.padded[0], self.align_corners)
        rows = resize_rows(coarse[:, first:last], first, height, self.padded, start, stop,
                           self.align_corners)
        return rows[..., :self.cut[1]]

    def result_rows(self, coarse: Tensor, start: int, stop: int) -> Tensor:
        """Some rows of the result, [m, stop - start, W], in the network's orientation."""
        return self.resize_cut(lambda *rows: self.cut_rows(coarse, *rows), start, stop)

    def resize_cut(self, read: ReadRows, start: int, stop: int) -> Tensor:
        """Rows of the result from planes at the size of the network's image.

        Args:
            read: gives some of their rows.
            start, stop: rows of the result, in the network's orientation.
        """
        first, last = source_rows(start, stop, self.cut[0], self.size[0], self.align_corners)
        return resize_rows(read(first, last), first, self.cut[0], self.size, start, stop,
                           self.align_corners)


def source_rows(start: int, stop: int, in_rows: int, out_rows: int,
                align_corners: bool = False) -> tuple[int, int]:
    """First and last + 1 row of the input that bilinear resizing reads for some output rows."""
    if in_rows == out_rows:
        return start, stop
    lower, upper, _ = _row_weights(
        torch.tensor([start, stop - 1]), in_rows, out_rows, align_corners)
    return int(lower[0]), int(upper[1]) + 1


def resize_rows(planes: Tensor, first: int, in_rows: int, size: tuple[int, int], start: int,
                stop: int, align_corners: bool = False) -> Tensor:
    """Some rows of bilinearly resized planes, from the rows that matter only.

    Args:
        planes: [m, n, w], rows from ``first`` on of planes that have ``in_rows``.
        size: (H, W) of the whole result.
        start, stop: rows of the result.
        align_corners: see there.

    Returns:
        [m, stop - start, W], as ``torch.nn.functional.interpolate`` of the whole gives, to the
        last rounding.
    """
    if planes.shape[2] != size[1]:
        planes = F.interpolate(
            planes[None], (planes.shape[1], size[1]), mode='bilinear',
            align_corners=align_corners)[0]
    if in_rows == size[0]:
        return planes[:, start - first:stop - first]
    rows = torch.arange(start, stop, device=planes.device)
    lower, upper, weight = _row_weights(rows, in_rows, size[0], align_corners)
    weight = weight.to(planes.dtype)[:, None]
    return planes[:, lower - first].mul_(1 - weight).addcmul_(planes[:, upper - first], weight)


def _row_weights(rows: Tensor, in_rows: int, out_rows: int,
                 align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Input rows that output rows lie between, and the weight of the second one.

    Positions are rounded to single precision where torch rounds them: on tall images that moves
    values by more than their own rounding.
    """
    if align_corners:
        scale = float(torch.tensor(in_rows - 1, dtype=torch.float32) / max(out_rows - 1, 1))
        position = (rows.double() * scale).float()
    else:
        scale = float(torch.tensor(in_rows, dtype=torch.float32) / out_rows)
        position = ((rows.double() + 0.5) * scale - 0.5).float().clamp(min=0)
    lower = position.long().clamp(max=in_rows - 1)
    return lower, (lower + 1).clamp(max=in_rows - 1), (position - lower).clamp(max=1)


def _resize(logits: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    if tuple(logits.shape[-2:]) == size or not len(logits):
        return logits.new_empty(0, *size) if not len(logits) else logits
    return F.interpolate(logits[None], size, mode='bilinear', align_corners=align_corners)[0]


def competing_activation(threshold: float) -> MaskActivation:
    """Reads log-probabilities; a query has a pixel where its probability is above a threshold."""
    return MaskActivation(torch.exp, math.log(threshold))


class CompetingMasks(FullSizeMasks):
    """Log-probabilities of one image's masks, in place of logits; see :class:`FullSizeMasks`.

    The softmax is taken at the size of the result, as published: over logits that have been
    resized. All queries are needed for it, but never at a time: their total is summed up once.
    """

    _log_total: Tensor | None = None

    def at_size(self, size: tuple[int, int]) -> 'CompetingMasks':
        other = copy.copy(self)
        other.size, other._log_total = size, None
        return other

    def full(self, queries: Tensor) -> Tensor:
        if self._log_total is None:
            self._log_total = self.log_total(queries.device)
        return super().full(queries) - self._log_total

    def log_total(self, device: torch.device) -> Tensor:
        """Logarithm of the sum of all queries' exponentials, [H, W]."""
        total = torch.full(self.size, -math.inf, device=device)
        largest = max(self.size[0] * self.size[1], self.padded[0] * self.padded[1])
        queries = torch.arange(self.mask_logits.num_queries, device=device)
        for part in queries.split(chunk_rows(device, largest)):
            total = torch.logaddexp(total, super().full(part).logsumexp(0))
        return total

    def peaks(self, queries: Tensor) -> Tensor:
        # a softmax of resized logits may be above those of its neighbors
        return torch.ones(len(queries), device=queries.device)

    def all_probs(self, logits: Tensor) -> Tensor:
        return logits.softmax(0)
