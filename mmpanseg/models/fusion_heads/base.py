"""Base of the fusion heads: results from the predictions of queries.

Shapes: B images; Q queries of each; K classes; H, W result.
"""
import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.dropped_queries import (
    DroppedQueries,
    mark_broken,
    without_broken,
)
from mmpanseg.models.fusion_heads.instances import predict_instances
from mmpanseg.models.fusion_heads.query_fates import Fate, FateLog, QueryLog
from mmpanseg.models.fusion_heads.semantic import fuse_semantic
from mmpanseg.models.inference.augmented_views import View, merge_views
from mmpanseg.models.inference.full_size_masks import (
    MASK_ACTIVATIONS,
    SCORE_ACTIVATIONS,
    FullSizeMasks,
    OutputMasks,
)
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.structures.result_coding import check_class_count
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.device import to_host

# options of most fusion heads on the form of the model's outputs
READING = ('score_activation', 'mask_activation', 'resize_once')


class FusionHead(BaseModule):
    """Computes all outputs from the predictions of queries; subclasses assign pixels to segments.

    Args:
        num_things_classes: number of thing classes; the segmentor sets it.
        num_stuff_classes: number of stuff classes; the segmentor sets it.
        score_activation: 'softmax' over K classes and "no object", or 'sigmoid' for each class
            separately; then "no object" does not exist, and heads set the logits of classes that a
            query cannot predict to -inf.
        mask_activation: 'sigmoid', or 'none' for heads that predict mask probabilities.
        resize_once: see :class:`FullSizeMasks`.
        init_cfg: see mmengine's BaseModule.

    Attributes:
        dropped: counts of queries that are left out, as their logits are NaN or infinite.
        log: takes the decisions of :meth:`panoptic`; only :meth:`fates` reads them.
        threshold: name of the option that is the score threshold of segments.

    Raises:
        ValueError: an activation does not exist.
    """

    threshold = 'score_thr'

    def __init__(self, num_things_classes: int, num_stuff_classes: int,
                 score_activation: str = 'softmax', mask_activation: str = 'sigmoid',
                 resize_once: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_things_classes = num_things_classes
        self.num_classes = num_things_classes + num_stuff_classes
        self.score_activation = score_activation
        self.class_scores = resolve_option('score_activation', score_activation, SCORE_ACTIVATIONS)
        self.mask_activation = resolve_option('mask_activation', mask_activation, MASK_ACTIVATIONS)
        self.resize_once = resize_once
        self.dropped = DroppedQueries()
        self.log = QueryLog()
        # independent scores are comparable among things only
        self.rank_things_only = score_activation == 'sigmoid'

    def predict(self, cls_logits: Tensor, mask_logits: MaskLogits, metainfos: Sequence[dict],
                rescale: bool = True, outputs: OutputOptions | None = None) -> list[dict]:
        """Compute the results of every image of a batch.

        Args:
            cls_logits: [B, Q, K + 1], or [B, Q, K] for sigmoid scores.
            mask_logits: masks of the same queries; the last layer's are used.
            metainfos: one dict per image, see :class:`FullSizeMasks`.
            rescale: whether results have the original size; otherwise they have the size of the
                network's input.
            outputs: options of the outputs (default: panoptic results only).

        Returns:
            one dict per image, see :meth:`fuse`.
        """
        views = self.views(cls_logits, mask_logits, metainfos, rescale)
        return [self.fuse([view], outputs or OutputOptions()) for view in views]

    def with_threshold(self, score_thr: float | Sequence[float]) -> 'FusionHead':
        """Copy with another score threshold, the option that :attr:`threshold` names.

        Args:
            score_thr: one number, or, for rules with both, one for things and one for stuff.

        Raises:
            ValueError: the rule has one threshold and two are given, or it has none.
        """
        own = getattr(self, self.threshold, None)
        if own is None:
            raise ValueError(f'{type(self).__name__} has no score threshold')
        if isinstance(own, tuple):
            score_thr = read_per_kind(self.threshold, score_thr)
        elif not isinstance(score_thr, (int, float)):
            raise ValueError(f'{self.threshold} of {type(self).__name__} must be one number, got '
                             f'{score_thr!r}')
        other = copy.copy(self)
        setattr(other, self.threshold, score_thr)
        return other

    def views(self, cls_logits: Tensor, mask_logits: MaskLogits, metainfos: Sequence[dict],
              rescale: bool = True, unflip: bool = False) -> list[View]:
        """Split the predictions for a batch into those for each image.

        Args:
            cls_logits: see :meth:`predict`.
            mask_logits: see :meth:`predict`.
            metainfos: see :meth:`predict`.
            rescale: see :meth:`predict`.
            unflip: undo the flip that the pipeline applied to the image.

        Returns:
            one view per image.

        Raises:
            ValueError: the number of class logits does not fit ``score_activation``.
        """
        probs = self.class_scores(cls_logits)
        if probs.shape[-1] != self.num_classes + 1:
            raise ValueError(
                f'panoptic_fusion_head gets {cls_logits.shape[-1]} class logits per query in a '
                f'model of {self.num_classes} classes: set its score_activation to "sigmoid" for '
                'a head without a "no object" class, to "softmax" for one with it')
        probs = mark_broken(probs, cls_logits, self.score_activation == 'sigmoid')
        return [self.view(probs[i], mask_logits, i, metainfo, rescale, unflip)
                for i, metainfo in enumerate(metainfos)]

    def view(self, probs: Tensor, mask_logits: MaskLogits, image: int, metainfo: dict,
             rescale: bool = True, unflip: bool = False) -> View:
        """Combine the predictions for one image, without queries whose logits are not finite.

        These predict "no object", and their masks are empty; :attr:`dropped` counts them.

        Args:
            probs: class probabilities [Q, K + 1]; NaN for class logits that are not finite.
            mask_logits: see :meth:`predict`.
            image: index of the image in the batch.
            metainfo: see :class:`FullSizeMasks`.
            rescale: see :meth:`predict`.
            unflip: see :meth:`views`.
        """
        masks = self.full_size_masks(mask_logits, image, metainfo, rescale, unflip)
        return without_broken(probs, masks, image, self.dropped,
                              str(metainfo.get('img_path', f'image {image} of the batch')))

    def full_size_masks(self, mask_logits: MaskLogits, image: int, metainfo: dict,
                        rescale: bool = True, unflip: bool = False) -> FullSizeMasks:
        """Masks of one image at the size of the result; arguments of :class:`FullSizeMasks`."""
        return FullSizeMasks(mask_logits, image, metainfo, rescale, unflip,
                             self.mask_activation, self.resize_once)

    def fuse(self, views: Sequence[View], outputs: OutputOptions) -> dict:
        """Compute the results of one image.

        Args:
            views: one view, or several of test-time augmentation.
            outputs: options of the outputs.

        Returns:
            dict of those of ``pred_panoptic_seg``, ``pred_instances`` and ``pred_sem_seg`` that
            are on.

        Raises:
            ValueError: the model has more classes than a panoptic result can represent.
        """
        if outputs.panoptic_on:
            check_class_count(self.num_classes, 'panoptic_fusion_head')
        results: dict[str, PixelData | InstanceData] = {}
        if outputs.panoptic_on or outputs.instance_on:
            probs, masks = merge_views(views)
            if outputs.panoptic_on:
                results['pred_panoptic_seg'] = self.panoptic(*self.best_classes(probs), masks)
            if outputs.instance_on:
                results['pred_instances'] = self.instances(probs, masks, outputs)
        if outputs.semantic_on:
            results['pred_sem_seg'] = fuse_semantic(views, outputs.resize_scores)
        return results

    def fates(self, views: Sequence[View]) -> list[Fate]:
        """Find out what :meth:`panoptic` does with each query of an image.

        Args:
            views: as for :meth:`fuse`; with several, queries are those of the first view.

        Returns:
            one entry per query, in order. Queries that a rule of another package drops without
            telling :attr:`log` have the fate 'unknown'.
        """
        probs, masks = merge_views(views)
        scores, labels = self.best_classes(probs)
        told = copy.copy(self)
        told.log = log = FateLog(len(probs))
        if masks.broken is not None:
            log.check('not_finite', ~masks.broken)
        result = told.panoptic(scores, labels, masks)
        leaders = {info['id']: info['query'] for info in result.segments_info}
        best = probs[:, :-1].max(-1)
        labels, scores, no_object = to_host(best.indices, best.values, probs[:, -1])
        return log.fates(labels.tolist(), scores.tolist(), no_object.tolist(), leaders)

    def best_classes(self, probs: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and labels [Q] for :meth:`panoptic` from class probabilities [Q, K + 1]."""
        return probs.max(-1)

    def instances(self, probs: Tensor, masks: OutputMasks, outputs: OutputOptions) -> InstanceData:
        """Select the instances of one image, see :func:`predict_instances`."""
        return predict_instances(
            probs, masks, self.num_things_classes, outputs.max_per_image, outputs.mask_format,
            self.rank_things_only)

    def panoptic(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> PixelData:
        """Compute the panoptic map of one image.

        Args:
            scores: [Q], score of the best of the K + 1 classes.
            labels: int64 [Q], that class; K is "no object".
            masks: masks of the queries.

        Returns:
            ``sem_seg`` int32 [1, H, W] in mmdet's coding (stuff: label; thing: label + 1000 x
            instance number; void: K). Its metainfo ``segments_info`` lists the accepted segments,
            each with the number of its (best) query.
        """
        raise NotImplementedError

    def per_kind(self, pair: tuple[float, float], labels: Tensor) -> Tensor:
        """Select a number for each label [n]: the first for things, the second for stuff."""
        return torch.where(labels < self.num_things_classes, *pair)


# an option with one number, or with one for things and one for stuff
PerKind = float | Sequence[float]


def read_per_kind(name: str, value: PerKind) -> tuple[float, float]:
    """Convert an option to a pair (things, stuff).

    Args:
        name: of the option, for the error text.
        value: one number for both, or a pair.

    Raises:
        ValueError: the value is neither.
    """
    pair = (value, value) if isinstance(value, (int, float)) else tuple(value)
    if len(pair) != 2 or not all(isinstance(number, (int, float)) for number in pair):
        raise ValueError(f'panoptic_fusion_head.{name}={value!r} must be one number, or two: '
                         'one for things and one for stuff')
    return pair[0], pair[1]


def take_former_names(options: dict[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Take the options that a config gives by a former name, with a warning.

    Args:
        options: options of a config by name; those with former names are removed.
        renamed: former name -> name.

    Returns:
        Their values by the new name.
    """
    taken = {}
    for former, name in renamed.items():
        if former in options:
            warnings.warn(f'panoptic_fusion_head.{former} is called {name} now; the former name '
                          'still works in this version', FutureWarning, stacklevel=3)
            taken[name] = options.pop(former)
    return taken
