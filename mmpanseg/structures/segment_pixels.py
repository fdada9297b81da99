"""Segments of one image at every few pixels. N segments, P pixels, m of the segments, k pixels."""
from typing import NamedTuple, Optional

import torch
from torch import Tensor


class SegmentPixels(NamedTuple):
    """Which segments have which pixels, without a number for every pair of the two.

    Attributes:
        count: N.
        index: integer [P], the segment of each pixel, negative for none; None where they overlap.
        masks: bool [N, P] where they overlap.
    """
    count: int
    index: Optional[Tensor] = None
    masks: Optional[Tensor] = None

    def read(self, segment: Optional[Tensor] = None, pixel: Optional[Tensor] = None) -> Tensor:
        """Masks bool [m, k] of some segments at some pixels, by default of all at all."""
        if self.masks is not None:
            masks = self.masks if segment is None else self.masks[segment]
            return masks if pixel is None else masks[:, pixel]
        index = self.index if pixel is None else self.index[pixel]
        if segment is None:
            segment = torch.arange(self.count, device=index.device)
        return index == segment[:, None].to(index.dtype)
