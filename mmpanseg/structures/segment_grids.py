"""Ground truth masks on grids that are coarser than the image.

Cells are those of adaptive pooling: cell i of h covers the pixels from floor(i H / h) to
ceil((i + 1) H / h) - 1, so that neighboring cells share a pixel where h does not divide H.

Shapes: B images, N segments, H, W image size, h, w cells, P pixels.
"""
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.utils.device import chunk_rows, to_device

Labels = TypeVar('Labels', Tensor, np.ndarray)


def resize_nearest(labels: Labels, size: tuple[int, int]) -> Labels:
    """Resize a map of labels or a mask by nearest neighbor.

    Pixel centers are compared in double precision, as torch's mode ``'nearest-exact'`` defines
    them.

    Args:
        labels: integers or bool [H, W], an array or a tensor.
        size: (height, width) of the result.

    Returns:
        values of ``labels`` at ``size``; ``labels`` itself if it has that size.
    """
    if tuple(labels.shape) == tuple(size):
        return labels
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(np.int64)
                     for new, old in zip(size, labels.shape))
    if isinstance(labels, np.ndarray):
        return labels[rows[:, None], columns]
    row_index, column_index = to_device(labels.device, rows, columns)
    return labels[row_index][:, column_index]


def max_pool_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Apply adaptive max pooling to dense masks.

    Args:
        masks: bool [N, H, W].
        size: (h, w), at most (H, W).

    Returns:
        bool [N, h * w], True where the mask contains a pixel of the cell.
    """
    pooled = masks.new_empty(len(masks), size[0] * size[1])
    step = chunk_rows(masks.device, masks.shape[-2] * masks.shape[-1])
    for start in range(0, len(masks), step):
        part = slice(start, start + step)
        pooled[part] = F.adaptive_max_pool2d(masks[part].float(), size).flatten(1) > 0
    return pooled


def max_pool_maps(maps: Tensor, size: tuple[int, int], num_segments: int) -> Tensor:
    """Apply adaptive max pooling to the masks of index maps, without dense masks.

    Every pixel sets the cells that contain it.

    Args:
        maps: integer [B, H, W], pixel -> segment, negative = void.
        size: (h, w), at most (H, W).
        num_segments: N, above the largest index.

    Returns:
        bool [B, N, h * w], True where the segment contains a pixel of the cell.
    """
    batch, height, width = maps.shape
    num_cells = size[0] * size[1]
    # void pixels set an extra row N, which is removed at the end
    row = torch.where(maps < 0, num_segments, maps).long()
    row += torch.arange(batch, device=maps.device)[:, None, None] * (num_segments + 1)
    row *= num_cells
    pooled = torch.zeros(
        batch * (num_segments + 1) * num_cells, dtype=torch.bool, device=maps.device)
    for y in cell_indices(height, size[0], maps.device):
        for x in cell_indices(width, size[1], maps.device):
            index = row + (y[:, None] * size[1] + x)
            pooled.scatter_(0, index.flatten(), True)
    return pooled.view(batch, num_segments + 1, num_cells)[:, :num_segments]


def cell_indices(pixels: int, cells: int, device: torch.device) -> list[Tensor]:
    """Compute the cells that contain each pixel along one axis.

    Args:
        pixels: length of the axis in pixels.
        cells: length of the axis in cells, at most ``pixels``.
        device: device of the result.

    Returns:
        one or two tensors int64 [pixels]: the first cell of each pixel, and the last one where
        ``cells`` does not divide ``pixels``.
    """
    pixel = torch.arange(pixels, device=device)
    first = pixel * cells // pixels
    if pixels % cells == 0:
        return [first]
    return [first, ((pixel + 1) * cells - 1) // pixels]


@dataclass(frozen=True)
class SegmentPixels:
    """Masks of the segments of one image at P pixels, stored as an index map where possible.

    Exactly one of ``index`` and ``masks`` is set.

    Attributes:
        count: N.
        index: integer [P], pixel -> segment, negative = void; for segments that do not overlap.
        masks: bool [N, P]; for segments that overlap.
    """
    count: int
    index: Tensor | None = None
    masks: Tensor | None = None

    def masks_at(self, segment: Tensor | None = None, pixel: Tensor | None = None) -> Tensor:
        """Build the masks of some segments at some pixels.

        Args:
            segment: int64 [m], index of the segments; all N by default.
            pixel: int64 [k], index of the pixels; all P by default.

        Returns:
            bool [m, k].
        """
        if self.masks is not None:
            masks = self.masks if segment is None else self.masks[segment]
            return masks if pixel is None else masks[:, pixel]
        assert self.index is not None
        index = self.index if pixel is None else self.index[pixel]
        if segment is None:
            segment = torch.arange(self.count, device=index.device)
        return index == segment[:, None].to(index.dtype)
