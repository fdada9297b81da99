"""Criterion of Mask2Former: set prediction with masks that are compared at sampled points.

Shapes: L predictions, B images, Q queries, N segments, P points, M matched pairs, K classes.
"""
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from torch import Tensor

from mmpanseg.models.layers.precision import without_autocast
from mmpanseg.models.losses.base import PanopticCriterion, pad_labels, sigmoid_focal_loss
from mmpanseg.models.losses.whole_mask_comparison import (
    MaskLoss,
    all_pairs_on_masks,
    losses_on_masks,
)
from mmpanseg.models.task_modules.bipartite_matching import (
    Assigner,
    MaskMatchInputs,
    Matches,
    OneToOneAssigner,
    build_assigner,
    build_costs,
    sum_costs,
)
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits, at_least_float, sample_own_points
from mmpanseg.structures.segment_map import SegmentBatch
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.device import chunk_rows

MASK_COMPARISONS = ('points', 'masks')


class PointSampler:
    """Random points in the unit square (PointRend section 3.1; Mask2Former section 3.3).

    Args:
        num_points: P, points per mask, at least 1.
        oversample_ratio: candidates per point of the result, at least 1.
        importance_ratio: share of the points that are the most uncertain candidates, 0..1.

    Raises:
        ValueError: an argument is out of its range.
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

    def uniform(self, num_sets: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Sample points uniformly, [num_sets, P, 2]."""
        return torch.rand(num_sets, self.num_points, 2, device=device, dtype=dtype)

    def uncertain(self, logits: Tensor) -> Tensor:
        """Sample points of dense masks by importance.

        A logit near zero is uncertain. Uncertainty is read at the candidates and not on the pixel
        grid, because interpolated uncertainty would be low on both sides of an edge.

        Args:
            logits: [m, h, w].

        Returns:
            [m, P, 2], the uncertain points first, the uniform ones after them.
        """
        points = logits.new_empty(len(logits), self.num_points, 2)
        step = chunk_rows(logits.device, 4 * self.num_candidates)
        for part, chosen in zip(logits.split(step), points.split(step)):
            candidates = torch.rand(len(part), self.num_candidates, 2, device=part.device,
                                    dtype=part.dtype)
            certainty = sample_own_points(part, candidates).abs_()
            # their order does not matter; a complex number gathers both coordinates at once
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


