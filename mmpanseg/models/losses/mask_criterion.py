"""Set prediction criterion of mask classification: match, compare masks, add up losses.

Mask2Former compares at points. Whole masks are compared as in MaskFormer's released code: for
matching at the size of the mask logits, with the nearest pixel of the ground truth; for the loss at
the size of the ground truth, with the logits resized bilinearly.

Shapes: B images, Q queries, N segments, P points or pixels, M matched pairs.
"""
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from mmpanseg.models.layers.precision import without_autocast
from mmpanseg.models.losses.base import read_class_weight
from mmpanseg.models.task_modules.bipartite_matching import (
    Matches,
    MatchInputs,
    OneToOneAssigner,
    build_assigner,
    build_costs,
)
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits, at_least_float, sample_own_points
from mmpanseg.structures.segment_map import SegmentBatch
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.device import chunk_rows


class PointSampler:
    """Random points in the unit square (PointRend section 3.1; Mask2Former section 3.3).

    Args:
        num_points: P, points per mask.
        oversample_ratio: candidates drawn per point kept, at least 1.
        importance_ratio: share of the points taken from the most uncertain candidates, 0..1.
    """

    def __init__(self, num_points: int = 12544, oversample_ratio: float = 3.0,
                 importance_ratio: float = 0.75) -> None:
        if num_points < 1 or oversample_ratio < 1 or not 0 <= importance_ratio <= 1:
            raise ValueError(
                'point sampling needs num_points >= 1, oversample_ratio >= 1 and importance_ratio '
                f'in 0..1, got {num_points}, {oversample_ratio}, {importance_ratio}')
        self.num_points = num_points
        self.num_candidates = int(num_points * oversample_ratio)
        self.num_uncertain = int(num_points * importance_ratio)

    def uniform(self, sets: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Uniform points [sets, P, 2]."""
        return torch.rand(sets, self.num_points, 2, device=device, dtype=dtype)

    def uncertain(self, logits: Tensor) -> Tensor:
        """Points [m, P, 2] for dense mask logits [m, h, w], the uncertain ones first.

        A logit near zero is uncertain. Uncertainty is read at the candidates, not on the pixel
        grid: interpolating it would make pixels on both sides of an edge look certain.
        """
        points = logits.new_empty(len(logits), self.num_points, 2)
        step = chunk_rows(logits.device, 4 * self.num_candidates)
        for part, chosen in zip(logits.split(step), points.split(step)):
            candidates = torch.rand(len(part), self.num_candidates, 2, device=part.device,
                                    dtype=part.dtype)
            certainty = sample_own_points(part, candidates).abs_()
            # in any order; a point is picked as one number of two parts
            best = certainty.topk(self.num_uncertain, dim=1, largest=False, sorted=False).indices
            picked = torch.view_as_complex(candidates).gather(1, best)
            chosen[:, :self.num_uncertain] = torch.view_as_real(picked)
        points[:, self.num_uncertain:] = torch.rand(
            len(logits), self.num_points - self.num_uncertain, 2, device=logits.device,
            dtype=logits.dtype)
        return points


def mask_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the points: [M, P], [M, P] in 0..1 -> [M]."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction='none').mean(1)


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25,
                       gamma: float = 2.0) -> Tensor:
    """Focal loss of every element: logits and targets in 0..1 of one shape.

    Lin et al., Focal Loss for Dense Object Detection, Equation 5.
    """
    probs = logits.sigmoid()
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    missed = probs + targets - 2 * probs * targets
    share = alpha * targets + (1 - alpha) * (1 - targets)
    return share * missed**gamma * loss


def mask_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25,
                    gamma: float = 2.0) -> Tensor:
    """Focal loss, mean over the points: [M, P], [M, P] in 0..1 -> [M]; MaskFormer's mask loss."""
    return sigmoid_focal_loss(logits, targets, alpha, gamma).mean(1)


def dice_loss(logits: Tensor, targets: Tensor, eps: float = 1.0) -> Tensor:
    """Dice loss 1 - (2 p.t + eps) / (|p| + |t| + eps): [M, P], [M, P] in 0..1 -> [M].

    The squares of V-Net's form are left out and eps is 1, as in MaskFormer and Mask2Former.
    """
    masks = logits.sigmoid()
    overlap = 2 * (masks * targets).sum(1)
    return 1 - (overlap + eps) / (masks.sum(1) + targets.sum(1) + eps)


def squared_dice_loss(masks: Tensor, targets: Tensor, eps: float = 1e-6) -> Tensor:
    """Dice loss 1 - 2 p.t / (|p|^2 + |t|^2 + 2 eps): [M, P], [M, P] in 0..1 -> [M].

    V-Net's form, of mask values after their activation, as in Panoptic SegFormer.
    """
    overlap = 2 * (masks * targets).sum(1)
    return 1 - overlap / (masks.square().sum(1) + targets.square().sum(1) + 2 * eps)


MASK_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'cross_entropy': mask_cross_entropy,
    'focal': mask_focal_loss,
}


