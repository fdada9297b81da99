"""Prediction of a large image tile by tile, with memory bounded by the size of a tile."""
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from mmpanseg.models.inference.instance_stitching import InstanceStitcher
from mmpanseg.models.inference.panoptic_stitching import PanopticStitcher, SemanticStitcher
from mmpanseg.models.inference.test_cfg import OutputOptions, TilingOptions
from mmpanseg.models.inference.tile_grid import Tile, tile_grid


class Stitcher(Protocol):
    """Combines one kind of result of all tiles of an image."""

    def add(self, tile: Tile, result: Any) -> None:
        """Add the result of a tile."""

    def result(self, size: tuple[int, int] | None = None) -> Any:
        """Result of the whole image, resized to ``size`` (height, width) if given."""


class TileInput(NamedTuple):
    """What is predicted at once.

    Attributes:
        tile: its place in the image; None if it is the whole image.
        image: pixels of it [1, 3, h, w].
        metainfo: its meta information.
    """
    tile: Tile | None
    image: Tensor
    metainfo: dict


def tile_inputs(image: Tensor, metainfo: dict, tiling: TilingOptions) -> list[TileInput]:
    """Cut an image into tiles, whose pixels are views of it; arguments of :func:`predict_tiles`."""
    height, width = size = tuple(metainfo['img_shape'][:2])
    image = image[:, :height, :width]
    tiles = tile_grid(size, tiling.tile, tiling.overlap)
    if len(tiles) == 1:
        return [TileInput(None, image[None], metainfo)]
    return [TileInput(tile, image[None, :, tile.window[0], tile.window[1]],
                      dict(img_shape=tile.size, ori_shape=tile.size)) for tile in tiles]


def predict_tiles(predict: Callable[[Tensor, dict, bool], dict], image: Tensor, metainfo: dict,
                  tiling: TilingOptions, outputs: OutputOptions, num_things_classes: int,
                  num_classes: int, rescale: bool = True) -> dict:
    """Predict one image tile by tile and combine the results.

    Args:
        predict: function of a normalized image [1, 3, h, w] without padding, its meta information,
            and whether results are wanted at the original size; returns the results.
        image: normalized and padded, [3, H, W].
        metainfo: meta information of the image; ``img_shape`` is its size without padding.
        tiling: options of the tiles.
        outputs: options of the outputs.
        num_things_classes: labels below are things.
        num_classes: K, things and stuff.
        rescale: whether results have the original size; otherwise they have the size of the
            network's input. Label maps and masks are resized by nearest neighbor.

    Returns:
        results as the fusion head returns them for the whole image, combined as described at
        :class:`PanopticStitcher`, :class:`InstanceStitcher` and :class:`SemanticStitcher`. An image
        of one tile is predicted as a whole.
    """
    size = tuple(metainfo['img_shape'][:2])
    tiles = tile_inputs(image, metainfo, tiling)
    if tiles[0].tile is None:
        return predict(tiles[0].image, metainfo, rescale)
    stitchers: dict[str, Stitcher] = {}
    if outputs.panoptic_on:
        stitchers['pred_panoptic_seg'] = PanopticStitcher(
            size, num_things_classes, num_classes, tiling.merge_iou, image.device)
    if outputs.instance_on:
        stitchers['pred_instances'] = InstanceStitcher(
            size, outputs.max_per_image, tiling.merge_iou, outputs.mask_format, image.device)
    if outputs.semantic_on:
        stitchers['pred_sem_seg'] = SemanticStitcher(size, image.device)

    for tile, part, shapes in tiles:
        assert tile is not None
        for name, value in predict(part, shapes, False).items():
            stitchers[name].add(tile, value)

    size = tuple(metainfo['ori_shape'][:2]) if rescale else size
    return {name: stitcher.result(size) for name, stitcher in stitchers.items()}
