"""Losses of Panoptic SegFormer: location stage, mask stage, stuff.

Shapes: B images, L layers, N located queries, n of them that passed on to the mask decoder, K
located classes, D numbers of a location, S stuff classes, h, w masks.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from mmpanseg.models.losses.base import read_class_weight
from mmpanseg.models.losses.mask_criterion import (
    name_by_layer,
    sigmoid_focal_loss,
    squared_dice_loss,
)
from mmpanseg.models.losses.panoptic_segformer_targets import LocatedTargets
from mmpanseg.models.task_modules.bipartite_matching import (
    MatchCost,
    Matches,
    build_assigner,
    build_costs,
)
from mmpanseg.models.task_modules.location_matching import (
    LocatedInputs,
    MultiRoundAssigner,
    generalized_iou,
)
from mmpanseg.registry import MODELS
from mmpanseg.structures.attention_masks import AttentionMasks
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.device import to_device, to_host

BALANCES = ('batch', 'image', 'none')


class Candidates(NamedTuple):
    """Located queries of one image that went through the mask decoder.

    Attributes:
        masks: of every layer, the last decides; ``image`` is its index in them.
        cost_cls_logits: class logits [n, K] to match by.
        cost_locations: locations [n, D] to match by.
        cls_logits: [layers, n, K] of the mask decoder, or None.
        locations: [layers, n, D] of the mask decoder, or None.
        located: [L, n, D] of the location decoder, in training with all queries, else None.
    """
    masks: list[AttentionMasks]
    image: int
    cost_cls_logits: Tensor
    cost_locations: Tensor
    cls_logits: Tensor | None = None
    locations: Tensor | None = None
    located: Tensor | None = None


class Weights(NamedTuple):
    """Factor of each image's loss sums [B], for located queries and for stuff."""
    located: Tensor
    stuff: Tensor


