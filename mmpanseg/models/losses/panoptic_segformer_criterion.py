"""Criterion of Panoptic SegFormer: location stage, mask stage, stuff.

Shapes: B images, L decoder layers, N location queries, n of them in the mask decoder, M matched
pairs, K classes of location queries, D numbers of a location, S stuff classes, h, w mask size.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from torch import Tensor

from mmpanseg.models.losses.base import PanopticCriterion, sigmoid_focal_loss
from mmpanseg.models.losses.panoptic_segformer_targets import PanopticSegFormerTargets
from mmpanseg.models.task_modules.bipartite_matching import (
    MatchCost,
    Matches,
    build_assigner,
    build_costs,
    sum_costs,
)
from mmpanseg.models.task_modules.location_matching import (
    LocationGIoUCost,
    LocationMatchInputs,
    MultiRoundAssigner,
    generalized_iou,
)
from mmpanseg.registry import MODELS
from mmpanseg.structures.attention_masks import AttentionMasks
from mmpanseg.structures.mask_logits import at_least_float
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.device import to_device, to_host

BALANCES = ('batch', 'image', 'none')


class MaskStagePrediction(NamedTuple):
    """Location queries of one image after the mask decoder.

    Attributes:
        masks: masks of every layer, of which matching uses the last.
        image: index of the image in ``masks``.
        cost_cls_logits: class logits that matching uses [n, K].
        cost_locations: locations that matching uses [n, D].
        cls_logits: [L, n, K] of the mask decoder's classifiers; None: there are none.
        locations: [L, n, D] of the mask decoder's location branches; None: there are none.
        query_locations: [L, n, D] of the location decoder if the mask stage supervises it, or None.
    """
    masks: list[AttentionMasks]
    image: int
    cost_cls_logits: Tensor
    cost_locations: Tensor
    cls_logits: Tensor | None = None
    locations: Tensor | None = None
    query_locations: Tensor | None = None


@MODELS.register_module()
class PanopticSegFormerCriterion(PanopticCriterion):
    """Losses of Panoptic SegFormer with deep supervision of all decoders.

    Location stage: every layer is matched by class and location. The costs of the last layer also
    select the queries that pass on to the mask decoder. Mask stage: these are matched once more, by
    class, location and final mask, and this assignment serves the masks of all layers. Stuff: query
    j predicts class j. If all queries pass on (first version of the paper), there is no location
    stage, and matched queries have a location loss.

    The factors are the released code's. First version: ``mask_costs`` of class and dice with weight
    1, ``mask_cls_weight=1, dice_weight=1, location_weight=5, balance='none'``.

    Args:
        num_location_classes: K, classes with location queries (things, or all in joint matching).
        num_stuff_classes: S, classes with a stuff query.
        location: kind of the locations; GIoU is for 'box' only.
        assigner: config of :class:`MultiRoundAssigner`, which matches at both stages and selects
            the queries; default: three rounds. The released code runs one (``num_rounds=1``).
        location_costs: configs of the location stage's costs; default: class 2, L1 5, GIoU 2.
        mask_costs: configs of the mask stage's costs; default: class 4 (the configured 2 is doubled
            in the released code by accident), L1 5, GIoU 2, dice 2.
        cls_weight: factor of the location stage's class loss.
        l1_weight: factor of the location stage's L1 loss.
        giou_weight: factor of every GIoU loss of the location decoder.
        dice_weight: factor of the dice loss of all masks.
        stuff_cls_weight: factor of the stuff classes' loss (released: 2, doubled; the paper: 2).
        mask_cls_weight: factor of the class loss of the mask decoder's classifiers. Released: 0,
            the location decoder classifies.
        mask_l1_weight: factor of the L1 loss of the mask decoder's location branches; released: 0.
        mask_giou_weight: factor of their GIoU loss; released: 0.
        location_weight: factor of the L1 location loss if all queries pass on (boxes: GIoU too).
        balance: how location queries and stuff share the loss, by numbers of segments: 'batch':
            those of all images on all ranks; 'image': those of each image, so images count equally
            (the paper); 'none': each is a mean over its own segments.
        stuff_cls_without_things: train the stuff classes on images without things too; the
            released code does not, by accident.
        class_weight: class weights of all class losses, K + S numbers, things first; default: 1.
            They multiply the focal loss of the class in positive and negative queries.

    Raises:
        ValueError: an option is unknown, out of its range, or does not fit another one.
        TypeError: the assigner or the costs build something of a wrong kind.
    """

    def __init__(self, num_location_classes: int, num_stuff_classes: int = 0,
                 location: str = 'box',
                 assigner: dict = dict(type='mmpanseg.MultiRoundAssigner'),
                 location_costs: Sequence[dict] | None = None,
                 mask_costs: Sequence[dict] | None = None, cls_weight: float = 2.0,
                 l1_weight: float = 5.0, giou_weight: float = 2.0, dice_weight: float = 2.0,
                 stuff_cls_weight: float = 4.0, mask_cls_weight: float = 0.0,
                 mask_l1_weight: float = 0.0, mask_giou_weight: float = 0.0,
                 location_weight: float = 5.0, balance: str = 'batch',
                 stuff_cls_without_things: bool = True,
                 class_weight: Sequence[float] | None = None) -> None:
        super().__init__(num_location_classes + num_stuff_classes, class_weight)
        resolve_option('balance', balance, dict.fromkeys(BALANCES))
        self.num_location_classes = num_location_classes
        self.location = location
        self.assigner = build_assigner(assigner, MultiRoundAssigner)
        of_location = [dict(type='mmpanseg.LocationL1Cost', weight=5.0)]
        if location == 'box':
            of_location.append(dict(type='mmpanseg.LocationGIoUCost', weight=2.0))
        classes, dice = 'mmpanseg.FocalClassificationCost', 'mmpanseg.SquaredDiceCost'
        self.location_costs = self._build_costs('location_costs', location_costs, [
            dict(type=classes, weight=2.0), *of_location], missing=['masks', 'target_masks'])
        self.mask_costs = self._build_costs('mask_costs', mask_costs, [
            dict(type=classes, weight=4.0), *of_location, dict(type=dice, weight=2.0)])
        self.cls_weight, self.stuff_cls_weight = cls_weight, stuff_cls_weight
        self.l1_weight, self.giou_weight = l1_weight, giou_weight
        self.mask_l1_weight, self.mask_giou_weight = mask_l1_weight, mask_giou_weight
        self.mask_cls_weight, self.dice_weight = mask_cls_weight, dice_weight
        self.location_weight = location_weight
        self.balance = balance
        self.stuff_cls_without_things = stuff_cls_without_things

    def _build_costs(self, key: str, configs: Sequence[dict] | None, default: list[dict],
                     missing: Sequence[str] = ()) -> list[MatchCost[LocationMatchInputs]]:
        costs = build_costs(
            key, default if configs is None else configs, LocationMatchInputs, missing)
        if self.location != 'box' and any(isinstance(cost, LocationGIoUCost) for cost in costs):
            raise ValueError(f"criterion.{key}: GIoU needs boxes, but panoptic_head.location="
                             f"'{self.location}'; remove that cost")
        return costs

    def normalizers(self, targets: PanopticSegFormerTargets, num_queries: int,
                    with_stuff: bool) -> tuple[Tensor, Tensor]:
        """Compute the factors of each image's loss sums, one over the numbers of segments.

        A collective call unless ``balance='image'``, see :meth:`mean_over_ranks`.

        Args:
            targets: ground truth of the B images.
            num_queries: N; at most N segments of an image are matched.
            with_stuff: whether there is a stuff decoder; if not, all is for location queries.

        Returns:
            Factors of location queries and of stuff, each [B].
        """
        counts, stuff_counts = to_device(
            targets.labels.device,
            np.array([min(count, num_queries) for count in targets.counts], np.float32),
            np.array([len(classes) for classes in targets.stuff_classes], np.float32))
        if self.balance == 'image':
            counts, stuff_counts = counts.clamp(min=1), stuff_counts.clamp(min=1)
            total = (counts + stuff_counts if with_stuff else counts) * len(counts)
            return 1 / total, 1 / total
        count, stuff_count = self.mean_over_ranks(torch.stack([counts.sum(), stuff_counts.sum()]))
        if self.balance == 'batch' and with_stuff:
            # share n_th / (n_th + n_st) of a mean over n_th segments; the same for stuff
            count = stuff_count = count + stuff_count
        ones = torch.ones(len(targets.counts), device=targets.labels.device)
        return ones / count, ones / stuff_count

    def location_stage(self, cls_logits: Tensor, locations: Tensor,
                       targets: PanopticSegFormerTargets,
                       normalizer: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Compute the losses of the location decoder and select queries for the mask decoder.

        Args:
            cls_logits: [L, B, N, K].
            locations: [L, B, N, D] in 0..1.
            targets: ground truth of the B images.
            normalizer: factor of each image's loss sums [B].

        Returns:
            Losses by name, and the selected queries int64 [n] of each image.
        """
        matches, selected = self.match_locations(cls_logits, locations, targets)
        rows = matches.rows
        target = torch.zeros_like(cls_logits)
        labels = targets.labels[rows.image, matches.segment]
        target[rows.layer, rows.image, rows.query, labels] = 1
        loss = self.class_losses(cls_logits, target).flatten(2).sum(2)
        losses = {'loss_cls': self.cls_weight * (loss * normalizer).sum(1)}
        zeros = loss.new_zeros(len(cls_logits))
        factors = {'loss_bbox': self.l1_weight, 'loss_iou': self.giou_weight}
        matched = locations[rows.layer, rows.image, rows.query]
        pairs = self.location_losses(matched, rows.image, matches.segment, targets)
        for name, values in pairs.items():
            weighted = values * normalizer[rows.image]
            losses[name] = factors[name] * zeros.index_add(0, rows.layer, weighted)
        return self.name_by_layer(losses), selected

    @torch.no_grad()
    def match_locations(self, cls_logits: Tensor, locations: Tensor,
                        targets: PanopticSegFormerTargets) -> tuple[Matches, list[Tensor]]:
        """Assign every layer and select queries by the last one; see :meth:`location_stage`."""
        costs = sum_costs(self.location_costs, LocationMatchInputs(
            cls_logits, targets.labels, locations, targets.locations, targets.image_sizes))
        on_host = to_host(costs)[0].numpy()  # one copy for matching and selection
        pairs, splits = self.assigner.assign_on_host(on_host, targets.counts)
        matched, *selected = to_device(
            costs.device, pairs, *self.assigner.select_on_host(on_host[-1], targets.counts))
        return Matches.from_pairs(matched, splits), selected

    def location_losses(self, locations: Tensor, image: Tensor, segment: Tensor,
                        targets: PanopticSegFormerTargets) -> dict[str, Tensor]:
        """Compute 'loss_bbox' (L1) and, for boxes, 'loss_iou' of matched locations, each [M].

        The losses are not multiplied by their factors.

        Args:
            locations: [M, D] in 0..1.
            image: int64 [M], index of the image of each location.
            segment: int64 [M], index of the matched segment within its image.
            targets: ground truth of the B images.
        """
        target = targets.locations[image, segment]
        losses = {'loss_bbox': (locations - target).abs().sum(1)}
        if self.location == 'box':
            sizes = targets.image_sizes[image]
            losses['loss_iou'] = 1 - generalized_iou(
                bbox_cxcywh_to_xyxy(locations) * sizes, bbox_cxcywh_to_xyxy(target) * sizes)
        return losses

    @torch.no_grad()
    def match_masks(self, predictions: Sequence[MaskStagePrediction],
                    targets: PanopticSegFormerTargets) -> Matches:
        """Assign the queries of all images by the last masks, with one copy to the host."""
        costs = [self.mask_cost_matrix(prediction, targets, image)
                 for image, prediction in enumerate(predictions)]
        # infinite rows are never matched, and columns beyond an image's count are never read
        table = costs[0].new_full((1, len(costs), max(map(len, costs)),
                                   max(cost.shape[1] for cost in costs)), torch.inf)
        for padded, cost in zip(table[0], costs):
            padded[:len(cost), :cost.shape[1]] = cost
        return self.assigner(table, targets.counts)

    def mask_cost_matrix(self, prediction: MaskStagePrediction, targets: PanopticSegFormerTargets,
                         image: int) -> Tensor:
        """Compute the costs of one image's queries and segments, [n, number of segments]."""
        count = targets.counts[image]
        if not count:
            return prediction.cost_cls_logits[:, :0]
        target_masks = targets.location_masks(image, prediction.masks[-1].size)
        masks = at_least_float(prediction.masks[-1].masks(prediction.image)).flatten(1)
        target_masks = target_masks.to(masks.dtype)
        return sum_costs(self.mask_costs, LocationMatchInputs(
            prediction.cost_cls_logits, targets.labels[image, :count], prediction.cost_locations,
            targets.locations[image, :count], targets.image_sizes[image], masks, target_masks.T))

    def mask_stage(self, predictions: Sequence[MaskStagePrediction],
                   targets: PanopticSegFormerTargets, normalizer: Tensor) -> dict[str, Tensor]:
        """Compute the losses, by name, of the mask decoder of location queries.

        Args:
            predictions: of each image.
            targets: ground truth of the B images.
            normalizer: factor of each image's loss sums [B].
        """
        height, width = predictions[0].masks[-1].size
        matches = self.match_masks(predictions, targets)
        splits = list(matches.rows.splits)
        pairs = zip(matches.rows.query.split(splits), matches.segment.split(splits))
        sums: dict[str, Tensor] = {}
        for image, (prediction, (query, segment)) in enumerate(zip(predictions, pairs)):
            masks = targets.location_masks(image, (2 * height, 2 * width))[segment]
            losses = {'loss_mask_things': self.dice_losses(
                prediction.masks, prediction.image, query, masks)}
            losses.update(self.branch_losses(prediction, image, query, segment, targets))
            for name, values in losses.items():
                weighted = values * normalizer[image]
                sums[name] = sums[name] + weighted if name in sums else weighted
        return name_mask_losses(sums)

    def branch_losses(self, prediction: MaskStagePrediction, image: int, query: Tensor,
                      segment: Tensor, targets: PanopticSegFormerTargets) -> dict[str, Tensor]:
        """Sum the class and location losses that exist of one image's matched queries, each [L].

        Args:
            prediction: of the image.
            image: index of the image in ``targets``.
            query: int64 [m], the matched queries.
            segment: int64 [m], the segments that they are matched with.
            targets: ground truth of the B images.
        """
        at = torch.full_like(segment, image)

        def location_sums(locations: Tensor) -> dict[str, Tensor]:
            layers = [self.location_losses(x, at, segment, targets) for x in locations]
            return {name: torch.stack([x[name].sum() for x in layers]) for name in layers[0]}

        losses = {}
        if prediction.query_locations is not None:
            sums = location_sums(prediction.query_locations[:, query])
            losses['loss_loc'] = self.location_weight * sums['loss_bbox']
            if 'loss_iou' in sums:
                losses['loss_loc'] = losses['loss_loc'] + self.giou_weight * sums['loss_iou']
        if prediction.locations is not None:
            factors = {'loss_bbox': self.mask_l1_weight, 'loss_iou': self.mask_giou_weight}
            sums = location_sums(prediction.locations[:, query])
            losses.update({name: factors[name] * values for name, values in sums.items()})
        if prediction.cls_logits is not None:
            target = torch.zeros_like(prediction.cls_logits)
            target[:, query, targets.labels[at, segment]] = 1
            losses['loss_cls'] = self.mask_cls_weight * self.class_losses(
                prediction.cls_logits, target).sum((1, 2))
        return losses

    def stuff_stage(self, masks: list[AttentionMasks], cls_logits: Tensor,
                    targets: PanopticSegFormerTargets, normalizer: Tensor) -> dict[str, Tensor]:
        """Compute the losses, by name, of the stuff decoder.

        Args:
            masks: masks of every layer.
            cls_logits: [L, B, S].
            targets: ground truth of the B images.
            normalizer: factor of each image's loss sums [B].
        """
        height, width = masks[-1].size
        on_host = np.zeros(tuple(cls_logits.shape[1:]), np.float32)
        for row, classes in zip(on_host, targets.stuff_classes):
            row[list(classes)] = 1
        present, has_things, *queries = to_device(
            cls_logits.device, on_host, np.array(targets.counts, np.float32) > 0,
            *(np.array(list(classes), np.int64) for classes in targets.stuff_classes))
        dice = cls_logits.new_zeros(len(masks))
        for image, query in enumerate(queries):
            dice = dice + normalizer[image] * self.dice_losses(
                masks, image, query, targets.stuff_masks(image, (2 * height, 2 * width)))
        loss = self.class_losses(cls_logits, present.to(cls_logits).expand_as(cls_logits),
                                 self.num_location_classes).sum(2)
        if not self.stuff_cls_without_things:
            normalizer = normalizer * has_things
        return name_mask_losses({
            'loss_mask_stuff': dice,
            'loss_cls_stuff': self.stuff_cls_weight * (loss * normalizer).sum(1)})

    def class_losses(self, logits: Tensor, targets: Tensor, first_class: int = 0) -> Tensor:
        """Compute the weighted focal loss of every element; the classes are the last dimension."""
        loss = sigmoid_focal_loss(logits, targets)
        if self.class_weight is None:
            return loss
        weight = self.class_weight[first_class:first_class + logits.shape[-1]]
        return loss * weight.to(loss.dtype)

    def dice_losses(self, masks: list[AttentionMasks], image: int, query: Tensor,
                    targets: Tensor) -> Tensor:
        """Sum the weighted dice losses of some queries of one image, one sum for each layer [L].

        Args:
            masks: masks of every layer, of size (h, w).
            image: index of the image in ``masks``.
            query: int64 [m].
            targets: [m, 4 h w] in 0..1, at twice the size of the masks.
        """
        sums = []
        for layer in masks:
            values = F.interpolate(at_least_float(layer.masks(image, query))[:, None],
                                   scale_factor=2, mode='bilinear', align_corners=False)
            sums.append(squared_dice_loss(values.flatten(1), targets.to(values.dtype)).sum())
        return self.dice_weight * torch.stack(sums)


