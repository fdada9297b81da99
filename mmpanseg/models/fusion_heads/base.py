"""From queries to results: what the fusion heads share."""
from collections.abc import Sequence

from mmengine.model import BaseModule
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.instances import predict_instances
from mmpanseg.models.fusion_heads.semantic import semantic_labels
from mmpanseg.models.inference.augmented_views import OutputMasks, View, merge_views
from mmpanseg.models.inference.full_size_masks import (
    MASK_ACTIVATIONS,
    SCORE_ACTIVATIONS,
    FullSizeMasks,
)
from mmpanseg.models.inference.test_cfg import Outputs
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.structures.result_coding import check_class_count
from mmpanseg.utils.config_checks import resolve_option


class FusionHead(BaseModule):
    """Gives all outputs of one set of predictions; subclasses say how segments get their pixels.

    Args:
        num_things_classes, num_stuff_classes: set once, at the segmentor.
        score_activation: 'softmax' over K classes and "no object", or 'sigmoid' for each class by
            itself; then there is no "no object", and a query has -inf for classes that are not
            open to it.
        mask_activation: 'sigmoid', or 'none' for masks that a head gives as they are.
        resize_once: see :class:`FullSizeMasks`.

    Raises:
        ValueError: for an activation that does not exist.
    """

    def __init__(self, num_things_classes: int, num_stuff_classes: int,
                 score_activation: str = 'softmax', mask_activation: str = 'sigmoid',
                 resize_once: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_things_classes = num_things_classes
        self.num_classes = num_things_classes + num_stuff_classes
        self.class_scores = resolve_option('score_activation', score_activation, SCORE_ACTIVATIONS)
        self.mask_activation = resolve_option('mask_activation', mask_activation, MASK_ACTIVATIONS)
        self.resize_once = resize_once
        # scores that do not compete for a sum of 1 rank things among themselves
        self.rank_things_only = score_activation == 'sigmoid'

    def predict(self, cls_logits: Tensor, mask_logits: MaskLogits, metainfos: Sequence[dict],
                rescale: bool = True, outputs: Outputs = Outputs()) -> list[dict]:
        """Results of every image of a batch.

        Args:
            cls_logits: [B, Q, K + 1], or [B, Q, K] for sigmoid scores.
            mask_logits: of the same queries; the last prediction is read.
            metainfos: one dict per image, see :class:`FullSizeMasks`.
            rescale: results at the original size.
            outputs: what to give.

        Returns:
            per image a dict as :meth:`fuse` gives it.
        """
        views = self.views(cls_logits, mask_logits, metainfos, rescale)
        return [self.fuse([view], outputs) for view in views]

    def views(self, cls_logits: Tensor, mask_logits: MaskLogits, metainfos: Sequence[dict],
              rescale: bool = True, unflip: bool = False) -> list[View]:
        """Predictions of a batch image by image; arguments as for :meth:`predict`."""
        probs = self.class_scores(cls_logits)
        if probs.shape[-1] != self.num_classes + 1:
            raise ValueError(
                f'panoptic_fusion_head reads {cls_logits.shape[-1]} class logits of a query in a '
                f'model of {self.num_classes} classes: set its score_activation to "sigmoid" for '
                'a head without a "no object" class, to "softmax" for one with it')
        return [View(probs[i], self.full_size(mask_logits, i, metainfo, rescale, unflip))
                for i, metainfo in enumerate(metainfos)]

    def full_size(self, mask_logits: MaskLogits, image: int, metainfo: dict,
                  rescale: bool = True, unflip: bool = False) -> FullSizeMasks:
        """Masks of one image at the size of the result; arguments as there."""
        return FullSizeMasks(mask_logits, image, metainfo, rescale, unflip,
                             self.mask_activation, self.resize_once)

    def fuse(self, views: Sequence[View], outputs: Outputs) -> dict:
        """Results of one image.

        Args:
            views: one, or several of test-time augmentation.
            outputs: what to give.

        Returns:
            those of ``pred_panoptic_seg``, ``pred_instances`` and ``pred_sem_seg`` that are on.

        Raises:
            ValueError: more classes than a panoptic result can tell apart.
        """
        if outputs.panoptic_on:
            check_class_count(self.num_classes, 'panoptic_fusion_head')
        results = {}
        if outputs.panoptic_on or outputs.instance_on:
            merged = merge_views(views)
        if outputs.panoptic_on:
            results['pred_panoptic_seg'] = self.panoptic(
                *self.best_classes(merged.probs), merged.masks)
        if outputs.instance_on:
            results['pred_instances'] = self.instances(merged.probs, merged.masks, outputs)
        if outputs.semantic_on:
            results['pred_sem_seg'] = semantic_labels(views, outputs.resize_scores)
        return results

    def best_classes(self, probs: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and labels [Q] that :meth:`panoptic` reads, of probabilities [Q, K + 1]."""
        return probs.max(-1)

    def instances(self, probs: Tensor, masks: OutputMasks, outputs: Outputs) -> InstanceData:
        """Instances of one image, see :func:`predict_instances`."""
        return predict_instances(
            probs, masks, self.num_things_classes, outputs.max_per_image, outputs.mask_format,
            self.rank_things_only)

    def panoptic(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> PixelData:
        """Panoptic map of one image.

        Args:
            scores, labels: [Q], best of the K + 1 classes.
            masks: the queries' masks.

        Returns:
            ``sem_seg`` int32 [1, H, W] in mmdet's coding (stuff: label; thing: label + instance x
            1000; void: K); ``segments_info`` lists the accepted segments, each with the row of
            its (best) query.
        """
        raise NotImplementedError
