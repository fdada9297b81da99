"""Assignment of pixels to queries, by arg-max over masks or mask by mask.

Shapes: k queries; m of them at a time; H, W result.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmpanseg.models.inference.full_size_masks import OutputMasks

# elements of masks to compare at once; pixels of a mask are counted in single precision
_STRIP_ON_CPU, _STRIP_ELSEWHERE = 1 << 18, 1 << 24


def assign_by_argmax(scores: Tensor, queries: Tensor,
                     masks: OutputMasks) -> tuple[Tensor, Tensor, Tensor]:
    """Assign each pixel to the query with the largest score x mask probability.

    Works on a few masks and rows at a time.

    Args:
        scores: [k], weights of the queries.
        queries: int64 [k].
        masks: masks of all queries.

    Returns:
        winner int32 [H, W], position in ``queries`` of the winning query (the first one on ties);
        inside bool [H, W], whether the winner's own mask is at least 0.5 there; area int64 [k],
        pixels of each mask that are at least 0.5.
    """
    count = len(queries)
    best = scores.new_full(masks.size, -1.0)
    winner = torch.zeros(masks.size, dtype=torch.int32, device=scores.device)
    inside = torch.zeros(masks.size, dtype=torch.bool, device=scores.device)
    area = torch.zeros(count, dtype=torch.long, device=scores.device)
    if not count:
        return winner, inside, area
    # earlier queries have larger codes; the last bit is for "inside"
    codes = 2 * torch.arange(count, 0, -1, device=scores.device).to(scores.dtype)
    start = 0
    for logits in masks.chunks(queries):
        part = slice(start, start + len(logits))
        step = strip_rows(logits)
        for strip, *planes in zip(logits.split(step, dim=1), *(
                plane.split(step) for plane in (best, winner, inside))):
            top, code, pixels = _best_of(
                masks.activation.probs(strip), scores[part], codes[part])
            area[part] += pixels
            _update(planes, top, code.int(), count)
        start += len(logits)
    return winner, inside, area


def _best_of(masks: Tensor, scores: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Largest weighted mask [h, W], its code plus 1 where it is inside, and pixels inside [m].

    Codes have the type of the masks [m, h, W]: on a CPU, comparisons with such results are several
    times as fast as comparisons with bool results, and as selection by these.
    """
    weighted = masks * scores[:, None, None]
    inside = masks.ge_(0.5)
    pixels = inside.sum((1, 2)).long()
    top = weighted.amax(0)
    return top, weighted.eq_(top).mul_(inside.add_(codes[:, None, None])).amax(0), pixels


def _update(planes: Sequence[Tensor], top: Tensor, code: Tensor, count: int) -> None:
    """Replace the planes (best, winner, inside) where a mask of the current chunk is larger."""
    best, winner, inside = planes
    better = top > best
    torch.where(better, top, best, out=best)
    torch.where(better, count - (code >> 1), winner, out=winner)
    torch.where(better, (code & 1).bool(), inside, out=inside)


def strip_rows(logits: Tensor) -> int:
    """Rows of masks [m, H, W] to compare at once, so that a CPU keeps them in its caches."""
    limit = _STRIP_ON_CPU if logits.device.type == 'cpu' else _STRIP_ELSEWHERE
    return max(1, limit // max(1, logits.shape[0] * logits.shape[2]))


class OrderedAssignment(NamedTuple):
    """Result of :func:`assign_in_order`.

    Attributes:
        owner: int32 [H, W], 0 = free, i + 1 = the i-th query.
        areas: int64 [k], pixels assigned to each query.
        accepted: bool [k], queries with a large enough free share.
        free: int64 [k], pixels of each mask that were still free.
        totals: int64 [k], pixels of each mask.
    """
    owner: Tensor
    areas: Tensor
    accepted: Tensor
    free: Tensor
    totals: Tensor


def assign_in_order(masks: OutputMasks, queries: Tensor, min_free: Tensor,
                    strictly: bool = False) -> OrderedAssignment:
    """Assign to one mask after the other those of its pixels that are still free.

    Args:
        masks: masks of all queries; pixels above the threshold of their activation are inside.
        queries: int64 [k], in order of precedence.
        min_free: [k], least share of each mask that must be free; otherwise it gets no pixel.
        strictly: whether the free share must exceed ``min_free``.
    """
    enough = torch.gt if strictly else torch.ge
    owner = torch.zeros(masks.size, dtype=torch.int32, device=queries.device)
    if not len(queries):
        return OrderedAssignment(owner, queries, queries.bool(), queries, queries)
    vacant = torch.ones(masks.size, dtype=torch.bool, device=queries.device)
    steps: list[tuple[Tensor, Tensor, Tensor]] = []
    for logits in masks.chunks(queries):
        for mask in logits > masks.activation.threshold:
            total = mask.sum()
            free = mask.logical_and_(vacant)
            count = free.sum()
            # without a branch, for which the host would wait: a refused mask gets no pixel
            accepted = enough(count, min_free[len(steps)] * total)
            # on a CPU several times as fast as a selection by a mask
            taken = free.logical_and_(accepted)
            vacant.logical_xor_(taken)
            owner.add_(taken, alpha=len(steps) + 1)
            steps.append((accepted, count, total))
    accepted, free, totals = (torch.stack(column) for column in zip(*steps))
    return OrderedAssignment(owner, free * accepted, accepted, free, totals)
