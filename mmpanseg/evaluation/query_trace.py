"""What every query of a model predicts and is matched to, layer by layer."""
import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmpanseg.models.losses import MaskCriterion
from mmpanseg.models.losses.mask_criterion import MATCH_ON
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap
from mmpanseg.utils.config_checks import resolve_option


class FixedPoints:
    """The same uniform points in every call, so that matching can be repeated.

    Args:
        num_points: P.
        seed: of the draw.
    """

    def __init__(self, num_points: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.points = torch.rand(1, num_points, 2, generator=generator)

    def uniform(self, sets: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Points [sets, P, 2]."""
        return self.points.to(device, dtype).expand(sets, -1, -1)


@torch.no_grad()
def trace_queries(model: nn.Module, data: dict, part: str = 'matching',
                  match_on: str = 'points') -> list[dict]:
    """Predictions and matches of all decoder layers, image by image.

    Matching is the criterion's, at points that are the same in every call, or on all pixels. The
    model should be in evaluation mode.

    Args:
        model: a :class:`mmpanseg.models.segmentors.MaskTransformer`.
        data: a collated batch of samples with ``gt_segments``.
        part: 'matching', the learnable queries, or 'piloted': MP-Former's mask-piloted queries,
            fed with one copy of every segment without noise, and matched like the others.
        match_on: 'points' or 'masks' (all pixels).

    Returns:
        a dict ``query_trace`` for each image, see :class:`QueryConsistencyMetric`. Masks are
        thresholded at probability 0.5 at the size of the mask logits.

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


def check_traceable(model: nn.Module, part: str = 'matching', match_on: str = 'points') -> None:
    """Whether the queries of a model can be followed; arguments as for :func:`trace_queries`.

    Raises:
        ValueError: an option is unknown, or the model's head is of another kind; the text names it.
    """
    resolve_option('match_on', match_on, MATCH_ON)
    if not isinstance(model, MaskTransformer):
        raise ValueError(f'{type(model).__name__} has no predictions of every decoder layer: query '
                         'consistency needs a mmpanseg.MaskTransformer with a '
                         'mmpanseg.Mask2FormerHead or mmpanseg.MPFormerHead')
    model.panoptic_head.check_query_part(part)


def aligned_segments(sample: object) -> SegmentMap:
    """Ground truth of a sample at the size of its input image.

    Test pipelines load it at the size of the file; it is then resized, nearest pixel.
    """
    if 'gt_segments' not in sample:
        raise ValueError(
            f'no gt_segments for {sample.get("img_path", "an image")}: the pipeline needs to load '
            'annotations (mmpanseg.LoadPanopticMap) before mmpanseg.PackPanopticInputs')
    segments = sample.gt_segments
    size = tuple(sample.img_shape[:2])
    if segments.shape == size:
        return segments
    if segments.map is None:
        resized = F.interpolate(segments.masks[:, None].float(), size, mode='nearest-exact')[:, 0]
        return SegmentMap(segments.labels, masks=resized > 0)
    resized = F.interpolate(segments.map[None, None].float(), size, mode='nearest-exact')[0, 0]
    return SegmentMap(segments.labels, map=resized.to(segments.map.dtype))


def reproducible(criterion: MaskCriterion, match_on: str) -> MaskCriterion:
    """A criterion that matches the same way every time, and shares the original's settings."""
    fixed = copy.copy(criterion)
    fixed.compare_all = resolve_option('match_on', match_on, MATCH_ON)
    fixed.sampler = FixedPoints(criterion.sampler.num_points)
    return fixed


def match_queries(criterion: MaskCriterion, cls_logits: Tensor, mask_logits: MaskLogits,
                  segments: SegmentBatch, counts: Sequence[int]) -> Tensor:
    """Segment of every query or -1 (Equation 2), int64 [L + 1, B, N].

    Args:
        counts: queries of each image that take part.
    """
    costs = criterion.all_costs(cls_logits, mask_logits, segments)
    number = torch.arange(costs.shape[2], device=costs.device)
    idle = number >= torch.tensor(counts, device=costs.device)[:, None]
    # costs that are not finite are never matched
    matches = criterion.assigner(
        costs.masked_fill(idle[None, :, :, None], torch.inf), segments.counts)
    assignments = torch.full(costs.shape[:3], -1, dtype=torch.long, device=costs.device)
    rows = matches.rows
    assignments[rows.layer, rows.image, rows.query] = matches.segment
    return assignments
