"""Set prediction criterion of mask classification: match, compare masks, add up losses."""
from typing import Callable, Optional, Sequence

import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from mmpanseg.models.layers.choice import choose
from mmpanseg.models.layers.precision import without_autocast
from mmpanseg.models.losses.class_weights import read_class_weight
from mmpanseg.models.losses.comparison import LOSS_ON, MATCH_ON
from mmpanseg.models.losses.point_losses import MASK_LOSSES, dice_loss
from mmpanseg.models.task_modules.assigners import Matches, OneToOneAssigner
from mmpanseg.models.task_modules.building import build_assigner, build_costs
from mmpanseg.models.task_modules.match_costs import MatchInputs
from mmpanseg.models.task_modules.point_sampling import PointSampler
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits, at_least_float
from mmpanseg.structures.segment_map import SegmentBatch

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
            whole 'masks' (Table 5; see :mod:`mmpanseg.models.losses.comparison`).
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
                 class_weight: Optional[Sequence[float]] = None, mask_loss: str = 'cross_entropy',
                 match_on: str = 'points', loss_on: str = 'points', num_points: int = 12544,
                 oversample_ratio: float = 3.0, importance_ratio: float = 0.75) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.assigner = build_assigner(assigner, OneToOneAssigner)
        self.match_costs = build_costs('match_costs', match_costs, MatchInputs)
        self.cls_weight = cls_weight
        self.mask_weight = mask_weight
        self.dice_weight = dice_weight
        self.mask_loss = choose('mask_loss', mask_loss, MASK_LOSSES)
        self.compare_all = choose('match_on', match_on, MATCH_ON)
        self.compare_pairs = choose('loss_on', loss_on, LOSS_ON)
        self.sampler = PointSampler(num_points, oversample_ratio, importance_ratio)
        # derived from the config, so it is no part of a checkpoint
        self.register_buffer('class_weight', read_class_weight(
            class_weight, num_classes, no_object_weight), persistent=False)

    def forward(self, cls_logits: Tensor, mask_logits: MaskLogits, segments: SegmentBatch,
                num_masks: Optional[Tensor] = None,
                match: Optional[Match] = None) -> dict[str, Tensor]:
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
                   num_masks: Optional[Tensor] = None) -> dict[str, Tensor]:
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
