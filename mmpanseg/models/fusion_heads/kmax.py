"""Fusion of kMaX-DeepLab: masks are assigned free pixels in decreasing order of confidence.

Shapes: Q queries; H, W result.
"""
from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.base import FusionHead, PerKind, read_per_kind
from mmpanseg.models.fusion_heads.instances import mask_scores
from mmpanseg.models.fusion_heads.pixel_assignment import assign_in_order
from mmpanseg.models.fusion_heads.segments import paint, segment_table
from mmpanseg.models.inference.full_size_masks import (
    CompetingMasks,
    OutputMasks,
    competing_activation,
)
from mmpanseg.models.layers.bilinear_resize import ALIGN_CORNERS
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.device import to_host


@MODELS.register_module()
class KMaXFusionHead(FusionHead):
    """Mask-wise merging of kMaX-DeepLab, as in its PyTorch version.

    Mask probabilities are a softmax over the queries at the size of the result; the mask of a query
    is where they exceed ``mask_thr``. Queries with a class score above ``score_thr`` are sorted by
    decreasing confidence, class score ** ``class_power`` * mean of the probabilities inside the
    mask ** ``mask_power``. Each gets its pixels that are still free if these are more than the
    share ``overlap_thr`` of its mask.

    The defaults are those for COCO. Cityscapes: ``score_thr=(0.5, 0.3)``, ``overlap_thr=0.9``,
    ``mask_power=0``; ADE20K: ``score_thr=0.4``.

    Args:
        num_things_classes: number of thing classes; the segmentor sets it.
        num_stuff_classes: number of stuff classes; the segmentor sets it.
        score_thr: class score to exceed, one number or one for things and one for stuff.
        mask_thr: mask probability to exceed, in (0, 1).
        overlap_thr: share of a mask that must be free (not mmdet's iou_thr, which compares the
            winners of an arg-max).
        class_power: exponent of the class score.
        mask_power: exponent of the mean of the mask.
        area_limit: segments of fewer pixels become void, one number or one for things and one for
            stuff. The PyTorch version has no limit; the TensorFlow version has (400, 6400) on COCO,
            (256, 2048) on Cityscapes.
        align_corners: for resizing mask logits to the padded input and to the original size: 'odd'
            (PyTorch version: where the padded width is odd) or 'always' (TensorFlow version).
        crop: where the image ends in the padded input: 'image', or 'published' for the rule of
            the published code, which assumes that the image extends over the longer side of the
            padded input. On Cityscapes that leaves out the last of 1025 rows.
        init_cfg: see mmengine's BaseModule.

    Raises:
        ValueError: an option has an impossible value; the text names it.
    """

    def __init__(self, num_things_classes: int, num_stuff_classes: int,
                 score_thr: PerKind = (0.7, 0.5), mask_thr: float = 0.4,
                 overlap_thr: float = 0.8, class_power: float = 1.0, mask_power: float = 1.0,
                 area_limit: PerKind = 0, align_corners: str = 'odd', crop: str = 'image',
                 init_cfg: dict | None = None) -> None:
        super().__init__(num_things_classes, num_stuff_classes, init_cfg=init_cfg)
        if not 0 < mask_thr < 1:
            raise ValueError(f'panoptic_fusion_head.mask_thr={mask_thr} must be between 0 and 1')
        self.mask_activation = competing_activation(mask_thr)
        self.score_thr = read_per_kind('score_thr', score_thr)
        self.overlap_thr = overlap_thr
        self.class_power = class_power
        self.mask_power = mask_power
        self.area_limit = read_per_kind('area_limit', area_limit)
        self.align_corners = resolve_option(
            'panoptic_fusion_head.align_corners', align_corners, ALIGN_CORNERS)
        self.crop = resolve_option('panoptic_fusion_head.crop', crop,
                                   dict(image=image_shape, published=published_shape))

    def full_size_masks(self, mask_logits: MaskLogits, image: int, metainfo: dict,
                        rescale: bool = True, unflip: bool = False) -> CompetingMasks:
        metainfo = dict(metainfo, img_shape=self.crop(metainfo))
        return CompetingMasks(
            mask_logits, image, metainfo, rescale, unflip, self.mask_activation,
            align_corners=self.align_corners(metainfo['batch_input_shape'][1]))

    def best_classes(self, probs: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and labels [Q] of the best class; "no object" is excluded, however likely."""
        return probs[:, :-1].max(-1)

    def panoptic(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> PixelData:
        limits = self.per_kind(self.score_thr, labels)
        confident = scores > limits
        self.log.check('score', confident, scores, limits, 'score_thr')
        queries = confident.nonzero()[:, 0]
        means = mask_scores(masks, queries)
        confidence = scores[queries] ** self.class_power * means ** self.mask_power
        confidence, order = confidence.sort(descending=True, stable=True)
        queries = queries[order]
        labels = labels[queries]

        found = assign_in_order(
            masks, queries, torch.full_like(confidence, self.overlap_thr), strictly=True)
        self.log.assigned(queries, found, self.overlap_thr, 'overlap_thr')
        limits, areas = self.per_kind(self.area_limit, labels), self.segment_areas(
            labels, found.areas)
        large = areas >= limits
        self.log.check('area', large, areas, limits, 'area_limit', queries)
        values, segments = segment_table(
            queries, labels, confidence, found.areas * large, self.num_things_classes)
        values = [value if keep else self.num_classes
                  for value, keep in zip(values, to_host(large)[0].tolist())]
        self.log.painted(queries, found.areas * large, values)
        return paint(found.owner, [self.num_classes, *values], segments)

    def segment_areas(self, labels: Tensor, areas: Tensor) -> Tensor:
        """Areas int64 [n] of the segments that queries belong to; stuff is summed by class.

        Args:
            labels: int64 [n].
            areas: int64 [n], pixels assigned to each query.
        """
        class_areas = areas.new_zeros(self.num_classes).index_add_(0, labels, areas)
        return torch.where(labels < self.num_things_classes, areas, class_areas[labels])


def image_shape(metainfo: dict) -> Sequence[int]:
    """Height and width of the image in the padded input."""
    return metainfo['img_shape'][:2]


def published_shape(metainfo: dict) -> Sequence[int]:
    """Height and width of an image whose longer side was resized to that of the padded input.

    Raises:
        ValueError: the image has another size.
    """
    scale = max(metainfo['batch_input_shape']) / max(metainfo['ori_shape'][:2])
    shape = [round(side * scale) for side in metainfo['ori_shape'][:2]]
    if max(abs(side - real) for side, real in zip(shape, image_shape(metainfo))) > 1:
        raise ValueError(
            "panoptic_fusion_head.crop='published' needs images whose longer side is resized to "
            f'that of the padded input {tuple(metainfo["batch_input_shape"])}, this one is '
            f'{tuple(image_shape(metainfo))} (height, width): set crop=\'image\', as for tiles and '
            'other scales')
    return shape
