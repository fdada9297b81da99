"""From queries to results: what the fusion heads share."""
from typing import Optional, Sequence

from mmengine.model import BaseModule
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.full_size import FullSizeMasks
from mmpanseg.models.fusion_heads.instances import predict_instances
from mmpanseg.models.fusion_heads.outputs import Outputs
from mmpanseg.models.fusion_heads.semantic import semantic_labels
from mmpanseg.models.fusion_heads.views import OutputMasks, View, merge_views
from mmpanseg.structures.mask_logits import MaskLogits


class FusionHead(BaseModule):
    """Gives all outputs of one set of predictions; subclasses say how segments get their pixels.

    Args:
        num_things_classes, num_stuff_classes: set once, at the segmentor.
    """

    def __init__(self, num_things_classes: int, num_stuff_classes: int,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_things_classes = num_things_classes
        self.num_classes = num_things_classes + num_stuff_classes

    def predict(self, cls_logits: Tensor, mask_logits: MaskLogits, metainfos: Sequence[dict],
                rescale: bool = True, outputs: Outputs = Outputs()) -> list[dict]:
        """Results of every image of a batch.

        Args:
            cls_logits: [B, Q, K + 1].
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
        probs = cls_logits.softmax(-1)
        return [View(probs[i], FullSizeMasks(mask_logits, i, metainfo, rescale, unflip))
                for i, metainfo in enumerate(metainfos)]

    def fuse(self, views: Sequence[View], outputs: Outputs) -> dict:
        """Results of one image.

        Args:
            views: one, or several of test-time augmentation.
            outputs: what to give.

        Returns:
            those of ``pred_panoptic_seg``, ``pred_instances`` and ``pred_sem_seg`` that are on.
        """
        results = {}
        if outputs.panoptic_on or outputs.instance_on:
            merged = merge_views(views)
        if outputs.panoptic_on:
            results['pred_panoptic_seg'] = self.panoptic(*merged.probs.max(-1), merged.masks)
        if outputs.instance_on:
            results['pred_instances'] = predict_instances(
                merged.probs, merged.masks, self.num_things_classes, outputs.max_per_image,
                outputs.mask_format)
        if outputs.semantic_on:
            results['pred_sem_seg'] = semantic_labels(views, outputs.resize_scores)
        return results

    def panoptic(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> PixelData:
        """Panoptic map of one image.

        Args:
            scores, labels: [Q], best of the K + 1 classes.
            masks: the queries' masks.

        Returns:
            ``sem_seg`` int32 [1, H, W] in mmdet's coding (stuff: label; thing: label + instance x
            1000; void: K); ``segments_info`` lists the accepted segments.
        """
        raise NotImplementedError