PairLoss = Callable[[Tensor, Tensor], Tensor]


def match_on_points(sampler: PointSampler, mask_logits: MaskLogits, layer: int,
                    segments: SegmentBatch, cls_logits: Tensor) -> tuple[Tensor, Tensor]:
    """All queries and segments of a prediction at fresh uniform points.

    Args:
        sampler: draws the points.
        mask_logits, layer: the masks of one prediction.
        segments: ground truth of the B images.
        cls_logits: [B, Q, K + 1] of that prediction.

    Returns:
        logits [B, Q, P] and targets [B, P, N] in 0..1.
    """
    points = sampler.uniform(len(segments), cls_logits.device, cls_logits.dtype)
    return mask_logits.sample(layer, points), segments.sample_all(points)


def match_on_masks(sampler: PointSampler, mask_logits: MaskLogits, layer: int,
                   segments: SegmentBatch, cls_logits: Tensor) -> tuple[Tensor, Tensor]:
    """All queries and segments of a prediction at every pixel of its mask logits.

    Arguments and results are those of :func:`match_on_points`, P pixels in place of points.
    """
    queries = torch.arange(cls_logits.shape[1], device=cls_logits.device)
    logits = torch.stack([
        mask_logits.dense(layer, image, queries).flatten(1) for image in range(len(segments))])
    points = nearest_pixels(mask_logits.size, segments.size).to(cls_logits)
    return logits, segments.sample_all(points.expand(len(segments), -1, -1))


def nearest_pixels(size: tuple[int, int], source: tuple[int, int]) -> Tensor:
    """For each pixel of a map its nearest-neighbor pixel in another, as points [h * w, 2]."""
    y, x = (
        (torch.arange(length, dtype=torch.float64) * full // length + 0.5) / full
        for length, full in zip(size, source))
    return torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).flatten(0, 1)


def losses_on_points(losses: Sequence[PairLoss], sampler: PointSampler, mask_logits: MaskLogits,
                     matches: Matches, segments: SegmentBatch) -> Tensor:
    """Losses of matched pairs at importance-sampled points of their own.

    Args:
        losses: functions of logits [m, P] and targets [m, P], giving [m].
        sampler: picks the points.
        mask_logits, segments: predictions and ground truth.
        matches: the M pairs.

    Returns:
        [number of losses, M].
    """
    rows = matches.rows
    logits, points = mask_logits.sample_rows(rows, sampler.uncertain)
    with torch.no_grad():
        targets = segments.sample_pairs(points, rows.image, matches.segment)
    return torch.stack([loss(logits, targets) for loss in losses])


def losses_on_masks(losses: Sequence[PairLoss], sampler: PointSampler, mask_logits: MaskLogits,
                    matches: Matches, segments: SegmentBatch) -> Tensor:
    """Losses of matched pairs at every pixel of the ground truth.

    Arguments and result are those of :func:`losses_on_points`. Full-size planes exist for a few
    pairs at a time, in the backward pass too, which makes them anew.
    """
    def reduce(logits: Tensor, image: int, part: slice) -> Tensor:
        logits = F.interpolate(
            logits[None], segments.size, mode='bilinear', align_corners=False)[0].flatten(1)
        targets = segments.masks(image, matches.segment[part]).flatten(1).to(logits.dtype)
        return torch.stack([loss(logits, targets) for loss in losses])

    height, width = segments.size
    return mask_logits.reduce_rows(matches.rows, reduce, len(losses), height * width)


