"""Losses of kMaX-DeepLab at sampled pixels, and the similarities that it matches by.

Shapes: B images, P pixels of a map, k of them drawn, N segments, E embedding channels, K classes.
Shapes: B images, Q queries, N segments (columns beyond an image's count mean nothing), P pixels,
K classes.
"""
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.utils.device import chunk_rows

# added to the logits of pixels that must not be drawn
_NEVER = -99999.0


def draw_logits(areas: Tensor, temperature: float) -> Tensor:
    """Unnormalized log-probabilities [B, P] to draw pixels with.

    Args:
        areas: [B, P], pixels of the segment that each pixel belongs to, zero where there is none.
            Void pixels are drawn only when nothing else is left.
        temperature: at 1 every segment is equally likely, at 0 every pixel, above 1 small segments
            are preferred.
    """
    logits = temperature * (areas.shape[1] / areas.clamp(min=1)).log()
    return logits + _NEVER * (areas == 0)


def draw_pixels(logits: Tensor, count: int) -> Tensor:
    """Indices [B, k] of pixels drawn without putting back, by Gumbel's top-k rule.

    Args:
        logits: [B, P] unnormalized log-probabilities.
        count: k; all pixels, where there are fewer.
    """
    noise = torch.rand_like(logits)
    tiny = torch.finfo(noise.dtype).tiny
    gumbel = -(-noise.clamp(min=tiny).log()).clamp(min=tiny).log()
    return (logits + gumbel).topk(min(count, logits.shape[1]), dim=1).indices


def mean_of_nonzero(loss: Tensor) -> Tensor:
    """Sums over the last dimension divided by the number of entries that are not zero."""
    return loss.sum(-1) / (loss != 0).sum(-1).clamp(min=1)


def discrimination_loss(embeds: Tensor, targets: Tensor, temperature: float = 0.3) -> Tensor:
    """Contrast between pixels of one segment and of others (pixel-wise instance discrimination).

    Args:
        embeds: [B, E, k], of length 1 as they come out of the predictor.
        targets: [B, N, k], shares of the segments in the pixels.
        temperature: that similarities are divided by.

    Returns:
        Cross-entropy of each pixel's similarities with the others of its segment as targets, mean
        over the pixels with a segment, then over images.
    """
    # pixel i's targets are targets[:, i] . targets / weight[i]: k x k numbers that nobody needs
    area = targets.sum(2, keepdim=True)
    weight = (targets * area).sum(1)
    divisor = weight.clamp(min=1)
    means = targets.transpose(1, 2) @ (targets @ embeds.transpose(1, 2))
    attraction = (means * embeds.transpose(1, 2)).sum(2) / (divisor * temperature)
    total = _LogTotal.apply(embeds.transpose(1, 2).contiguous(), temperature)
    return mean_of_nonzero(weight / divisor * total - attraction).mean()


class _LogTotal(torch.autograd.Function):
    """Logarithms of the sums over j of exp(x_i . x_j / temperature).

    Of the symmetric k x k matrix one half is computed, a strip of rows at a time, anew for each
    direction. Strips stay in a CPU's cache, where elementwise work costs next to nothing.
    """

    @staticmethod
    def forward(ctx, embeds: Tensor, temperature: float) -> Tensor:
        # a bound of all similarities takes the place of each row's maximum
        bound = embeds.square().sum(2).amax() / temperature
        total = embeds.new_zeros(embeds.shape[:2])
        for image, rows, rest, weight in _strips(embeds, temperature, bound):
            total[image, rows] += weight.sum(1)
            total[image, rest] += weight[:, len(weight):].sum(0)
        ctx.save_for_backward(embeds, total, bound)
        ctx.temperature = temperature
        return total.log() + bound

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple:
        embeds, total, bound = ctx.saved_tensors
        scale = (grad / total / ctx.temperature)[..., None]
        # x_i acts on its own sum and on those of all others
        values = torch.cat([embeds, scale * embeds], 2)
        sums = torch.zeros_like(values)
        for image, rows, rest, weight in _strips(embeds, ctx.temperature, bound):
            sums[image, rows] += weight @ values[image, rows.start:]
            sums[image, rest] += weight[:, len(weight):].T @ values[image, rows]
        own, others = sums.chunk(2, 2)
        return scale * own + others, None


