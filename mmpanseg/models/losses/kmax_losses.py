"""Loss functions and similarities of kMaX-DeepLab, and its sampling of pixels.

Shapes: B images, Q queries, N segments of an image (padded), K classes, P pixels of a map, k of
them sampled, E embedding channels.
"""
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.structures.segment_map import SegmentBatch
from mmpanseg.utils.device import chunk_rows

# added to the logits of pixels without a segment: sampled only if no other pixel is left
_VOID_LOGIT = -99999.0
_EPS = 1e-5


def competing_dice_similarity(mask_logits: Tensor, targets: Tensor,
                              only_labeled: bool = True) -> Tensor:
    """Compute soft Dice coefficients of masks that compete for each pixel (PQ-style similarity).

    Args:
        mask_logits: [B, Q, P]; the masks are their softmax over the queries.
        targets: bool [B, N, P], or numbers in 0..1; converted in chunks of N that fit the memory.
        only_labeled: leave out the pixels without a segment.

    Returns:
        [B, Q, N] in 0..1.
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
    """Read the probability that each query assigns to each segment's class.

    Args:
        cls_logits: [B, Q, K + 1].
        labels: int64 [B, N].

    Returns:
        [B, Q, N] in 0..1.
    """
    index = labels[:, None].expand(-1, cls_logits.shape[1], -1)
    return torch.gather(cls_logits.softmax(-1), 2, index)


def mean_of_nonzero(loss: Tensor) -> Tensor:
    """Average the entries that are not zero over the last dimension; zero if there are none."""
    return loss.sum(-1) / (loss != 0).sum(-1).clamp(min=1)


def focal_cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor, alpha: float = 0.75,
                        gamma: float = 0.0, class_weight: Tensor | None = None) -> Tensor:
    """Compute a weighted focal loss over softmax classes.

    Args:
        logits: [B, Q, K + 1].
        labels: int64 [B, Q], K for "no object".
        weight: factors of the queries [B, Q].
        alpha: factor of objects, 1 - alpha is that of "no object"; below 0: no such factors.
        gamma: exponent of the modulating factor 1 - p.
        class_weight: factors of the classes [K + 1]; None: 1.

    Returns:
        Scalar: mean of the terms that are not zero over the queries, then mean over the images.
    """
    loss = F.cross_entropy(logits.transpose(1, 2), labels, reduction='none')
    if gamma:
        loss = loss * (1 - (-loss).exp()) ** gamma
    if alpha >= 0:
        loss = loss * torch.where(labels == logits.shape[2] - 1, 1 - alpha, alpha)
    if class_weight is not None:
        loss = loss * class_weight.to(loss.dtype)[labels]
    return mean_of_nonzero(loss * weight).mean()


def competing_mask_losses(mask_logits: Tensor, query: Tensor, masks: Tensor,
                          void: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute the losses of masks that are a softmax over the queries.

    Args:
        mask_logits: [B, Q, P].
        query: int64 [B, N], index of the query of each segment.
        masks: [B, N, P], shares of the segments in the pixels.
        void: bool [B, P], pixels that the dice loss leaves out; None: no pixels.

    Returns:
        Cross-entropy over the queries, mean over the pixels with a segment, [B], and dice losses
        of the segments [B, N].
    """
    image = torch.arange(len(query), device=query.device)[:, None]
    # of the unmatched queries only the softmax normalizer is needed
    log_probs = mask_logits[image, query] - mask_logits.logsumexp(1, keepdim=True)
    entropy = mean_of_nonzero(-(masks * log_probs).sum(1))
    probs = log_probs.exp()
    if void is not None:
        probs = probs * ~void[:, None]
    overlap = (probs * masks).sum(2)
    return entropy, 1 - (2 * overlap + 1) / (probs.sum(2) + masks.sum(2) + 1)


