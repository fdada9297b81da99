"""kMaX-DeepLab's criterion: PQ-style losses of masks that compete for pixels.

Shapes: L predictions, B images, Q queries, N segments of an image (padded), K classes, P pixels of
the last prediction's map.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmpanseg.models.layers.bilinear_resize import ALIGN_CORNERS, resize
from mmpanseg.models.layers.precision import without_autocast
from mmpanseg.models.losses.base import read_class_weight
from mmpanseg.models.losses.kmax_losses import (
    class_similarity,
    discrimination_loss,
    draw_logits,
    draw_pixels,
    mask_similarity,
    mean_of_nonzero,
    sample_grid,
    semantic_loss,
)
from mmpanseg.models.losses.mask_criterion import name_by_layer, pad_labels
from mmpanseg.models.task_modules.bipartite_matching import OneToOneAssigner, build_assigner
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import at_least_float
from mmpanseg.structures.segment_grids import SegmentPixels
from mmpanseg.structures.segment_map import SegmentBatch
from mmpanseg.utils.config_checks import resolve_option


class KMaXPrediction(NamedTuple):
    """Class logits [B, Q, K + 1], mask logits [B, Q, h, w], unit pixel vectors [B, E, h, w]."""
    cls_logits: Tensor
    mask_logits: Tensor
    pixel_embeds: Tensor

    def float(self) -> 'KMaXPrediction':
        """In single precision at least."""
        return KMaXPrediction(*map(at_least_float, self))


# no weight of a loss is smaller
_MIN_WEIGHT = 1e-5
_STRIDES = (1, 2, 4, 8, 16, 32)


class GroundTruth(NamedTuple):
    """Segments at the pixels of the last prediction.

    Attributes:
        pixels: of each image.
        labels: int64 [B, N].
    """
    pixels: Sequence[SegmentPixels]
    labels: Tensor

    @property
    def counts(self) -> list[int]:
        """Segments of each image."""
        return [pixels.count for pixels in self.pixels]


class ImageTargets(NamedTuple):
    """Matched segments of one image.

    Attributes:
        pixels: of all its segments.
        query, segment: int64 [M], the pairs, by segment.
        weight: [M], probability that the query gives to the segment's class.
        sharing: [P], number of matched segments that have a pixel, at least 1.
    """
    pixels: SegmentPixels
    query: Tensor
    segment: Tensor
    weight: Tensor
    sharing: Tensor

    def shares(self, pixel: Tensor | None = None) -> Tensor:
        """Share of each matched segment in some pixels int64 [k], by default in all, [M, k].

        They sum to 1 or, on void pixels, to 0.
        """
        sharing = self.sharing if pixel is None else self.sharing[pixel]
        return self.pixels.masks_at(self.segment, pixel).to(sharing.dtype) / sharing


class MatchedTargets(NamedTuple):
    """What one prediction learns from, given which query each segment has been matched with.

    Attributes:
        images: of each image.
        labels: int64 [B, Q], K for queries without a segment.
        cls_weight: [B, Q].
        void: bool [B, P], pixels without a matched segment.
        areas: [B, P], area of the segment of each pixel, zero on void.
    """
    images: Sequence[ImageTargets]
    labels: Tensor
    cls_weight: Tensor
    void: Tensor
    areas: Tensor


@MODELS.register_module()
class KMaXCriterion(BaseModule):
    """Losses of kMaX-DeepLab against one matching by PQ-style similarity (section 3).

    The defaults are the published ones for COCO and ADE20K; Cityscapes has
    ``pixel_temperature=0.6`` and ``num_semantic_pixels=0``.

    Args:
        num_classes: K.
        cls_weight, mask_weight, dice_weight, pixel_weight, semantic_weight: of the losses.
        alpha, gamma: of the focal class loss; alpha for queries with a segment, 1 - alpha without.
        num_pixels: drawn from each image for instance discrimination, anew for every prediction.
        pixel_temperature: how much small segments are preferred, see :func:`draw_logits`.
        similarity_temperature: that similarities of pixels are divided by.
        num_semantic_pixels, semantic_temperature: the same for the semantic loss; 0 = all pixels.
        share_matching: all predictions learn from the matching of the last one.
        mask_void: void pixels take no part in matching and dice loss.
        align_corners: rule for resizing the layers' predictions: 'odd' (PyTorch version: where the
            last map's height is odd) or 'always' (TensorFlow version).
        class_weight: of the classes in the class loss, K numbers, or K + 1 with that of "no
            object" as the last; by default 1. Like alpha it multiplies the terms, whose number
            is still what the loss is divided by.
        assigner: config.
    """

    def __init__(self, num_classes: int, cls_weight: float = 3.0, mask_weight: float = 0.3,
                 dice_weight: float = 3.0, pixel_weight: float = 1.0, semantic_weight: float = 1.0,
                 alpha: float = 0.75, gamma: float = 0.0, num_pixels: int = 4096,
                 pixel_temperature: float = 1.5, similarity_temperature: float = 0.3,
                 num_semantic_pixels: int = 4096, semantic_temperature: float = 2.0,
                 share_matching: bool = True, mask_void: bool = True, align_corners: str = 'odd',
                 class_weight: Sequence[float] | None = None,
                 assigner: dict = dict(type='mmpanseg.OneToOneAssigner')) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.weights = dict(loss_cls=cls_weight, loss_mask=mask_weight, loss_dice=dice_weight,
                            loss_pixel=pixel_weight)
        self.semantic_weight = semantic_weight
        self.alpha, self.gamma = alpha, gamma
        self.num_pixels = num_pixels
        self.pixel_temperature = pixel_temperature
        self.similarity_temperature = similarity_temperature
        self.num_semantic_pixels = num_semantic_pixels
        self.semantic_temperature = semantic_temperature
        self.share_matching = share_matching
        self.mask_void = mask_void
        self.align_corners = resolve_option('criterion.align_corners', align_corners, ALIGN_CORNERS)
        self.assigner = build_assigner(assigner, OneToOneAssigner)
        # derived from the config, so it is no part of a checkpoint
        self.register_buffer('class_weight', None if class_weight is None else read_class_weight(
            class_weight, num_classes, 1.0), persistent=False)

    def forward(self, predictions: Sequence[KMaXPrediction], semantic_logits: Tensor | None,
                segments: SegmentBatch) -> dict[str, Tensor]:
        """Losses by name, ``loss_*`` for the last prediction and ``d{i}.loss_*`` for the others.

        Args:
            predictions: L of them, the last one at the size that the losses are taken at.
            semantic_logits: [B, K or K + 1, h, w] of the auxiliary head, None for none.
            segments: ground truth of the B images; images without any are fine.
        """
        with without_autocast(predictions[0].mask_logits.device):
            predictions = [prediction.float() for prediction in predictions]
            size = tuple(predictions[-1].mask_logits.shape[-2:])
            stride = subsampling(segments.size, size)
            truth = GroundTruth(segments.strided_pixels(stride), pad_labels(segments.labels))
            last = targets = self.match(predictions[-1], truth, size)
            losses = []
            for prediction in predictions:
                if not self.share_matching and prediction is not predictions[-1]:
                    targets = self.match(prediction, truth, size)
                else:
                    targets = last
                losses.append(self.losses(prediction, targets, size))
            named = name_by_layer({
                name: weight * torch.stack([loss[name] for loss in losses])
                for name, weight in self.weights.items()})
            if semantic_logits is not None:
                named['loss_semantic'] = self.semantic_weight * self.loss_semantic(
                    at_least_float(semantic_logits), segments, last, size)
        return named

    def resize(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps [B, C, h, w] at the pixels of the last prediction, [B, C, P]."""
        return resize(maps, size, self.align_corners(size[0])).flatten(2)

    @torch.no_grad()
    def match(self, prediction: KMaXPrediction, truth: GroundTruth,
              size: tuple[int, int]) -> MatchedTargets:
        """Match by the product of mask and class similarity; weights come from the same numbers."""
        cls_logits = prediction.cls_logits
        classes = class_similarity(cls_logits, truth.labels)
        masks, compared = self.mask_similarities(prediction.mask_logits, truth, size)
        matches = self.assigner(-(compared * classes)[None], truth.counts)
        image, query, segment = matches.rows.image, matches.rows.query, matches.segment
        labels = torch.full(cls_logits.shape[:2], self.num_classes, device=cls_logits.device)
        labels[image, query] = truth.labels[image, segment]
        weight = classes[image, query, segment].clamp(min=_MIN_WEIGHT)
        images, void, areas = [], [], []
        for pixels, *pairs in zip(truth.pixels, *(
                x.split(matches.rows.splits) for x in (query, segment, weight))):
            order = pairs[1].argsort()
            sharing = pixels.masks_at(pairs[1]).sum(0)
            images.append(ImageTargets(pixels, *(x[order] for x in pairs),
                                       sharing.clamp(min=1).to(weight.dtype)))
            void.append(sharing == 0)
            shares = images[-1].shares()
            areas.append((shares * shares.sum(1, keepdim=True)).sum(0))
        void = torch.stack(void)
        # what a query without a segment has of its mask on void pixels
        soft = self.resize(prediction.mask_logits, size).softmax(1)
        on_void = (soft @ void.to(soft.dtype)[..., None])[..., 0] / (soft.sum(2) + 1e-5)
        on_void[image, query] = masks[image, query, segment]
        return MatchedTargets(images, labels, on_void.clamp(min=_MIN_WEIGHT),
                              void, torch.stack(areas))

    def mask_similarities(self, mask_logits: Tensor, truth: GroundTruth,
                          size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Similarities [B, Q, N] on labeled pixels, and those to match by; zeros beyond a count.

        One image has masks at a time.
        """
        labeled, compared = (mask_logits.new_zeros(
            *mask_logits.shape[:2], truth.labels.shape[1]) for _ in range(2))
        for number, pixels in enumerate(truth.pixels):
            logits = self.resize(mask_logits[number:number + 1], size)
            masks = pixels.masks_at()[None]
            labeled[number, :, :pixels.count] = mask_similarity(logits, masks)[0]
            if not self.mask_void:
                compared[number, :, :pixels.count] = mask_similarity(logits, masks, False)[0]
        return labeled, labeled if self.mask_void else compared

    def losses(self, prediction: KMaXPrediction, targets: MatchedTargets,
               size: tuple[int, int]) -> dict[str, Tensor]:
        """Unweighted losses of one prediction by name."""
        # resized logits are large and quickly made, so they are not kept for the backward pass,
        # and one image has them at a time
        mask, dice = (torch.stack(values).mean() for values in zip(*(
            checkpoint(self.mask_losses, logits, image, void, size, use_reentrant=False,
                       preserve_rng_state=False)
            for logits, image, void in zip(
                prediction.mask_logits.split(1), targets.images, targets.void))))
        dice = 0.75 / prediction.mask_logits.shape[1] * dice
        cls = focal_cross_entropy(prediction.cls_logits, targets.labels, targets.cls_weight,
                                  self.alpha, self.gamma, self.class_weight)
        return dict(loss_cls=cls, loss_mask=mask, loss_dice=dice,
                    loss_pixel=self.loss_pixel(prediction.pixel_embeds, targets, size))

    def mask_losses(self, mask_logits: Tensor, targets: ImageTargets, void: Tensor,
                    size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Cross-entropy over the queries and sum of the matched ones' weighted dice losses.

        Args:
            mask_logits: [1, Q, h, w] of an image.
            targets: of that image.
            void: bool [P].
        """
        entropy, dice = competing_mask_losses(
            self.resize(mask_logits, size), targets.query[None], targets.shares()[None],
            void[None] if self.mask_void else None)
        # as many terms as segments: those without a query are zero
        terms = dice.new_zeros(targets.pixels.count).index_add(
            0, targets.segment, dice[0] * targets.weight)
        return entropy[0], terms.sum()

    def loss_pixel(self, pixel_embeds: Tensor, targets: MatchedTargets,
                   size: tuple[int, int]) -> Tensor:
        """Instance discrimination at pixels drawn anew."""
        drawn = draw_pixels(draw_logits(targets.areas, self.pixel_temperature), self.num_pixels)
        embeds = sample_grid(pixel_embeds, drawn, size, self.align_corners(size[0]))
        shares = nn.utils.rnn.pad_sequence([
            image.shares(pixel) for image, pixel in zip(targets.images, drawn)], True)
        return discrimination_loss(embeds, shares, self.similarity_temperature)

    def loss_semantic(self, logits: Tensor, segments: SegmentBatch, targets: MatchedTargets,
                      size: tuple[int, int]) -> Tensor:
        """Auxiliary semantic loss at pixels drawn like those above, or at all of its pixels."""
        labels = semantic_labels(segments, subsampling(segments.size, tuple(logits.shape[-2:])))
        drawn = None
        if self.num_semantic_pixels:
            if tuple(logits.shape[-2:]) != size:
                raise ValueError(
                    'criterion.num_semantic_pixels draws pixels of the last mask prediction, of '
                    f'size {size}, but the semantic head predicts {tuple(logits.shape[-2:])}; set '
                    'num_semantic_pixels=0 to use all pixels')
            drawn = draw_pixels(
                draw_logits(targets.areas, self.semantic_temperature), self.num_semantic_pixels)
        return semantic_loss(logits.flatten(2), labels.flatten(1), drawn)


def subsampling(size: tuple[int, int], map_size: tuple[int, int]) -> int:
    """Stride that takes a padded input's pixels 0, s, 2 s, ... to those of a map.

    Raises:
        ValueError: no stride does.
    """
    for stride in _STRIDES:
        if tuple(-(-side // stride) for side in size) == tuple(map_size):
            return stride
    raise ValueError(f'no stride takes an input of size {tuple(size)} to a map of size '
                     f'{tuple(map_size)}: the backbone must halve sizes and round up')


def semantic_labels(segments: SegmentBatch, stride: int) -> Tensor:
    """Class of every stride-th pixel, int64 [B, h, w], -1 without one; the last segment wins."""
    height, width = (-(-side // stride) for side in segments.size)
    images = []
    for pixels, labels in zip(segments.strided_pixels(stride), segments.labels):
        if pixels.masks is None:
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


def focal_cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor, alpha: float = 0.75,
                        gamma: float = 0.0, class_weight: Tensor | None = None) -> Tensor:
    """Weighted focal loss over softmax classes.

    Args:
        logits: [B, Q, K + 1].
        labels: int64 [B, Q], K for no object.
        weight: [B, Q].
        alpha: factor for objects, 1 - alpha for no object; below 0 for no such factor.
        gamma: exponent of 1 - probability.
        class_weight: [K + 1] factors of the classes, None for none.

    Returns:
        Sum over the queries divided by the number of terms that are not zero, mean over images.
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
    """Losses of masks that are a softmax over the queries.

    Args:
        mask_logits: [B, Q, P].
        query: int64 [B, N], query of each segment.
        masks: [B, N, P], shares of the segments in the pixels.
        void: bool [B, P], pixels that the dice loss leaves out, or None for none.

    Returns:
        cross-entropy over the queries [B], mean over pixels with a segment, and dice losses of the
        segments [B, N].
    """
    image = torch.arange(len(query), device=query.device)[:, None]
    # of all queries only the normalizer is needed, beside the matched ones
    log_probs = mask_logits[image, query] - mask_logits.logsumexp(1, keepdim=True)
    entropy = mean_of_nonzero(-(masks * log_probs).sum(1))
    probs = log_probs.exp()
    if void is not None:
        probs = probs * ~void[:, None]
    overlap = (probs * masks).sum(2)
    return entropy, 1 - (2 * overlap + 1) / (probs.sum(2) + masks.sum(2) + 1)