@MODELS.register_module()
class PanopticSegFormerCriterion(nn.Module):
    """Deep supervision of all decoders.

    Location stage: every layer is matched by class and location; the last layer's costs also
    select the promising queries. Mask stage: those are matched once more, by class, location and
    final mask, and that one assignment is for the masks of all layers. Stuff: query j is for class
    j. In training with all queries (first version) there is no location stage, and matched
    queries have a location loss.

    The factors are the released code's. For the first version: ``mask_costs`` of class and dice
    with weight 1, ``mask_cls_weight=1, dice_weight=1, location_weight=5, balance='none'``.

    Args:
        location: what a location is; GIoU is for 'box' only.
        assigner: config of :class:`MultiRoundAssigner`, which matches at both stages and selects
            the promising queries; by default three rounds, ``num_rounds=1`` is what the released
            code does.
        location_costs, mask_costs: configs of the match costs. By default class 2, L1 5, GIoU 2,
            and at the mask stage class 4 (there the configured 2 is doubled by accident), L1 5,
            GIoU 2, dice 2.
        cls_weight, l1_weight, giou_weight: factors of the losses of the location stage.
        dice_weight: of all masks.
        stuff_cls_weight: of the stuff classes (2, doubled in the released code; the paper: 2).
        mask_cls_weight, mask_l1_weight, mask_giou_weight: of the mask decoder's own classes and
            locations of located queries. Released: 0, the location decoder classifies.
        location_weight: of the L1 location loss in training with all queries (boxes: GIoU too).
        balance: share of located queries and stuff in the loss, by the numbers of segments:
            'batch', of all images of all processes; 'image', of each image, which then count
            alike (the paper); 'none', each is a mean over its own segments.
        stuff_cls_without_things: train stuff classes on images without things too; the released
            code does not, by accident.
        class_weight: of the classes in all class losses, one number for each, things first; by
            default 1. It multiplies the focal loss of the class, present or not.
        num_located, num_stuff: classes with located and with stuff queries, given by the head;
            needed for ``class_weight``.

    Raises:
        ValueError: for a setting that is not possible; the text names it.
    """

    def __init__(self, location: str = 'box',
                 assigner: dict = dict(type='mmpanseg.MultiRoundAssigner'),
                 location_costs: Sequence[dict] | None = None,
                 mask_costs: Sequence[dict] | None = None, cls_weight: float = 2.0,
                 l1_weight: float = 5.0, giou_weight: float = 2.0, dice_weight: float = 2.0,
                 stuff_cls_weight: float = 4.0, mask_cls_weight: float = 0.0,
                 mask_l1_weight: float = 0.0, mask_giou_weight: float = 0.0,
                 location_weight: float = 5.0, balance: str = 'batch',
                 stuff_cls_without_things: bool = True,
                 class_weight: Sequence[float] | None = None,
                 num_located: int | None = None, num_stuff: int = 0) -> None:
        super().__init__()
        resolve_option('balance', balance, dict.fromkeys(BALANCES))
        self.location = location
        self.assigner: MultiRoundAssigner = build_assigner(assigner, MultiRoundAssigner)
        where = [dict(type='mmpanseg.LocationL1Cost', weight=5.0)]
        if location == 'box':
            where.append(dict(type='mmpanseg.LocationGIoUCost', weight=2.0))
        classes = 'mmpanseg.FocalClassificationCost'
        self.location_costs = self._costs('location_costs', location_costs, [
            dict(type=classes, weight=2.0), *where], missing=['masks', 'target_masks'])
        self.mask_costs = self._costs('mask_costs', mask_costs, [
            dict(type=classes, weight=4.0), *where,
            dict(type='mmpanseg.SquaredDiceCost', weight=2.0)])
        self.cls_weight = cls_weight
        self.l1_weight = l1_weight
        self.giou_weight = giou_weight
        self.dice_weight = dice_weight
        self.stuff_cls_weight = stuff_cls_weight
        self.mask_cls_weight = mask_cls_weight
        self.mask_l1_weight = mask_l1_weight
        self.mask_giou_weight = mask_giou_weight
        self.location_weight = location_weight
        self.balance = balance
        self.stuff_cls_without_things = stuff_cls_without_things
        weights = [None, None]
        if class_weight is not None:
            if num_located is None:
                raise ValueError('criterion.class_weight needs num_located and num_stuff, the '
                                 'numbers of classes, where no head gives them')
            weights = read_class_weight(class_weight, num_located + num_stuff).split(
                [num_located, num_stuff])
        # derived from the config, so they are no part of a checkpoint
        for name, weight in zip(('located_weight', 'stuff_weight'), weights):
            self.register_buffer(name, weight, persistent=False)

    def _costs(self, key: str, configs: Sequence[dict] | None, default: list[dict],
               missing: Sequence[str] = ()) -> list[MatchCost]:
        costs = build_costs(
            key, default if configs is None else configs, LocatedInputs, missing)
        if self.location != 'box' and any('GIoU' in type(cost).__name__ for cost in costs):
            raise ValueError(f"criterion.{key}: GIoU needs boxes, but panoptic_head.location="
                             f"'{self.location}'; leave that cost out")
        return costs

    def weights(self, targets: LocatedTargets, num_queries: int, with_stuff: bool) -> Weights:
        """What each image's sums count; the only exchange between processes.

        Args:
            num_queries: no more segments than this find one in an image.
            with_stuff: whether there is a stuff decoder; else all is for located queries.
        """
        located, stuff = to_device(
            targets.labels.device,
            np.array([min(count, num_queries) for count in targets.counts], np.float32),
            np.array([len(classes) for classes in targets.stuff], np.float32))
        if self.balance == 'image':
            located, stuff = located.clamp(min=1), stuff.clamp(min=1)
            total = (located + stuff if with_stuff else located) * len(located)
            return Weights(1 / total, 1 / total)
        located, stuff = reduce_mean(torch.stack([located.sum(), stuff.sum()])).clamp(min=1)
        if self.balance == 'batch' and with_stuff:
            # n_th / (n_th + n_st), and divided by n_th segments; for stuff alike
            located = stuff = located + stuff
        ones = torch.ones(len(targets.counts), device=targets.labels.device)
        return Weights(ones / located, ones / stuff)

    def location_stage(self, cls_logits: Tensor, locations: Tensor, targets: LocatedTargets,
                       weight: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Losses of the location decoder, and the promising queries int64 [n] of each image.

        Args:
            cls_logits: [L, B, N, K].
            locations: [L, B, N, D].
            weight: of each image [B].
        """
        matches, kept = self.match_locations(cls_logits, locations, targets)
        rows = matches.rows
        target = torch.zeros_like(cls_logits)
        target[rows.layer, rows.image, rows.query,
               targets.labels[rows.image, matches.segment]] = 1
        loss = class_losses(cls_logits, target, self.located_weight).flatten(2).sum(2)
        losses = {'loss_cls': self.cls_weight * (loss * weight).sum(1)}
        zeros = loss.new_zeros(len(cls_logits))
        factors = {'loss_bbox': self.l1_weight, 'loss_iou': self.giou_weight}
        pairs = self.location_losses(
            locations[rows.layer, rows.image, rows.query], rows.image, matches.segment, targets)
        for name, values in pairs.items():
            losses[name] = factors[name] * zeros.index_add(
                0, rows.layer, values * weight[rows.image])
        return name_by_layer(losses), kept

    @torch.no_grad()
    def match_locations(self, cls_logits: Tensor, locations: Tensor,
                        targets: LocatedTargets) -> tuple[Matches, list[Tensor]]:
        """Assignment of every layer, and the promising queries of the last one."""
        costs = sum_costs(self.location_costs, LocatedInputs(
            cls_logits, targets.labels, locations, targets.locations, targets.image_sizes))
        table = to_host(costs)[0].numpy()  # once, for both assignments
        pairs, splits = self.assigner.one_to_one.pairs(table, targets.counts)
        pairs, *kept = to_device(
            costs.device, pairs, *self.assigner.promising(table[-1], targets.counts))
        return Matches.of(pairs, splits), kept

    def location_losses(self, locations: Tensor, image: Tensor, segment: Tensor,
                        targets: LocatedTargets) -> dict[str, Tensor]:
        """L1 and, for boxes, GIoU loss of matched locations [M, D], each [M], without factors.

        Args:
            image, segment: int64 [M], what they are matched with.
        """
        target = targets.locations[image, segment]
        losses = {'loss_bbox': (locations - target).abs().sum(1)}
        if self.location == 'box':
            sizes = targets.image_sizes[image]
            losses['loss_iou'] = 1 - generalized_iou(
                bbox_cxcywh_to_xyxy(locations) * sizes, bbox_cxcywh_to_xyxy(target) * sizes)
        return losses

    @torch.no_grad()
    def match_masks(self, candidates: Sequence[Candidates], targets: LocatedTargets) -> Matches:
        """Assignment of all images' candidates by the last masks, with one copy to the host."""
        costs = [self.mask_costs_of(some, targets, image)
                 for image, some in enumerate(candidates)]
        # rows that no image has are never matched, columns that none has are never read
        table = costs[0].new_full((1, len(costs), max(map(len, costs)),
                                   max(cost.shape[1] for cost in costs)), torch.inf)
        for padded, cost in zip(table[0], costs):
            padded[:len(cost), :cost.shape[1]] = cost
        return self.assigner.one_to_one(table, targets.counts)

    def mask_costs_of(self, candidates: Candidates, targets: LocatedTargets,
                      image: int) -> Tensor:
        """Costs of one image's candidates [n, segments]."""
        count = targets.counts[image]
        if not count:
            return candidates.cost_cls_logits[:, :0]
        masks = candidates.masks[-1]
        truth = targets.located_masks(image, masks.size)
        return sum_costs(self.mask_costs, LocatedInputs(
            candidates.cost_cls_logits, targets.labels[image, :count],
            candidates.cost_locations, targets.locations[image, :count],
            targets.image_sizes[image],
            masks.masks(candidates.image).to(truth).flatten(1), truth.T))

    def mask_stage(self, candidates: Sequence[Candidates], targets: LocatedTargets,
                   weight: Tensor) -> dict[str, Tensor]:
        """Losses of the mask decoder of located queries.

        Args:
            candidates: of each image.
            weight: of each image [B].
        """
        size = candidates[0].masks[-1].size
        matches = self.match_masks(candidates, targets)
        pairs = zip(matches.rows.query.split(matches.rows.splits),
                    matches.segment.split(matches.rows.splits))
        sums: dict[str, list] = {}
        for image, (some, (query, segment)) in enumerate(zip(candidates, pairs)):
            rows = targets.located_masks(image, (2 * size[0], 2 * size[1]))[segment]
            losses = {'loss_mask_things': self.dice(some.masks, some.image, query, rows)}
            at = torch.full_like(segment, image)
            if some.located is not None:
                where = self.layer_locations(some.located[:, query], at, segment, targets)
                losses['loss_loc'] = self.location_weight * where['loss_bbox']
                if 'loss_iou' in where:
                    losses['loss_loc'] = losses['loss_loc'] + self.giou_weight * where['loss_iou']
            if some.locations is not None:
                factors = {'loss_bbox': self.mask_l1_weight, 'loss_iou': self.mask_giou_weight}
                losses.update({name: factors[name] * values for name, values in
                               self.layer_locations(some.locations[:, query], at, segment,
                                                    targets).items()})
            if some.cls_logits is not None:
                target = torch.zeros_like(some.cls_logits)
                target[:, query, targets.labels[at, segment]] = 1
                losses['loss_cls'] = self.mask_cls_weight * class_losses(
                    some.cls_logits, target, self.located_weight).sum((1, 2))
            for name, values in losses.items():
                sums.setdefault(name, []).append(values * weight[image])
        return name_mask_losses({name: sum(values) for name, values in sums.items()})

    def layer_locations(self, locations: Tensor, image: Tensor, segment: Tensor,
                        targets: LocatedTargets) -> dict[str, Tensor]:
        """Sums [layers] of :meth:`location_losses` of matched locations [layers, m, D]."""
        layers = [self.location_losses(layer, image, segment, targets) for layer in locations]
        return {name: torch.stack([layer[name].sum() for layer in layers]) for name in layers[0]}

    def stuff_stage(self, masks: list[AttentionMasks], cls_logits: Tensor,
                    targets: LocatedTargets, weight: Tensor) -> dict[str, Tensor]:
        """Losses of the stuff decoder.

        Args:
            masks: of every layer.
            cls_logits: [layers, B, S].
            weight: of each image [B].
        """
        size = masks[-1].size
        present = np.zeros(tuple(cls_logits.shape[1:]), np.float32)
        for row, classes in zip(present, targets.stuff):
            row[list(classes)] = 1
        present, has_things, *queries = to_device(
            cls_logits.device, present, np.array(targets.counts, np.float32) > 0,
            *(np.array(list(classes), np.int64) for classes in targets.stuff))
        dice = 0
        for image, query in enumerate(queries):
            dice = dice + weight[image] * self.dice(
                masks, image, query, targets.stuff_masks(image, (2 * size[0], 2 * size[1])))
        loss = class_losses(cls_logits, present.to(cls_logits).expand_as(cls_logits),
                            self.stuff_weight).sum(2)
        if not self.stuff_cls_without_things:
            weight = weight * has_things
        return name_mask_losses({
            'loss_mask_stuff': dice,
            'loss_cls_stuff': self.stuff_cls_weight * (loss * weight).sum(1)})

    def dice(self, masks: list[AttentionMasks], image: int, query: Tensor,
             targets: Tensor) -> Tensor:
        """Sum of the weighted dice losses of some queries of an image, one for each layer.

        Args:
            query: int64 [m].
            targets: [m, 4 h w], at twice the masks' size.
        """
        sums = []
        for layer in masks:
            values = F.interpolate(layer.masks(image, query)[:, None].to(targets), scale_factor=2,
                                   mode='bilinear', align_corners=False)
            sums.append(squared_dice_loss(values.flatten(1), targets).sum())
        return self.dice_weight * torch.stack(sums)


def class_losses(logits: Tensor, targets: Tensor, class_weight: Tensor | None) -> Tensor:
    """Focal loss of every element [..., classes], times the weights [classes] if there are any."""
    loss = sigmoid_focal_loss(logits, targets)
    return loss if class_weight is None else loss * class_weight.to(loss.dtype)


def sum_costs(costs: Sequence, inputs: LocatedInputs) -> Tensor:
    """Sum of weighted costs [..., Q, N]."""
    return sum(cost(inputs) for cost in costs)


def name_mask_losses(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Scalars by the released code's names from losses by layer.

    Masks: the last plain, the others ``d{i}.*_f``; classes and locations, which the tail has not:
    all ``d{i}.*_f``. The location decoder's ``loss_loc``: the last plain, the others ``d{i}.*``.
    """
    named = {}
    for name, values in losses.items():
        layers = list(values.unbind())
        located = name == 'loss_loc'
        if located or name.startswith('loss_mask'):
            named[name] = layers.pop()
        named.update({f'd{i}.{name}{"" if located else "_f"}': value
                      for i, value in enumerate(layers)})
    return named
