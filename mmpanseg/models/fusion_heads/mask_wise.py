"""Mask-wise merging: masks are assigned free pixels in decreasing order of confidence.

Shapes: Q queries; H, W result.
"""
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmpanseg.models.fusion_heads.base import FusionHead, PerKind, read_per_kind
from mmpanseg.models.fusion_heads.instances import mask_scores, predict_instances
from mmpanseg.models.fusion_heads.pixel_assignment import assign_in_order
from mmpanseg.models.fusion_heads.segments import paint, segment_table
from mmpanseg.models.inference.full_size_masks import OutputMasks
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.registry import MODELS


@MODELS.register_module()
class MaskWiseFusionHead(FusionHead):
    """Mask-wise merging of Panoptic SegFormer (section 3.6, and Algorithm 1 of the first version).

    The confidence of a query is ``p ** alpha * s ** beta`` with its class score p and the mean s of
    its mask probabilities above 0.5. In decreasing order of confidence each mask (above 0.5) gets
    its pixels that are still free; it is skipped if its confidence is below ``t_cnf`` or if its
    free share is below ``t_keep``. Pixels of no mask are void.

    Algorithm 1 of the first version is ``alpha=1, beta=0, t_cnf=0.3, t_keep=0``. The released code
    of the second one is ``t_keep=(0.6, 0.8), extra_pixels=1, resize_once=True``, with
    ``t_cnf=0.3`` for PVTv2 and Swin.

    Full-size masks exist for a chunk of queries at a time.

    Args:
        num_things_classes: number of thing classes; the segmentor sets it.
        num_stuff_classes: number of stuff classes; the segmentor sets it.
        alpha: exponent of the class score (Table B.3).
        beta: exponent of the mean of the mask (Table B.3).
        t_cnf: least confidence, one number or one for things and one for stuff (Table B.4).
        t_keep: least free share of a mask, in the same form (Table B.4).
        extra_pixels: added to the number of pixels in the mean s; 1 in the released code.
        **options: options of :class:`FusionHead`.

    Raises:
        ValueError: a threshold is neither a number nor a pair of numbers.
    """

    threshold = 't_cnf'

    def __init__(self, num_things_classes: int, num_stuff_classes: int, alpha: float = 1,
                 beta: float = 2, t_cnf: PerKind = 0.25, t_keep: PerKind = 0.6,
                 extra_pixels: float = 0, **options) -> None:
        super().__init__(num_things_classes, num_stuff_classes, **options)
        self.alpha = alpha
        self.beta = beta
        self.t_cnf = read_per_kind('t_cnf', t_cnf)
        self.t_keep = read_per_kind('t_keep', t_keep)
        self.extra_pixels = extra_pixels

    def instances(self, probs: Tensor, masks: OutputMasks, outputs: OutputOptions) -> InstanceData:
        """Select the instances of one image, scored by their confidence; they can overlap."""
        return predict_instances(
            probs, masks, self.num_things_classes, outputs.max_per_image, outputs.mask_format,
            self.rank_things_only, self.extra_pixels, self.confidence)

    def confidence(self, scores: Tensor, means: Tensor) -> Tensor:
        """Confidence [n] from class scores [n] and means of masks [n]; 0 for an empty mask."""
        return scores ** self.alpha * means ** self.beta * (means > 0)

    def panoptic(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> PixelData:
        candidates = self.candidates(scores, labels, masks)
        means = mask_scores(masks, candidates, self.extra_pixels)
        confidence = self.confidence(scores[candidates], means)
        limits = self.per_kind(self.t_cnf, labels[candidates])
        enough = confidence >= limits
        self.log.check('empty', means > 0, queries=candidates)
        self.log.check('confidence', enough, confidence, limits, 't_cnf', candidates)
        confident = enough.nonzero()[:, 0]
        confidence, order = confidence[confident].sort(descending=True, stable=True)
        queries = candidates[confident[order]]
        labels = labels[queries]

        limits = self.per_kind(self.t_keep, labels)
        found = assign_in_order(masks, queries, limits)
        self.log.assigned(queries, found, limits, 't_keep')
        values, segments = segment_table(
            queries, labels, confidence, found.areas, self.num_things_classes)
        self.log.painted(queries, found.areas, values)
        return paint(found.owner, [self.num_classes, *values], segments)

    def candidates(self, scores: Tensor, labels: Tensor, masks: OutputMasks) -> Tensor:
        """Queries, int64 [n], whose confidence can reach ``t_cnf``.

        The bound is the confidence with the largest mask probability in place of the mean.
        """
        is_object = labels != self.num_classes
        self.log.check('no_object', is_object)
        queries = is_object.nonzero()[:, 0]
        # the factor allows for the rounding of resized masks
        max_probs = masks.max_probs(queries) * 1.001
        bound = self.confidence(scores[queries], max_probs)
        limits = self.per_kind(self.t_cnf, labels[queries])
        enough = bound >= limits
        self.log.check('empty', max_probs >= 0.5, queries=queries)
        self.log.check('confidence', enough, bound, limits, 't_cnf', queries)
        return queries[enough]