MATCH_ON = {'points': match_on_points, 'masks': match_on_masks}
LOSS_ON = {'points': losses_on_points, 'masks': losses_on_masks}


Match = Callable[[Tensor, MaskLogits, SegmentBatch], Matches]


@MODELS.register_module()
class MaskCriterion(nn.Module):
    """Losses of Mask2Former (sections 3.2 and 3.3): class, mask and dice at every prediction.

    All predictions (the learnable queries' and each decoder layer's) are matched on their own, in
    one batch, with one copy to the host.

    Args:
        num_classes: K; index K is "no object".
        assigner: config of the assigner.
        match_costs: configs of the match costs.
        cls_weight, mask_weight, dice_weight: factors of the three losses.
        no_object_weight: class weight of "no object" in the class loss.
        class_weight: of the classes in the class loss, K numbers, or K + 1, the last of which
            takes the place of ``no_object_weight``; by default 1. The loss is the weighted mean.
        mask_loss: 'cross_entropy', or 'focal' as in MaskFormer.
        match_on, loss_on: what masks are compared on in matching and in the loss: 'points' or
            whole 'masks' (Table 5; see :mod:`mmpanseg.models.losses.mask_criterion`).
        num_points, oversample_ratio, importance_ratio: see :class:`PointSampler`.
    """

    def __init__(self, num_classes: int,
                 assigner: dict = dict(type='mmpanseg.OneToOneAssigner'),
                 match_costs: Sequence[dict] = (
                     dict(type='mmpanseg.ClassificationCost', weight=2.0),
                     dict(type='mmpanseg.MaskCrossEntropyCost', weight=5.0),
                     dict(type='mmpanseg.MaskDiceCost', weight=5.0)),
                 cls_weight: float = 2.0, mask_weight: float = 5.0, dice_weight: float = 5.0,
                 no_object_weight: float = 0.1,
                 class_weight: Sequence[float] | None = None, mask_loss: str = 'cross_entropy',
                 match_on: str = 'points', loss_on: str = 'points', num_points: int = 12544,
                 oversample_ratio: float = 3.0, importance_ratio: float = 0.75) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.assigner = build_assigner(assigner, OneToOneAssigner)
        self.match_costs = build_costs('match_costs', match_costs, MatchInputs)
        self.cls_weight = cls_weight
        self.mask_weight = mask_weight
        self.dice_weight = dice_weight
        self.mask_loss = resolve_option('mask_loss', mask_loss, MASK_LOSSES)
        self.compare_all = resolve_option('match_on', match_on, MATCH_ON)
        self.compare_pairs = resolve_option('loss_on', loss_on, LOSS_ON)
        self.sampler = PointSampler(num_points, oversample_ratio, importance_ratio)
        # derived from the config, so it is no part of a checkpoint
        self.register_buffer('class_weight', read_class_weight(
            class_weight, num_classes, no_object_weight), persistent=False)

    def forward(self, cls_logits: Tensor, mask_logits: MaskLogits, segments: SegmentBatch,
                num_masks: Tensor | None = None,
                match: Match | None = None) -> dict[str, Tensor]:
        """Losses by name, ``loss_*`` for the last prediction and ``d{i}.loss_*`` for the others.

        Args:
            cls_logits: [L, B, Q, K + 1].
            mask_logits: L predictions of the same queries.
            segments: ground truth of the B images; images without any are fine.
            num_masks: divisor of the mask losses, by default :meth:`num_masks`.
            match: how to assign predictions, by default :meth:`match`.
        """
        with without_autocast(cls_logits.device):
            cls_logits = at_least_float(cls_logits)
            mask_logits = mask_logits.float()
            matches = (match or self.match)(cls_logits, mask_logits, segments)
            losses = {
                'loss_cls': self.loss_cls(cls_logits, matches, segments),
                **self.loss_masks(mask_logits, matches, segments, num_masks)}
        return name_by_layer(losses)

    @torch.no_grad()
    def match(self, cls_logits: Tensor, mask_logits: MaskLogits,
              segments: SegmentBatch) -> Matches:
        """Assign every prediction of every image."""
        return self.assigner(self.all_costs(cls_logits, mask_logits, segments), segments.counts)

    @torch.no_grad()
    def all_costs(self, cls_logits: Tensor, mask_logits: MaskLogits,
                  segments: SegmentBatch) -> Tensor:
        """Sum of the weighted match costs of all predictions [L, B, Q, N]."""
        if segments.max_count == 0:
            return cls_logits.new_zeros(*cls_logits.shape[:3], 0)
        labels = pad_labels(segments.labels)
        return torch.stack([
            self.costs(cls_logits[layer], labels, *self.compare_all(
                self.sampler, mask_logits, layer, segments, cls_logits[layer]))
            for layer in range(len(mask_logits))])

    def costs(self, cls_logits: Tensor, labels: Tensor, mask_logits: Tensor,
              targets: Tensor) -> Tensor:
        """The same for one prediction [B, Q, N]; shapes as in :class:`MatchInputs`."""
        inputs = MatchInputs(cls_logits, labels, mask_logits, targets)
        return sum(cost(inputs) for cost in self.match_costs)

    def loss_cls(self, cls_logits: Tensor, matches: Matches, segments: SegmentBatch) -> Tensor:
        """Cross-entropy, weighted mean over all queries of the batch, [L]."""
        target = cls_logits.new_full(cls_logits.shape[:3], self.num_classes, dtype=torch.long)
        rows = matches.rows
        labels = pad_labels(segments.labels)
        if labels.shape[1]:
            target[rows.layer, rows.image, rows.query] = labels[rows.image, matches.segment]
        weight = self.class_weight.to(cls_logits.dtype)
        loss = F.cross_entropy(
            cls_logits.flatten(0, 2), target.flatten(), weight, reduction='none')
        total = loss.view(len(cls_logits), -1).sum(1)
        # zero where there are no queries, or only unmatched ones that weigh nothing
        total_weight = weight[target].flatten(1).sum(1).clamp(min=torch.finfo(weight.dtype).tiny)
        return self.cls_weight * total / total_weight

    def num_masks(self, segments: SegmentBatch) -> Tensor:
        """Segments in the batch, also those that find no prediction: mean over the processes.

        At least one. The only exchange between processes, so every process must come by as often.
        """
        # filled on the device: nobody waits for a copy
        count = self.class_weight.new_full((), float(sum(segments.counts)))
        return reduce_mean(count).clamp(min=1)

    def loss_masks(self, mask_logits: MaskLogits, matches: Matches, segments: SegmentBatch,
                   num_masks: Tensor | None = None) -> dict[str, Tensor]:
        """Mask and dice losses of the matched pairs, divided by ``num_masks``, each [L]."""
        num_masks = self.num_masks(segments) if num_masks is None else num_masks
        mask, dice = self.compare_pairs(
            [self.mask_loss, dice_loss], self.sampler, mask_logits, matches, segments)
        zeros = mask.new_zeros(len(mask_logits))
        by_layer = {'loss_mask': self.mask_weight * mask, 'loss_dice': self.dice_weight * dice}
        return {name: zeros.index_add(0, matches.rows.layer, loss) / num_masks
                for name, loss in by_layer.items()}


def pad_labels(labels: Sequence[Tensor]) -> Tensor:
    """Labels of all images as one int64 [B, N], zero where an image has fewer."""
    return nn.utils.rnn.pad_sequence(list(labels), batch_first=True)


def name_by_layer(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Per-layer losses [L] to scalars by name: the last plain, the others with ``d{i}.``."""
    named = {}
    for name, values in losses.items():
        *auxiliary, last = values.unbind()
        named[name] = last
        named.update({f'd{i}.{name}': value for i, value in enumerate(auxiliary)})
    return named
