"""Segments on grids coarser than the image.

Cells are those of adaptive pooling: cell i of h covers the pixels floor(i H / h) to
ceil((i + 1) H / h), so that neighbors share a pixel where h does not divide H.

Shapes: B images, N segments, H, W pixels, h, w cells.
"""
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.utils.device import chunk_rows


def max_pool_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Touched cells [N, h * w] of dense masks bool [N, H, W]."""
    cells = masks.new_empty(len(masks), size[0] * size[1])
    step = chunk_rows(masks.device, masks.shape[-2] * masks.shape[-1])
    for start in range(0, len(masks), step):
        part = slice(start, start + step)
        cells[part] = F.adaptive_max_pool2d(masks[part].float(), size).flatten(1) > 0
    return cells


def max_pool_maps(maps: Tensor, size: tuple[int, int], num_segments: int) -> Tensor:
    """Touched cells [B, N, h * w] of index maps int [B, H, W], negative = void.

    Every pixel marks its own cell; dense masks never exist.
    """
    batch, height, width = maps.shape
    num_cells = size[0] * size[1]
    # void marks a row of its own, cut off below
    row = torch.where(maps < 0, num_segments, maps).long()
    row += torch.arange(batch, device=maps.device)[:, None, None] * (num_segments + 1)
    row *= num_cells
    touched = torch.zeros(
        batch * (num_segments + 1) * num_cells, dtype=torch.bool, device=maps.device)
    for y in cell_indices(height, size[0], maps.device):
        for x in cell_indices(width, size[1], maps.device):
            place = row + (y[:, None] * size[1] + x)
            touched.scatter_(0, place.flatten(), True)
    return touched.view(batch, num_segments + 1, num_cells)[:, :num_segments]


def cell_indices(pixels: int, cells: int, device: torch.device) -> list[Tensor]:
    """The cell of every pixel of an axis, and the other one it may reach into, int64 [pixels]."""
    pixel = torch.arange(pixels, device=device)
    first = pixel * cells // pixels
    if pixels % cells == 0:
        return [first]
    return [first, ((pixel + 1) * cells - 1) // pixels]


class SegmentPixels(NamedTuple):
    """Which segments have which pixels, without a number for every pair of the two.

    Attributes:
        count: N.
        index: integer [P], the segment of each pixel, negative for none; None where they overlap.
        masks: bool [N, P] where they overlap.
    """
    count: int
    index: Tensor | None = None
    masks: Tensor | None = None

    def masks_at(self, segment: Tensor | None = None, pixel: Tensor | None = None) -> Tensor:
        """Masks bool [m, k] of some segments at some pixels, by default of all at all."""
        if self.masks is not None:
            masks = self.masks if segment is None else self.masks[segment]
            return masks if pixel is None else masks[:, pixel]
        index = self.index if pixel is None else self.index[pixel]
        if segment is None:
            segment = torch.arange(self.count, device=index.device)
        return index == segment[:, None].to(index.dtype)