def _strips(embeds: Tensor, temperature: float,
            bound: Tensor) -> Iterator[tuple[int, slice, slice, Tensor]]:
    """Upper half of exp(x_i . x_j / temperature - bound), strip by strip.

    Yields an image, rows i, the rows after them, and the matrix for those i and all j from the
    first of them on.
    """
    batch, count = embeds.shape[:2]
    # smaller strips than a device can hold, as there is only half of a square in them
    step = chunk_rows(embeds.device, 4 * count)
    for image in range(batch):
        for start in range(0, count, step):
            stop = min(start + step, count)
            product = embeds[image, start:stop] @ embeds[image, start:].T
            yield (image, slice(start, stop), slice(stop, count),
                   product.div_(temperature).sub_(bound).exp_())


def semantic_loss(logits: Tensor, labels: Tensor, drawn: Tensor | None = None) -> Tensor:
    """Cross-entropy of a semantic map, mean over labeled pixels, then over images.

    Args:
        logits: [B, K', P].
        labels: int64 [B, P], -1 where there is no label.
        drawn: int64 [B, k], pixels to look at; by default all.
    """
    if drawn is not None:
        logits = logits.gather(2, drawn[:, None].expand(-1, logits.shape[1], -1))
        labels = labels.gather(1, drawn)
    loss = F.cross_entropy(logits, labels, ignore_index=-1, reduction='none')
    return mean_of_nonzero(loss).mean()


def sample_grid(maps: Tensor, index: Tensor, size: tuple[int, int],
                align_corners: bool) -> Tensor:
    """Pixels of bilinearly resized maps, without resizing them.

    Args:
        maps: [B, C, h, w].
        index: int64 [B, k], pixels of the resized map, row by row.
        size: (H, W) of it.
        align_corners: as for resizing.

    Returns:
        [B, C, k].
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps.flatten(2).gather(2, index[:, None].expand(-1, maps.shape[1], -1))
    row, column = index // size[1], index % size[1]
    if align_corners:
        x, y = (2 * p / max(side - 1, 1) - 1 for p, side in ((column, size[1]), (row, size[0])))
    else:
        x, y = ((2 * p + 1) / side - 1 for p, side in ((column, size[1]), (row, size[0])))
    grid = torch.stack([x, y], -1).to(maps.dtype)[:, :, None]
    return F.grid_sample(
        maps, grid, padding_mode='border', align_corners=align_corners)[..., 0]


_EPS = 1e-5


def mask_similarity(mask_logits: Tensor, targets: Tensor, only_labeled: bool = True) -> Tensor:
    """Soft Dice coefficients [B, Q, N] of masks that compete for each pixel.

    Args:
        mask_logits: [B, Q, P]; the masks are their softmax over the queries.
        targets: bool [B, N, P], or numbers in 0..1; as many as fit are looked at at a time.
        only_labeled: leave out pixels without a segment.
    """
    masks = mask_logits.softmax(1)
    if only_labeled:
        masks = masks * targets.any(1, keepdim=True)
    total = masks.sum(2)[:, :, None]
    step = chunk_rows(masks.device, len(targets) * targets.shape[2])
    similarity = []
    for part in targets.split(step, 1):
        part = part.to(masks.dtype)
        similarity.append(masks @ part.transpose(1, 2) / (
            (total + part.sum(2)[:, None]) / 2 + _EPS))
    return torch.cat(similarity, 2)


def class_similarity(cls_logits: Tensor, labels: Tensor) -> Tensor:
    """Probabilities [B, Q, N] that queries give to the segments' classes.

    Args:
        cls_logits: [B, Q, K + 1].
        labels: int64 [B, N].
    """
    index = labels[:, None].expand(-1, cls_logits.shape[1], -1)
    return torch.gather(cls_logits.softmax(-1), 2, index)
