"""Where segments lie: boxes and centers of mass, read off the ground truth.

Shapes: N segments of one image, H, W its size.
"""
import torch
from torch import Tensor

from mmpanseg.structures.segment_map import SegmentMap
from mmpanseg.utils.device import bincount


def segment_boxes(segments: SegmentMap) -> Tensor:
    """Smallest boxes (x1, y1, x2, y2) around all pixels of each segment, float32 [N, 4], in pixels.

    ``x2`` and ``y2`` lie one past the last pixel, as in COCO. An empty segment has a box of zeros.
    """
    if segments.map is None:
        return mask_boxes(segments.masks)
    height, width = segments.shape
    return _boxes(_touched(segments, 1, width), _touched(segments, 0, height))


def mask_boxes(masks: Tensor) -> Tensor:
    """The same of masks bool [N, H, W], all at once."""
    return _boxes(masks.any(1), masks.any(2))


def segment_mass_centers(segments: SegmentMap) -> Tensor:
    """Centers of mass (x, y) of the segments in pixels, 0 = first pixel, float32 [N, 2].

    An empty segment has its center at 0.
    """
    height, width = segments.shape
    device = segments.device
    if segments.map is None:
        masks = segments.masks
        columns, rows = masks.sum(1), masks.sum(2)
    else:
        columns, rows = _histogram(segments, 1, width), _histogram(segments, 0, height)
    area = columns.sum(1).clamp(min=1)
    x = (columns * torch.arange(width, device=device)).sum(1) / area
    y = (rows * torch.arange(height, device=device)).sum(1) / area
    return torch.stack([x, y], 1).float()


def _histogram(segments: SegmentMap, axis: int, length: int) -> Tensor:
    """Pixels of each segment by column (axis 1) or row (axis 0), int64 [N, length]."""
    position = torch.arange(length, device=segments.device)
    position = position if axis == 1 else position[:, None]
    # void, index -1, counts in a first row that is cut off
    index = (segments.map.long() + 1) * length + position
    counts = bincount(index.flatten()[None], (len(segments) + 1) * length)
    return counts.view(-1, length)[1:]


def _touched(segments: SegmentMap, axis: int, length: int) -> Tensor:
    """Columns (axis 1) or rows (axis 0) that each segment has a pixel in, bool [N, length]."""
    return _histogram(segments, axis, length) > 0


def _boxes(columns: Tensor, rows: Tensor) -> Tensor:
    """Boxes [N, 4] from what is touched: columns bool [N, W], rows bool [N, H]."""
    (x1, x2), (y1, y2) = _span(columns), _span(rows)
    return torch.stack([x1, y1, x2, y2], 1).float()


def _span(touched: Tensor) -> tuple[Tensor, Tensor]:
    """First and last + 1 true column of each row of bool [N, length]; zeros where there is none."""
    length = touched.shape[1]
    position = torch.arange(length, device=touched.device)
    first = torch.where(touched, position, length).amin(1)
    last = torch.where(touched, position + 1, 0).amax(1)
    return first.minimum(last), last
