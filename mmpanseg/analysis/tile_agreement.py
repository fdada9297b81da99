"""Agreement of tiled panoptic results with those of whole images."""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET

from mmpanseg.models.inference.tile_grid import Tile

# parts of a thing in a tile below this share of its pixels are ignored
MIN_PART = 0.02


class Agreement(NamedTuple):
    """Agreement of a tiled result with that of the whole image.

    Args:
        pixels: share of pixels with the same segment after things are matched.
        labels: share of pixels with the same class, or void in both results.
        crossing: number of things of the whole result in the cores of several tiles.
        kept_whole: number of these things that are one segment of the tiled result.
    """
    pixels: float
    labels: float
    crossing: int
    kept_whole: int


def compare_tiled(whole: np.ndarray, tiled: np.ndarray, tiles: Sequence[Tile]) -> Agreement:
    """Compare panoptic maps in mmdet's coding.

    Things match if they have the same class and an IoU above 0.5, so a thing has at most one match.
    A thing of the whole result is kept whole if the most frequent segment in all tiles with at
    least 2 % of its pixels is the same thing of its class.

    Args:
        whole: prediction for the whole image, integer [H, W].
        tiled: prediction in tiles, integer [H, W].
        tiles: the tiles.
    """
    values, place = np.unique(whole, return_inverse=True)
    tiled_values, tiled_place = np.unique(tiled, return_inverse=True)
    joint = np.bincount(place.ravel() * len(tiled_values) + tiled_place.ravel(),
                        minlength=len(values) * len(tiled_values))
    joint = joint.reshape(len(values), len(tiled_values))
    same_class = values[:, None] % INSTANCE_OFFSET == tiled_values % INSTANCE_OFFSET
    union = joint.sum(1)[:, None] + joint.sum(0) - joint
    things = (values >= INSTANCE_OFFSET)[:, None] & (tiled_values >= INSTANCE_OFFSET)
    same = same_class & np.where(things, 2 * joint > union, values[:, None] == tiled_values)

    crossing = kept = 0
    for value in values[values >= INSTANCE_OFFSET]:
        parts = [tiled[tile.core][whole[tile.core] == value] for tile in tiles]
        total = sum(part.size for part in parts)
        parts = [part for part in parts if part.size >= MIN_PART * total]
        if len(parts) < 2:
            continue
        crossing += 1
        shown = {_most_frequent(part) for part in parts}
        main = shown.pop()
        kept += not shown and main >= INSTANCE_OFFSET and (
            main % INSTANCE_OFFSET == value % INSTANCE_OFFSET)
    return Agreement(float(joint[same].sum() / whole.size),
                     float(joint[same_class].sum() / whole.size), crossing, int(kept))


def _most_frequent(values: np.ndarray) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])