def semantic_targets(segments: SegmentBatch, stride: int) -> Tensor:
    """Read the class of every stride-th pixel; of overlapping segments the last one counts.

    Args:
        segments: ground truth of the B images, over the padded input.
        stride: distance of the pixels, at least 1.

    Returns:
        int64 [B, h, w], -1 for pixels without a segment.
    """
    height, width = (-(-side // stride) for side in segments.size)
    images = []
    for pixels, labels in zip(segments.strided_pixels(stride), segments.labels):
        if pixels.masks is None:
            assert pixels.index is not None  # one of the two forms exists
            index = pixels.index.long()
            inside = (index >= 0) & (index < len(labels))
            table = torch.cat([labels, labels.new_full((1, ), -1)])
            image = table[torch.where(inside, index, len(labels))]
        else:
            image = labels.new_full(pixels.masks.shape[1:], -1)
            for mask, label in zip(pixels.masks, labels):
                image = torch.where(mask, label, image)
        images.append(image.view(height, width))
    return torch.stack(images)


def semantic_loss(logits: Tensor, labels: Tensor, pixels: Tensor | None = None) -> Tensor:
    """Compute the cross-entropy of a semantic map.

    Args:
        logits: [B, K or K + 1, P].
        labels: int64 [B, P], -1 without a label.
        pixels: int64 [B, k], the pixels to use; None: all.

    Returns:
        Scalar: mean over the labeled pixels, then mean over the images.
    """
    if pixels is not None:
        logits = logits.gather(2, pixels[:, None].expand(-1, logits.shape[1], -1))
        labels = labels.gather(1, pixels)
    loss = F.cross_entropy(logits, labels, ignore_index=-1, reduction='none')
    return mean_of_nonzero(loss).mean()


def sampling_logits(areas: Tensor, temperature: float) -> Tensor:
    """Compute the logits of the distribution that pixels are sampled from.

    Args:
        areas: [B, P], area of the segment of each pixel, zero for pixels without a segment. Those
            are sampled only if no other pixel is left.
        temperature: 0: all pixels are equally likely; 1: all segments are; above 1: small segments
            are preferred.

    Returns:
        Unnormalized log-probabilities [B, P].
    """
    logits = temperature * (areas.shape[1] / areas.clamp(min=1)).log()
    return logits + _VOID_LOGIT * (areas == 0)


def sample_pixels(logits: Tensor, num_pixels: int) -> Tensor:
    """Sample pixels without replacement by the Gumbel top-k rule.

    Args:
        logits: unnormalized log-probabilities [B, P].
        num_pixels: k; with fewer pixels than that, all of them are returned.

    Returns:
        Indices int64 [B, k].
    """
    noise = torch.rand_like(logits)
    tiny = torch.finfo(noise.dtype).tiny
    gumbel = -(-noise.clamp(min=tiny).log()).clamp(min=tiny).log()
    return (logits + gumbel).topk(min(num_pixels, logits.shape[1]), dim=1).indices


def sample_grid(maps: Tensor, pixels: Tensor, size: tuple[int, int],
                align_corners: bool) -> Tensor:
    """Read pixels of bilinearly resized maps without resizing the maps.

    Args:
        maps: [B, C, h, w].
        pixels: int64 [B, k], indices of pixels of the resized map, row by row.
        size: (H, W) of the resized map.
        align_corners: corner rule of the resizing.

    Returns:
        [B, C, k].
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps.flatten(2).gather(2, pixels[:, None].expand(-1, maps.shape[1], -1))
    row, column = pixels // size[1], pixels % size[1]
    if align_corners:
        x, y = (2 * p / max(side - 1, 1) - 1 for p, side in ((column, size[1]), (row, size[0])))
    else:
        x, y = ((2 * p + 1) / side - 1 for p, side in ((column, size[1]), (row, size[0])))
    grid = torch.stack([x, y], -1).to(maps.dtype)[:, :, None]
    return F.grid_sample(
        maps, grid, padding_mode='border', align_corners=align_corners)[..., 0]


def discrimination_loss(embeds: Tensor, targets: Tensor, temperature: float = 0.3) -> Tensor:
    """Contrast the pixels of one segment with those of others (pixel-wise instance discrimination).

    The loss of a pixel is the cross-entropy of the softmax of its similarities with all pixels;
    its targets are the pixels of its own segment.

    Args:
        embeds: [B, E, k], of length 1.
        targets: [B, N, k], shares of the segments in the pixels.
        temperature: divisor of the similarities.

    Returns:
        Scalar: mean over the pixels with a segment, then mean over the images.
    """
    # the targets of pixel i are targets[:, i] . targets / weight[i]; as a product of sums the k x k
    # matrix of targets is never computed
    area = targets.sum(2, keepdim=True)
    weight = (targets * area).sum(1)
    divisor = weight.clamp(min=1)
    means = targets.transpose(1, 2) @ (targets @ embeds.transpose(1, 2))
    attraction = (means * embeds.transpose(1, 2)).sum(2) / (divisor * temperature)
    total = _LogSumExp.apply(embeds.transpose(1, 2).contiguous(), temperature)
    return mean_of_nonzero(weight / divisor * total - attraction).mean()


class _LogSumExp(torch.autograd.Function):
    """Logarithms of the sums over j of exp(x_i . x_j / temperature), [B, k, E] -> [B, k].

    The k x k matrix is symmetric, so one half of it is computed, a strip of rows at a time, and
    again in the backward pass. A strip stays in the cache of a CPU.
    """

    @staticmethod
    def forward(ctx, embeds: Tensor, temperature: float) -> Tensor:
        # one bound of all similarities replaces the maximum of each row
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
        # x_i is in its own sum and in the sums of all others
        values = torch.cat([embeds, scale * embeds], 2)
        sums = torch.zeros_like(values)
        for image, rows, rest, weight in _strips(embeds, ctx.temperature, bound):
            sums[image, rows] += weight @ values[image, rows.start:]
            sums[image, rest] += weight[:, len(weight):].T @ values[image, rows]
        own, others = sums.chunk(2, 2)
        return scale * own + others, None


def _strips(embeds: Tensor, temperature: float,
            bound: Tensor) -> Iterator[tuple[int, slice, slice, Tensor]]:
    """Compute the upper half of exp(x_i . x_j / temperature - bound), strip by strip.

    Yields:
        The image, rows i, the rows after them, and the matrix of those i and all j from the first
        of them on.
    """
    batch, count = embeds.shape[:2]
    # smaller than the memory allows: the square of a strip on the diagonal is computed in full
    step = chunk_rows(embeds.device, 4 * count)
    for image in range(batch):
        for start in range(0, count, step):
            stop = min(start + step, count)
            product = embeds[image, start:stop] @ embeds[image, start:].T
            yield (image, slice(start, stop), slice(stop, count),
                   product.div_(temperature).sub_(bound).exp_())
