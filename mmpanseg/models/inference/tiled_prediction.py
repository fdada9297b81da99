"""Inference of large images tile by tile, in memory that a tile sets."""
from collections.abc import Callable
from dataclasses import dataclass

from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.inference.instance_stitching import InstanceStitcher, resize_nearest
from mmpanseg.models.inference.panoptic_stitching import PanopticStitcher, SemanticStitcher
from mmpanseg.models.inference.test_cfg import Outputs
from mmpanseg.models.inference.tile_grid import tile_grid


@dataclass(frozen=True)
class Tiling:
    """How images are cut into tiles, given in ``model.test_cfg`` with ``mode='tile'``.

    Args:
        tile: (h, w) in pixels of the network's input image.
        overlap: pixels that neighboring tiles share at least.
        merge_iou: things of two tiles are one from this IoU on, within the overlap.

    Raises:
        ValueError: for values that are not possible; the text names the key.
    """

    tile: tuple[int, int] = (1024, 1024)
    overlap: int = 128
    merge_iou: float = 0.5

    def __post_init__(self) -> None:
        if len(self.tile) != 2 or min(self.tile) < 1:
            raise ValueError(f'model.test_cfg.tile={self.tile} must be height and width in pixels')
        if not 0 < self.overlap < min(self.tile):
            raise ValueError(
                f'model.test_cfg.overlap={self.overlap} must lie between 1 and '
                f'{min(self.tile) - 1}, below the tile size {tuple(self.tile)}: things are joined '
                'by what two tiles both see')
        if not 0 < self.merge_iou <= 1:
            raise ValueError(f'model.test_cfg.merge_iou={self.merge_iou} must lie in (0, 1]')


def predict_tiles(predict: Callable[[Tensor, dict, bool], dict], image: Tensor, metainfo: dict,
                  tiling: Tiling, outputs: Outputs, num_things_classes: int, num_classes: int,
                  rescale: bool = True) -> dict:
    """Results of one image from those of its tiles.

    Args:
        predict: gives the results of a tile from its normalized image [1, 3, h, w], which it
            pads, its meta information, and whether they are wanted at the original size.
        image: normalized and padded [3, H, W].
        metainfo: of the image; ``img_shape`` says what of it is no padding.
        tiling: how to cut it.
        outputs: what to give.
        num_things_classes, num_classes: see the fusion heads.
        rescale: results at the original size, else at the network's input size. Label maps and
            masks are resized, nearest pixel.

    Returns:
        results as the fusion head gives them for the whole image, stitched as described at
        :class:`PanopticStitcher`, :class:`InstanceStitcher` and :class:`SemanticStitcher`. An image
        of one tile has nothing to stitch: its results are those of the whole image.
    """
    height, width = size = tuple(metainfo['img_shape'][:2])
    image = image[:, :height, :width]
    tiles = tile_grid(size, tiling.tile, tiling.overlap)
    if len(tiles) == 1:
        return predict(image[None], metainfo, rescale)
    stitchers = {}
    if outputs.panoptic_on:
        stitchers['pred_panoptic_seg'] = PanopticStitcher(
            size, num_things_classes, num_classes, tiling.merge_iou, image.device)
    if outputs.instance_on:
        stitchers['pred_instances'] = InstanceStitcher(
            size, outputs.max_per_image, tiling.merge_iou, outputs.mask_format, image.device)
    if outputs.semantic_on:
        stitchers['pred_sem_seg'] = SemanticStitcher(size, image.device)

    for tile in tiles:
        shapes = dict(img_shape=tile.size, ori_shape=tile.size)
        for name, value in predict(
                image[(slice(None), *tile.seen)][None], shapes, False).items():
            stitchers[name].add(tile, value)

    size = tuple(metainfo['ori_shape'][:2]) if rescale else size
    return {name: (stitcher.result(size) if name == 'pred_instances'
                   else _resize(stitcher.result(), size)) for name, stitcher in stitchers.items()}


def _resize(result: PixelData, size: tuple[int, int]) -> PixelData:
    resized = PixelData(sem_seg=resize_nearest(result.sem_seg[0], size)[None])
    resized.set_metainfo(result.metainfo)
    return resized
