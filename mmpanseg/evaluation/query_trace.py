"""Predictions and matched segments of each query in each decoder layer."""
import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmpanseg.models.losses import MaskCriterion
from mmpanseg.models.losses.mask_criterion import MASK_COMPARISONS, PointSampler
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap
from mmpanseg.utils.config_checks import resolve_option


class FixedPoints(PointSampler):
    """Point sampler that returns the same uniform points in every call.

    Args:
        num_points: P.
        seed: seed of the random generator.
    """

    def __init__(self, num_points: int, seed: int = 0) -> None:
        super().__init__(num_points)
        generator = torch.Generator().manual_seed(seed)
        self.points = torch.rand(1, num_points, 2, generator=generator)

    def uniform(self, sets: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return points [sets, P, 2] in 0 .. 1, the same for each set."""
        return self.points.to(device, dtype).expand(sets, -1, -1)


@torch.no_grad()
def trace_queries(model: MaskTransformer, data: dict, part: str = 'matching',
                  match_on: str = 'points') -> list[dict]:
    """Compute predictions and matches of all decoder layers.

    The criterion matches queries at points that are the same in every call, or on all
    pixels.

    Args:
        model: in evaluation mode.
        data: a collated batch of samples with ``gt_segments``.
        part: 'matching', the learnable queries, or 'piloted': MP-Former's mask-piloted queries,
            one copy of every segment without noise, matched like the others.
        match_on: 'points' or 'masks' (all pixels).

    Returns:
        a dict with ``query_trace`` for each image, see :class:`QueryConsistencyMetric`. Masks are
        thresholded at probability 0.5, in the size of the mask logits.

    Raises:
        ValueError: a sample has no ground truth; or see :func:`check_traceable`.
    """
    check_traceable(model, part, match_on)
    data = model.data_preprocessor(data, False)
    samples = data['data_samples']
    segments = SegmentBatch([aligned_segments(sample) for sample in samples],
                            samples[0].batch_input_shape)
    head = model.panoptic_head
    cls_logits, mask_logits, counts = head.layer_predictions(
        model.extract_feat(data['inputs']), segments, part)
    assignments = match_queries(
        reproducible(head.criterion, match_on), cls_logits.float(), mask_logits.float(), segments,
        counts)
    return [dict(query_trace=dict(
        masks=torch.stack([
            mask_logits.dense(layer, image, torch.arange(count, device=cls_logits.device)) >= 0
            for layer in range(len(mask_logits))]),
        assignments=assignments[:, image, :count],
        num_segments=segments.counts[image])) for image, count in enumerate(counts)]


def check_traceable(model: nn.Module, part: str = 'matching',
                    match_on: str = 'points') -> MaskTransformer:
    """Check that :func:`trace_queries` supports a model.

    Args:
        model: model to check.
        part: see :func:`trace_queries`.
        match_on: see :func:`trace_queries`.

    Returns:
        the model.

    Raises:
        ValueError: an option is unknown, or the head of the model has no predictions of every
            layer; the text names it.
    """
    resolve_option('match_on', match_on, dict.fromkeys(MASK_COMPARISONS))
    if not isinstance(model, MaskTransformer):
        raise ValueError(f'{type(model).__name__} has no predictions of every decoder layer: query '
                         'consistency needs a mmpanseg.MaskTransformer with a '
                         'mmpanseg.Mask2FormerHead or mmpanseg.MPFormerHead')
    model.panoptic_head.check_query_part(part)
    return model


def aligned_segments(sample: DetDataSample) -> SegmentMap:
    """Resize the ground truth of a sample to the size of its input image.

    Test pipelines load it in the size of the file; it is resized by nearest neighbor.

    Args:
        sample: with ``gt_segments`` and ``img_shape``.

    Raises:
        ValueError: the sample has no ground truth.
    """
    if 'gt_segments' not in sample:
        raise ValueError(
            f'no gt_segments for {sample.get("img_path", "an image")}: the pipeline must load '
            'annotations (mmpanseg.LoadPanopticMap) before mmpanseg.PackPanopticInputs')
    segments = sample.gt_segments
    size = (sample.img_shape[0], sample.img_shape[1])
    if segments.shape == size:
        return segments
    if segments.map is None:
        resized = F.interpolate(segments.masks[:, None].float(), size, mode='nearest-exact')[:, 0]
        return SegmentMap(segments.labels, masks=resized > 0)
    resized = F.interpolate(segments.map[None, None].float(), size, mode='nearest-exact')[0, 0]
    return SegmentMap(segments.labels, map=resized.to(segments.map.dtype))


def reproducible(criterion: MaskCriterion, match_on: str) -> MaskCriterion:
    """Copy a criterion so that it matches at the same points in every call.

    Args:
        criterion: criterion of the model; stays unchanged.
        match_on: 'points' or 'masks'.
    """
    fixed = copy.copy(criterion)
    fixed.match_on = match_on
    fixed.sampler = FixedPoints(criterion.sampler.num_points)
    return fixed


def match_queries(criterion: MaskCriterion, cls_logits: Tensor, mask_logits: MaskLogits,
                  segments: SegmentBatch, counts: Sequence[int]) -> Tensor:
    """Match queries to segments (equation 2).

    Args:
        criterion: computes the costs and the assignment.
        cls_logits: [L + 1, B, N, C].
        mask_logits: mask logits of the L + 1 predictions.
        segments: ground truth.
        counts: number of queries of each image that are matched, the first ones.

    Returns:
        int64 [L + 1, B, N], segment of each query, or -1.
    """
    costs = criterion.cost_matrices(cls_logits, mask_logits, segments)
    number = torch.arange(costs.shape[2], device=costs.device)
    idle = number >= torch.tensor(counts, device=costs.device)[:, None]
    # the assigner never matches infinite costs
    matches = criterion.assigner(
        costs.masked_fill(idle[None, :, :, None], torch.inf), segments.counts)
    assignments = torch.full(costs.shape[:3], -1, dtype=torch.long, device=costs.device)
    rows = matches.rows
    assignments[rows.layer, rows.image, rows.query] = matches.segment
    return assignments
