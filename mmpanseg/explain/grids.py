"""Places of an image on the maps of a network, which cover its padded input.

H, W: size of the image or of a picture of it; h, w: size of a map.
"""
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmpanseg.explain.zoom import WHOLE, Window


class Grid(NamedTuple):
    """The cells of a map that an image covers.

    Attributes:
        stride: pixels of the network's input that a cell covers.
        extent: (height, width) of the image in cells; of the last ones a fraction can be padding.
    """

    stride: int
    extent: tuple[float, float]

    def cut(self, values: np.ndarray) -> np.ndarray:
        """Cut a map [..., h, w] to the cells that show the image, at least in part."""
        rows, columns = map(math.ceil, self.extent)
        return values[..., :rows, :columns]

    def places(self, size: Sequence[int],
               window: Window = WHOLE) -> tuple[np.ndarray, np.ndarray]:
        """Find the cells of the pixels of a picture.

        Args:
            size: (H, W) of the picture.
            window: part of the image that it shows.

        Returns:
            the row of the map of each row [H], and the column of each column [W].
        """
        rows, columns = (((first + share * (np.arange(side) + 0.5) / side) * cells).astype(int)
                         for side, cells, first, share in zip(
                             size, self.extent, (window.y, window.x),
                             (window.height, window.width)))
        return rows, columns

    def spread(self, values: np.ndarray, size: Sequence[int],
               window: Window = WHOLE) -> np.ndarray:
        """Enlarge a map to a picture of the image; each pixel has the value of its cell.

        Args:
            values: [..., h, w], may be cut by :meth:`cut`.
            size: (H, W) of the picture.
            window: part of the image that it shows.
        """
        rows, columns = self.places(size, window)
        return values[..., rows[:, None], columns]

    def coverage(self, mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Compute the share of each cell that a mask covers.

        Args:
            mask: bool [H, W] of the image.
            shape: (h, w) of the map.

        Returns:
            float32 [h, w] in 0 .. 1; 0 for padding.
        """
        total = mask.astype(np.float32)
        for axis, (places, cells) in enumerate(zip(self.places(mask.shape), shape)):
            # mean over the rows, then over the columns of a cell
            member = (np.arange(cells)[:, None] == places).astype(np.float32)
            member /= np.maximum(member.sum(1, keepdims=True), 1)
            total = member @ total if axis == 0 else total @ member.T
        return total


def grid_of(shape: Sequence[int], metainfo: dict) -> Grid:
    """Find the cells of a map that an image covers.

    Args:
        shape: (h, w) of the map.
        metainfo: ``img_shape`` and ``batch_input_shape`` of the image.
    """
    # a map of ceil(side / stride) cells begins at the first pixel
    stride = max(2 ** math.ceil(math.log2(side / cells) - 1e-9)
                 for side, cells in zip(metainfo['batch_input_shape'], shape))
    height, width = metainfo['img_shape'][:2]
    return Grid(stride, (min(height / stride, shape[0]), min(width / stride, shape[1])))
