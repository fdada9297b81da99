"""kMaX-DeepLab's fusion: whole masks take free pixels, the surest first.

Shapes: Q queries, H, W result.
"""
from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.base import FusionHead
from mmpanseg.models.fusion_heads.instances import mean_inside
from mmpanseg.models.fusion_heads.mask_wise import ThingsStuff, merge, things_stuff
from mmpanseg.models.fusion_heads.segments import paint, segment_table
from mmpanseg.models.inference.augmented_views import OutputMasks
from mmpanseg.models.inference.full_size_masks import CompetingMasks, competing_activation
from mmpanseg.models.layers.bilinear_resize import ALIGN_CORNERS
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.device import to_host


@MODELS.register_module()
class KMaXFusionHead(FusionHead):
    """Mask-wise merging of kMaX-DeepLab as its PyTorch version has it.

    Masks are a softmax over the queries at the size of the result; a query has the pixels where it
    is above ``mask_thr``. Queries whose best class is surer than ``score_thr`` come in the order of
    class score ** ``class_power`` * mean of the mask inside ** ``mask_power``, and take the pixels
    that are still free, if these are more than ``overlap_thr`` of their mask.

    The defaults are those for COCO. Cityscapes: ``score_thr=(0.5, 0.3)``, ``overlap_thr=0.9``,
    ``mask_power=0``; ADE20K: ``score_thr=0.4``.

    Args:
        num_things_classes, num_stuff_classes: set once, at the segmentor.
        score_thr: class scores must be above, one number or one for things and one for stuff.
        mask_thr: masks must be above.
        overlap_thr: share of a mask that must be free.
        class_power, mask_power: see above.
        area_limit: segments of fewer pixels become void, one number or one for things and one for
            stuff. None in the PyTorch version; the TensorFlow version has (400, 6400) on COCO,
            (256, 2048) on Cityscapes.
        align_corners: in resizing mask logits, to the padded input and to the original size: 'odd'
            (PyTorch version: where the padded width is odd) or 'always' (TensorFlow version).
        crop: where the image ends in the padded input: 'image', or 'published' for the rule of
            the published code, which takes it to reach the longer side of the padded input. On
            Cityscapes that leaves out the last of 1025 rows.
        init_cfg: see mmengine.

    Raises:
        ValueError: a setting is not possible; the text names it.
    """

    def __init__(self, num_things_classes: int, num_stuff_classes: int,
                 score_thr: ThingsStuff = (0.7, 0.5), mask_thr: float = 0.4,
                 overlap_thr: float = 0.8, class_power: float = 1.0, mask_power: float = 1.0,
                 area_limit: ThingsStuff = 0, align_corners: str = 'odd', crop: str = 'image',
                 init_cfg: dict | None = None) -> None:
        super().__init__(num_things_classes, num_stuff_classes, init_cfg=init_cfg)
        if not 0 < mask_thr < 1:
            raise ValueError(f'panoptic_fusion_head.mask_thr={mask_thr} must lie between 0 and 1')
        self.mask_activation = competing_activation(mask_thr)
        self.score_thr = things_stuff('score_thr', score_thr)
        self.overlap_thr = overlap_thr
        self.class_power = class_power
        self.mask_power = mask_power
        self.area_limit = things_stuff('area_limit', area_limit)
        self.align_corners = resolve_option(
            'panoptic_fusion_head.align_corners', align_corners, ALIGN_CORNERS)
        self.crop = resolve_option('panoptic_fusion_head.crop', crop,
                           dict(image=image_shape, published=published_shape))

    def full_size(self, mask_logits: MaskLogits, image: int, metainfo: dict,
                  rescale: bool = True, unflip: bool = False) -> CompetingMasks:
        metainfo = dict(metainfo, img_shape=self.crop(metainfo))
        return CompetingMasks(
            mask_logits, image, metainfo, rescale, unflip, self.mask_activation,
            align_corners=self.align_corners(metainfo['batch_input_shape'][1]))

    def best_classes(self, probs: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and labels [Q] of the best class; "no object" is none, however likely."""
        return probs[:, :-1].max(-1)

    def panoptic(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> PixelData:
        is_thing = labels < self.num_things_classes
        queries = (scores > torch.where(is_thing, *self.score_thr)).nonzero()[:, 0]
        means = [mean_inside(masks, logits)[1]
                 for logits in masks.chunks(queries)] if len(queries) else []
        means = torch.cat([scores[:0], *means])
        confidence = scores[queries] ** self.class_power * means ** self.mask_power
        confidence, order = confidence.sort(descending=True, stable=True)
        queries = queries[order]
        labels = labels[queries]

        merging = merge(masks, queries, torch.full_like(confidence, self.overlap_thr),
                        strictly=True)
        large = self.large_enough(labels, merging.taken)
        values, segments = segment_table(
            queries, labels, confidence, merging.taken * large, self.num_things_classes)
        values = [value if keep else self.num_classes
                  for value, keep in zip(values, to_host(large)[0].tolist())]
        return paint(merging.owner, [self.num_classes, *values], segments)

    def large_enough(self, labels: Tensor, taken: Tensor) -> Tensor:
        """Whether segments with ``taken`` pixels reach their limit, bool [n]; stuff of a class is
        one.
        """
        is_thing = labels < self.num_things_classes
        of_class = taken.new_zeros(self.num_classes).index_add_(0, labels, taken)
        areas = torch.where(is_thing, taken, of_class[labels])
        return areas >= torch.where(is_thing, *self.area_limit)


def image_shape(metainfo: dict) -> Sequence[int]:
    """Height and width of the image in the padded input."""
    return metainfo['img_shape'][:2]


def published_shape(metainfo: dict) -> Sequence[int]:
    """The same, for an image whose longer side has been resized to that of the padded input.

    Raises:
        ValueError: the image has another size.
    """
    scale = max(metainfo['batch_input_shape']) / max(metainfo['ori_shape'][:2])
    shape = [round(side * scale) for side in metainfo['ori_shape'][:2]]
    if max(abs(side - real) for side, real in zip(shape, image_shape(metainfo))) > 1:
        raise ValueError(
            "panoptic_fusion_head.crop='published' takes images whose longer side has been resized "
            f'to that of the padded input {tuple(metainfo["batch_input_shape"])}, this one is '
            f'{tuple(image_shape(metainfo))} (height, width): set crop=\'image\', as for tiles and '
            'other scales')
    return shape