def mask_focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss of MaskFormer, mean over the points: [M, P], [M, P] in 0..1 -> [M]."""
    return sigmoid_focal_loss(logits, targets).mean(1)


def dice_loss(logits: Tensor, targets: Tensor, eps: float = 1.0) -> Tensor:
    """Dice loss 1 - (2 p.t + eps) / (|p| + |t| + eps) of MaskFormer and Mask2Former.

    V-Net's form has squares in the denominator; Panoptic SegFormer uses that one.

    Args:
        logits: [M, P], p is their sigmoid.
        targets: t, [M, P] in 0..1.
        eps: smoothing term.

    Returns:
        [M].
    """
    masks = logits.sigmoid()
    overlap = 2 * (masks * targets).sum(1)
    return 1 - (overlap + eps) / (masks.sum(1) + targets.sum(1) + eps)


MASK_LOSSES: dict[str, MaskLoss] = {
    'cross_entropy': mask_cross_entropy,
    'focal': mask_focal_loss,
}

Match = Callable[[Tensor, MaskLogits, SegmentBatch], Matches]


@MODELS.register_module()
class MaskCriterion(PanopticCriterion):
    """Losses of Mask2Former (sections 3.2 and 3.3): class, mask and dice of every prediction.

    Each prediction (of the learnable queries and of every decoder layer) is matched separately.
    One copy to the host serves the matching of all of them.

    Args:
        num_classes: K; index K is "no object".
        assigner: config of the assigner, :class:`OneToOneAssigner` or a class derived from it.
        match_costs: configs of the match costs, which read :class:`MaskMatchInputs`.
        cls_weight: factor of the class loss.
        mask_weight: factor of the mask loss.
        dice_weight: factor of the dice loss.
        no_object_weight: class weight of "no object" in the class loss.
        class_weight: class weights of the class loss, K numbers, or K + 1 whose last replaces
            ``no_object_weight``; default: 1. The loss is the weighted mean.
        mask_loss: 'cross_entropy', or 'focal' as in MaskFormer.
        match_on: what matching compares: 'points', or whole 'masks' (Table 5; see
            :mod:`mmpanseg.models.losses.whole_mask_comparison`).
        loss_on: what the mask losses compare: 'points' or 'masks'.
        num_points: P, see :class:`PointSampler`.
        oversample_ratio: see :class:`PointSampler`.
        importance_ratio: see :class:`PointSampler`.
        sync_cls_avg_factor: divide the class loss by the sum of the class weights of all processes'
            queries, so that several processes compute the gradients of one process with all of
            their images. By default each process divides by its own sum, as the published code
            does (``SetCriterion.loss_labels`` of Mask2Former calls ``F.cross_entropy``; only
            ``num_masks`` is a mean over the processes). With one process both are the same.

    Raises:
        ValueError: an option is unknown or out of its range.
        TypeError: ``assigner`` or ``match_costs`` build something of a wrong kind.
    """

    class_weight: Tensor

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
                 oversample_ratio: float = 3.0, importance_ratio: float = 0.75,
                 sync_cls_avg_factor: bool = False) -> None:
        super().__init__(num_classes, class_weight, no_object_weight)
        self.sync_cls_avg_factor = sync_cls_avg_factor
        for option, value in (('match_on', match_on), ('loss_on', loss_on)):
            resolve_option(option, value, dict.fromkeys(MASK_COMPARISONS))
        self.assigner: Assigner = build_assigner(assigner, OneToOneAssigner)
        self.match_costs = build_costs('match_costs', match_costs, MaskMatchInputs)
        self.cls_weight = cls_weight
        self.mask_weight = mask_weight
        self.dice_weight = dice_weight
        self.mask_loss = resolve_option('mask_loss', mask_loss, MASK_LOSSES)
        self.match_on = match_on
        self.loss_on = loss_on
        self.sampler = PointSampler(num_points, oversample_ratio, importance_ratio)

    def forward(self, cls_logits: Tensor, mask_logits: MaskLogits, segments: SegmentBatch,
                num_masks: Tensor | None = None,
                match: Match | None = None) -> dict[str, Tensor]:
        """Compute all losses.

        Args:
            cls_logits: [L, B, Q, K + 1].
            mask_logits: L predictions of the same queries.
            segments: ground truth of the B images, of which any may have no segments.
            num_masks: normalizer of the mask losses; default: :meth:`num_masks`.
            match: function that assigns the predictions; default: :meth:`match`.

        Returns:
            Scalars ``loss_cls``, ``loss_mask`` and ``loss_dice`` of the last prediction,
            ``d{i}.loss_*`` of the others.
        """
        with without_autocast(cls_logits.device):
            cls_logits = at_least_float(cls_logits)
            mask_logits = mask_logits.float()
            matches = (match or self.match)(cls_logits, mask_logits, segments)
            losses = {
                'loss_cls': self.loss_cls(cls_logits, matches, segments),
                **self.loss_masks(mask_logits, matches, segments, num_masks)}
        return self.name_by_layer(losses)

    @torch.no_grad()
    def match(self, cls_logits: Tensor, mask_logits: MaskLogits,
              segments: SegmentBatch) -> Matches:
        """Assign every prediction of every image; arguments as in :meth:`forward`."""
        return self.assigner(self.cost_matrices(cls_logits, mask_logits, segments),
                             segments.counts)

    @torch.no_grad()
    def cost_matrices(self, cls_logits: Tensor, mask_logits: MaskLogits,
                      segments: SegmentBatch) -> Tensor:
        """Sum the weighted match costs of every prediction, [L, B, Q, N]."""
        if segments.max_count == 0:
            return cls_logits.new_zeros(*cls_logits.shape[:3], 0)
        labels = pad_labels(segments.labels)
        return torch.stack([
            sum_costs(self.match_costs, MaskMatchInputs(cls_logits[layer], labels, *self.all_pairs(
                mask_logits, layer, segments, cls_logits[layer])))
            for layer in range(len(mask_logits))])

    def all_pairs(self, mask_logits: MaskLogits, layer: int, segments: SegmentBatch,
                  like: Tensor) -> tuple[Tensor, Tensor]:
        """Read all queries and segments of one prediction at new uniform points, or whole masks.

        Arguments and results are those of :func:`all_pairs_on_masks`, with P points for pixels.
        """
        if self.match_on == 'masks':
            return all_pairs_on_masks(mask_logits, layer, segments, like)
        points = self.sampler.uniform(len(segments), like.device, like.dtype)
        return mask_logits.sample(layer, points), segments.sample_all(points)

    def loss_cls(self, cls_logits: Tensor, matches: Matches, segments: SegmentBatch) -> Tensor:
        """Compute the cross-entropy, weighted mean over all queries of the batch, [L].

        A collective call with ``sync_cls_avg_factor``: the mean is over the queries of all ranks.
        """
        target = cls_logits.new_full(cls_logits.shape[:3], self.num_classes, dtype=torch.long)
        rows = matches.rows
        labels = pad_labels(segments.labels)
        if labels.shape[1]:
            target[rows.layer, rows.image, rows.query] = labels[rows.image, matches.segment]
        weight = self.class_weight.to(cls_logits.dtype)
        loss = F.cross_entropy(
            cls_logits.flatten(0, 2), target.flatten(), weight, reduction='none')
        total = loss.view(len(cls_logits), -1).sum(1)
        # the loss is zero without queries, and if only unmatched ones exist and their weight is 0
        total_weight = weight[target].flatten(1).sum(1)
        if self.sync_cls_avg_factor:
            total_weight = reduce_mean(total_weight)
        return self.cls_weight * total / total_weight.clamp(min=torch.finfo(weight.dtype).tiny)

    def num_masks(self, segments: SegmentBatch) -> Tensor:
        """Count the segments of the batch, unmatched ones too, as the mean over ranks, at least 1.

        A collective call, see :meth:`mean_over_ranks`.
        """
        # new_full fills on the device, so the host does not wait for a copy
        return self.mean_over_ranks(
            self.class_weight.new_full((), float(sum(segments.counts))))

    def loss_masks(self, mask_logits: MaskLogits, matches: Matches, segments: SegmentBatch,
                   num_masks: Tensor | None = None) -> dict[str, Tensor]:
        """Compute mask and dice losses of the matched pairs divided by ``num_masks``, each [L]."""
        num_masks = self.num_masks(segments) if num_masks is None else num_masks
        mask, dice = self.pair_losses(mask_logits, matches, segments)
        zeros = mask.new_zeros(len(mask_logits))
        by_pair = {'loss_mask': self.mask_weight * mask, 'loss_dice': self.dice_weight * dice}
        return {name: zeros.index_add(0, matches.rows.layer, loss) / num_masks
                for name, loss in by_pair.items()}

    def pair_losses(self, mask_logits: MaskLogits, matches: Matches,
                    segments: SegmentBatch) -> Tensor:
        """Compute mask and dice losses at importance-sampled points, or on whole masks, [2, M]."""
        losses = [self.mask_loss, dice_loss]
        if self.loss_on == 'masks':
            return losses_on_masks(losses, mask_logits, matches, segments)
        rows = matches.rows
        logits, points = mask_logits.sample_rows(rows, self.sampler.uncertain)
        with torch.no_grad():
            targets = segments.sample_pairs(points, rows.image, matches.segment)
        return torch.stack([loss(logits, targets) for loss in losses])
