"""One segment of a result."""
from dataclasses import dataclass, field
from math import ceil, floor

import numpy as np

from mmpanseg.results.masks import Masks
from mmpanseg.results.picture_source import PictureSource
from mmpanseg.structures.polygons import mask_to_polygons


@dataclass(frozen=True)
class Segment:
    """A segment: a thing, the pixels of a stuff class, or those of a class of a semantic map.

    Masks are computed on demand. Two segments are equal if their attributes are.

    Attributes:
        id: its value in the map of the result; 1, 2, ... in an unfiltered result.
        label: index of its class, from 0.
        name: name of its class.
        is_thing: whether the class is a thing.
        score: 0..1; None where the model has none, as in a semantic map.
        area: number of pixels.
        box: (x1, y1, x2, y2) in pixels, ``x2`` and ``y2`` one past the last pixel.
    """

    id: int
    label: int
    name: str
    is_thing: bool
    score: float | None
    area: int
    box: tuple[float, float, float, float]
    _masks: Masks = field(repr=False, compare=False)
    _key: int = field(repr=False, compare=False)
    _picture: PictureSource = field(repr=False, compare=False)

    def mask(self) -> np.ndarray:
        """Compute the mask, bool [H, W]."""
        return self._masks.mask(self._key)

    def polygons(self) -> list[np.ndarray]:
        """Compute the outlines, one polygon for each connected part.

        Returns:
            float64 [n, 2] each, (x, y) of pixel corners, 0 at the upper left of the image; holes
            are joined with the outline, see :func:`mask_to_polygons`.
        """
        part, x, y = self._masks.window(self._key)
        return [polygon + (x, y) for polygon in mask_to_polygons(part)]

    def rle(self) -> dict:
        """Compute the mask as COCO's compressed run lengths, dict(size=[H, W], counts: str)."""
        rle = self._masks.rle(self._key)
        return dict(size=list(map(int, rle['size'])), counts=rle['counts'].decode())

    def crop(self, padding: int = 0) -> np.ndarray:
        """Cut the box of the segment out of the image.

        Args:
            padding: pixels to add on each side, as far as the image has them.

        Returns:
            uint8 RGB [h, w, 3], a copy.

        Raises:
            ValueError: the result has no image, or one of another size.
        """
        image = self._picture.need()
        x1, y1, x2, y2 = self.box
        rows = slice(max(0, floor(y1) - padding), max(0, ceil(y2) + padding))
        columns = slice(max(0, floor(x1) - padding), max(0, ceil(x2) + padding))
        return image[rows, columns].copy()