def squared_dice_loss(masks: Tensor, targets: Tensor, eps: float = 1e-6) -> Tensor:
    """Dice loss 1 - 2 p.t / (|p|^2 + |t|^2 + 2 eps) [M] in V-Net's form, as in the released code.

    Args:
        masks: mask values p after their activation, at least 0, [M, P].
        targets: t, [M, P] in 0..1.
        eps: keeps the denominator of empty masks above zero.
    """
    overlap = 2 * (masks * targets).sum(1)
    return 1 - overlap / (masks.square().sum(1) + targets.square().sum(1) + 2 * eps)


def name_mask_losses(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Split losses [L] of the mask decoders into scalars with the released code's names.

    Masks: ``name`` for the last, ``d{i}.name_f`` for the others. Classes and locations, which the
    last mask layer does not predict: ``d{i}.name_f`` for all. ``loss_loc`` of the location decoder:
    ``name`` for the last, ``d{i}.name`` for the others.
    """
    named = {}
    for name, values in losses.items():
        layers = list(values.unbind())
        if name == 'loss_loc' or name.startswith('loss_mask'):
            named[name] = layers.pop()
        suffix = '' if name == 'loss_loc' else '_f'
        named.update({f'd{i}.{name}{suffix}': value for i, value in enumerate(layers)})
    return named
