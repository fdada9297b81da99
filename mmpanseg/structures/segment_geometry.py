"""Boxes and centers of mass of ground truth masks.

Shapes: N segments of one image, H, W image size.
"""
import torch
from torch import Tensor

from mmpanseg.structures.segment_map import SegmentMap
from mmpanseg.utils.device import bincount


def segment_boxes(segments: SegmentMap) -> Tensor:
    """Compute the bounding box of each segment.

    Args:
        segments: N segments.

    Returns:
        float32 [N, 4], (x1, y1, x2, y2) in pixels. ``x2`` and ``y2`` are one past the last pixel,
        as in COCO. The box of an empty segment is zero.
    """
    if segments.map is None:
        return mask_boxes(segments.masks)
    height, width = segments.shape
    return _boxes(_occupied(segments, 1, width), _occupied(segments, 0, height))


def mask_boxes(masks: Tensor) -> Tensor:
    """Compute the bounding box of each mask, see :func:`segment_boxes`.

    Args:
        masks: bool [N, H, W].

    Returns:
        float32 [N, 4].
    """
    return _boxes(masks.any(1), masks.any(2))


def segment_mass_centers(segments: SegmentMap) -> Tensor:
    """Compute the center of mass of each segment.

    Args:
        segments: N segments.

    Returns:
        float32 [N, 2], (x, y) in pixels, 0 = center of the first pixel. The center of an empty
        segment is 0.
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
    """Count the pixels of each segment per column (axis 1) or row (axis 0), int64 [N, length]."""
    assert segments.map is not None
    position = torch.arange(length, device=segments.device)
    position = position if axis == 1 else position[:, None]
    # void, index -1, is counted in an extra first row, which is removed at the end
    index = (segments.map.long() + 1) * length + position
    counts = bincount(index.flatten()[None], (len(segments) + 1) * length)
    return counts.view(-1, length)[1:]


def _occupied(segments: SegmentMap, axis: int, length: int) -> Tensor:
    """Find columns (axis 1) or rows (axis 0) with a pixel of each segment, bool [N, length]."""
    return _histogram(segments, axis, length) > 0


def _boxes(columns: Tensor, rows: Tensor) -> Tensor:
    """Compute boxes [N, 4] from occupied columns bool [N, W] and rows bool [N, H]."""
    (x1, x2), (y1, y2) = _span(columns), _span(rows)
    return torch.stack([x1, y1, x2, y2], 1).float()


def _span(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Find the first and the last + 1 True of each row, bool [N, length]; zeros without a True."""
    length = occupied.shape[1]
    position = torch.arange(length, device=occupied.device)
    first = torch.where(occupied, position, length).amin(1)
    last = torch.where(occupied, position + 1, 0).amax(1)
    return first.minimum(last), last
