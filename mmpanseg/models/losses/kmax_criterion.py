"""Criterion of kMaX-DeepLab: PQ-style losses of masks that compete for pixels.

Shapes: L predictions, B images, Q queries, N segments of an image (padded), K classes, P pixels of
the last prediction's map, M matched segments of an image, E embedding channels.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmpanseg.models.layers.bilinear_resize import ALIGN_CORNERS, resize
from mmpanseg.models.layers.precision import without_autocast
from mmpanseg.models.losses.base import PanopticCriterion, pad_labels
from mmpanseg.models.losses.kmax_losses import (
    class_similarity,
    competing_dice_similarity,
    competing_mask_losses,
    discrimination_loss,
    focal_cross_entropy,
    sample_grid,
    sample_pixels,
    sampling_logits,
    semantic_loss,
    semantic_targets,
)
from mmpanseg.models.task_modules.bipartite_matching import (
    Assigner,
    OneToOneAssigner,
    build_assigner,
)
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import at_least_float
from mmpanseg.structures.segment_grids import SegmentPixels
from mmpanseg.structures.segment_map import SegmentBatch
from mmpanseg.utils.config_checks import resolve_option

# lower bound of the similarities that weight the losses
_MIN_WEIGHT = 1e-5
_STRIDES = (1, 2, 4, 8, 16, 32)


class KMaXPrediction(NamedTuple):
    """One prediction.

    Attributes:
        cls_logits: [B, Q, K + 1].
        mask_logits: [B, Q, h, w].
        pixel_embeds: [B, E, h, w], of length 1 at every pixel.
    """
    cls_logits: Tensor
    mask_logits: Tensor
    pixel_embeds: Tensor

    def float(self) -> 'KMaXPrediction':
        """Convert half precision to float32."""
        return KMaXPrediction(*map(at_least_float, self))


class MatchedSegments(NamedTuple):
    """Matched segments of one image, in the order of the annotation.

    Attributes:
        pixels: pixels of all segments of the image.
        query: int64 [M], index of the query of each matched segment.
        segment: int64 [M], index of the segment.
        weight: [M], probability that the query assigns to the segment's class.
        overlap: [P], number of matched segments that contain a pixel, at least 1.
    """
    pixels: SegmentPixels
    query: Tensor
    segment: Tensor
    weight: Tensor
    overlap: Tensor

    def shares(self, pixel: Tensor | None = None) -> Tensor:
        """Divide each pixel among the matched segments that contain it.

        Args:
            pixel: int64 [k], the pixels to read; None: all P.

        Returns:
            [M, k]; a column sums to 1, or to 0 at a void pixel.
        """
        overlap = self.overlap if pixel is None else self.overlap[pixel]
        return self.pixels.masks_at(self.segment, pixel).to(overlap.dtype) / overlap


class MatchedTargets(NamedTuple):
    """Targets of one prediction, given the matching of queries and segments.

    Attributes:
        images: matched segments of each image.
        labels: int64 [B, Q], K for unmatched queries.
        cls_weight: weights of the queries in the class loss [B, Q].
        void: bool [B, P], pixels without a matched segment.
        areas: [B, P], area of the segment of each pixel, zero at void pixels.
    """
    images: Sequence[MatchedSegments]
    labels: Tensor
    cls_weight: Tensor
    void: Tensor
    areas: Tensor


@MODELS.register_module()
class KMaXCriterion(PanopticCriterion):
    """Losses of kMaX-DeepLab with a matching by PQ-style similarity (section 3).

    The defaults are the published ones for COCO and ADE20K; those of Cityscapes differ by
    ``pixel_temperature=0.6`` and ``num_semantic_pixels=0``. Losses are means over the images, so
    no collective call is needed.

    Args:
        num_classes: K; index K is "no object".
        cls_weight: factor of the class loss.
        mask_weight: factor of the cross-entropy over the queries (mask-ID cross-entropy).
        dice_weight: factor of the dice loss.
        pixel_weight: factor of the pixel-wise instance discrimination.
        semantic_weight: factor of the auxiliary semantic loss.
        alpha: factor of matched queries in the class loss, 1 - alpha is that of unmatched ones;
            below 0: no such factors.
        gamma: exponent of the modulating factor of the focal class loss; 0: cross-entropy.
        num_pixels: pixels sampled from each image for instance discrimination, separately for
            every prediction.
        pixel_temperature: preference of small segments in that sampling, see
            :func:`sampling_logits`.
        similarity_temperature: divisor of the similarities of pixels.
        num_semantic_pixels: pixels sampled for the semantic loss; 0: all pixels.
        semantic_temperature: preference of small segments in that sampling.
        share_matching: use the matching of the last prediction for all predictions; otherwise
            each prediction is matched separately.
        mask_void: leave out void pixels in matching and dice loss.
        align_corners: rule for resizing the predictions of the layers: 'odd' (PyTorch version:
            where the height of the last map is odd) or 'always' (TensorFlow version).
        class_weight: class weights of the class loss, K numbers, or K + 1 whose last is that of
            "no object"; default: 1. They multiply the terms, as alpha does, and do not change the
            number of terms that the loss is divided by.
        assigner: config of the assigner, :class:`OneToOneAssigner` or a class derived from it.

    Raises:
        ValueError: an option is unknown or out of its range.
        TypeError: ``assigner`` builds something of a wrong kind.
    """

    def __init__(self, num_classes: int, cls_weight: float = 3.0, mask_weight: float = 0.3,
                 dice_weight: float = 3.0, pixel_weight: float = 1.0, semantic_weight: float = 1.0,
                 alpha: float = 0.75, gamma: float = 0.0, num_pixels: int = 4096,
                 pixel_temperature: float = 1.5, similarity_temperature: float = 0.3,
                 num_semantic_pixels: int = 4096, semantic_temperature: float = 2.0,
                 share_matching: bool = True, mask_void: bool = True, align_corners: str = 'odd',
                 class_weight: Sequence[float] | None = None,
                 assigner: dict = dict(type='mmpanseg.OneToOneAssigner')) -> None:
        super().__init__(num_classes, class_weight, no_object_weight=1.0)
        self.loss_weights = dict(loss_cls=cls_weight, loss_mask=mask_weight, loss_dice=dice_weight,
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
        self.assigner: Assigner = build_assigner(assigner, OneToOneAssigner)

    def forward(self, predictions: Sequence[KMaXPrediction], semantic_logits: Tensor | None,
                segments: SegmentBatch) -> dict[str, Tensor]:
        """Compute all losses at the size of the last prediction.

        Args:
            predictions: L predictions; maps of the first L - 1 may be smaller.
            semantic_logits: [B, K or K + 1, h, w] of the auxiliary head; None: there is no head.
            segments: ground truth of the B images, of which any may have no segments.

        Returns:
            Scalars ``loss_cls``, ``loss_mask``, ``loss_dice`` and ``loss_pixel`` of the last
            prediction, ``d{i}.loss_*`` of the others, and ``loss_semantic``.
        """
        with without_autocast(predictions[0].mask_logits.device):
            predictions = [prediction.float() for prediction in predictions]
            size = spatial_size(predictions[-1].mask_logits)
            pixels = segments.strided_pixels(find_stride(segments.size, size))
            labels = pad_labels(segments.labels)
            last = self.match(predictions[-1], pixels, labels, size)
            losses = []
            for prediction in predictions:
                own = not self.share_matching and prediction is not predictions[-1]
                targets = self.match(prediction, pixels, labels, size) if own else last
                losses.append(self.losses(prediction, targets, size))
            named = self.name_by_layer({
                name: weight * torch.stack([loss[name] for loss in losses])
                for name, weight in self.loss_weights.items()})
            if semantic_logits is not None:
                named['loss_semantic'] = self.semantic_weight * self.loss_semantic(
                    at_least_float(semantic_logits), segments, last, size)
        return named

    def resize(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize maps [B, C, h, w] to the size of the last prediction, [B, C, P]."""
        return resize(maps, size, self.align_corners(size[0])).flatten(2)

    @torch.no_grad()
    def match(self, prediction: KMaXPrediction, pixels: Sequence[SegmentPixels], labels: Tensor,
              size: tuple[int, int]) -> MatchedTargets:
        """Match by the product of mask and class similarity, which also weight the losses.

        Args:
            prediction: of all images.
            pixels: segments of each image at the pixels of the last prediction.
            labels: int64 [B, N] of the segments.
            size: (H, W) of the last prediction.
        """
        cls_logits = prediction.cls_logits
        classes = class_similarity(cls_logits, labels)
        masks, matched_masks = self.mask_similarities(prediction.mask_logits, pixels, labels, size)
        matches = self.assigner(-(matched_masks * classes)[None], [x.count for x in pixels])
        image, query, segment = matches.rows.image, matches.rows.query, matches.segment
        query_labels = torch.full(cls_logits.shape[:2], self.num_classes, device=cls_logits.device)
        query_labels[image, query] = labels[image, segment]
        weight = classes[image, query, segment].clamp(min=_MIN_WEIGHT)
        images, voids, areas = [], [], []
        splits = list(matches.rows.splits)
        for x, queries, segments, weights in zip(
                pixels, query.split(splits), segment.split(splits), weight.split(splits)):
            order = segments.argsort()
            overlap = x.masks_at(segments).sum(0)
            images.append(MatchedSegments(x, queries[order], segments[order], weights[order],
                                          overlap.clamp(min=1).to(weight.dtype)))
            voids.append(overlap == 0)
            shares = images[-1].shares()
            areas.append((shares * shares.sum(1, keepdim=True)).sum(0))
        void = torch.stack(voids)
        # an unmatched query is weighted by the share of its mask that lies on void pixels
        soft = self.resize(prediction.mask_logits, size).softmax(1)
        cls_weight = (soft @ void.to(soft.dtype)[..., None])[..., 0] / (soft.sum(2) + 1e-5)
        cls_weight[image, query] = masks[image, query, segment]
        return MatchedTargets(images, query_labels, cls_weight.clamp(min=_MIN_WEIGHT), void,
                              torch.stack(areas))

    def mask_similarities(self, mask_logits: Tensor, pixels: Sequence[SegmentPixels],
                          labels: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Compute mask similarities; dense masks exist for one image at a time.

        Arguments as in :meth:`match`.

        Returns:
            Similarities on the labeled pixels, which weight the class loss, and those that the
            matching uses, each [B, Q, N], zero beyond an image's count.
        """
        labeled, matched = (mask_logits.new_zeros(
            *mask_logits.shape[:2], labels.shape[1]) for _ in range(2))
        for image, x in enumerate(pixels):
            logits = self.resize(mask_logits[image:image + 1], size)
            masks = x.masks_at()[None]
            labeled[image, :, :x.count] = competing_dice_similarity(logits, masks)[0]
            if not self.mask_void:
                matched[image, :, :x.count] = competing_dice_similarity(logits, masks, False)[0]
        return labeled, labeled if self.mask_void else matched

    def losses(self, prediction: KMaXPrediction, targets: MatchedTargets,
               size: tuple[int, int]) -> dict[str, Tensor]:
        """Compute the losses of one prediction, without their factors.

        Args:
            prediction: of all images.
            targets: from :meth:`match`.
            size: (H, W) of the last prediction.
        """
        # resized logits are large and cheap to compute: they exist for one image at a time, and the
        # backward pass computes them again
        by_image = [
            checkpoint(self.mask_losses, logits, image, void, size, use_reentrant=False,
                       preserve_rng_state=False)
            for logits, image, void in zip(
                prediction.mask_logits.split(1), targets.images, targets.void)]
        mask, dice = (torch.stack(values).mean() for values in zip(*by_image))
        dice = 0.75 / prediction.mask_logits.shape[1] * dice
        cls = focal_cross_entropy(prediction.cls_logits, targets.labels, targets.cls_weight,
                                  self.alpha, self.gamma, self.class_weight)
        return dict(loss_cls=cls, loss_mask=mask, loss_dice=dice,
                    loss_pixel=self.loss_pixel(prediction.pixel_embeds, targets, size))

    def mask_losses(self, mask_logits: Tensor, targets: MatchedSegments, void: Tensor,
                    size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Compute the mask losses of one image.

        Args:
            mask_logits: [1, Q, h, w].
            targets: matched segments of the image.
            void: bool [P], pixels without a matched segment.
            size: (H, W) of the last prediction.

        Returns:
            Cross-entropy over the queries, and sum of the weighted dice losses of the segments.
        """
        entropy, dice = competing_mask_losses(
            self.resize(mask_logits, size), targets.query[None], targets.shares()[None],
            void[None] if self.mask_void else None)
        # one term for each segment, zero for the unmatched ones
        terms = dice.new_zeros(targets.pixels.count).index_add(
            0, targets.segment, dice[0] * targets.weight)
        return entropy[0], terms.sum()

    def loss_pixel(self, pixel_embeds: Tensor, targets: MatchedTargets,
                   size: tuple[int, int]) -> Tensor:
        """Compute the pixel-wise instance discrimination at sampled pixels.

        Args:
            pixel_embeds: [B, E, h, w].
            targets: from :meth:`match`.
            size: (H, W) of the last prediction.
        """
        pixels = sample_pixels(
            sampling_logits(targets.areas, self.pixel_temperature), self.num_pixels)
        embeds = sample_grid(pixel_embeds, pixels, size, self.align_corners(size[0]))
        shares = nn.utils.rnn.pad_sequence([
            image.shares(pixel) for image, pixel in zip(targets.images, pixels)], True)
        return discrimination_loss(embeds, shares, self.similarity_temperature)

    def loss_semantic(self, logits: Tensor, segments: SegmentBatch, targets: MatchedTargets,
                      size: tuple[int, int]) -> Tensor:
        """Compute the auxiliary semantic loss at sampled pixels, or at all pixels of its map.

        Args:
            logits: [B, K or K + 1, h, w].
            segments: ground truth of the B images.
            targets: from :meth:`match`.
            size: (H, W) of the last mask prediction, which pixels are sampled from.

        Raises:
            ValueError: pixels are to be sampled, but the map has another size.
        """
        labels = semantic_targets(segments, find_stride(segments.size, spatial_size(logits)))
        pixels = None
        if self.num_semantic_pixels:
            if spatial_size(logits) != size:
                raise ValueError(
                    'criterion.num_semantic_pixels samples pixels of the last mask prediction, of '
                    f'size {size}, but the semantic head predicts {spatial_size(logits)}; set '
                    'num_semantic_pixels=0 to use all pixels')
            pixels = sample_pixels(sampling_logits(targets.areas, self.semantic_temperature),
                                   self.num_semantic_pixels)
        return semantic_loss(logits.flatten(2), labels.flatten(1), pixels)


def spatial_size(maps: Tensor) -> tuple[int, int]:
    """Size (h, w) of maps [..., h, w]."""
    height, width = maps.shape[-2:]
    return height, width


def find_stride(size: tuple[int, int], map_size: tuple[int, int]) -> int:
    """Find the stride s at which pixels 0, s, 2 s, ... of a padded input are those of a map.

    Args:
        size: (H, W) of the padded input.
        map_size: (h, w) of the map.

    Raises:
        ValueError: there is no such stride.
    """
    for stride in _STRIDES:
        if tuple(-(-side // stride) for side in size) == tuple(map_size):
            return stride
    raise ValueError(f'no stride maps an input of size {tuple(size)} to a map of size '
                     f'{tuple(map_size)}: the backbone must halve sizes and round up')
