"""Instances of overlapping tiles, combined to those of the whole image."""
from typing import NamedTuple

import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as rle_tools
from torch import Tensor

from mmpanseg.models.inference.instance_masks import MaskStore
from mmpanseg.models.inference.overlap_pairs import OverlapFinder, match_greedily, sorted_subsets
from mmpanseg.models.inference.tile_grid import Area, Tile
from mmpanseg.structures.encoded_masks import encode_mask
from mmpanseg.structures.segment_grids import resize_nearest
from mmpanseg.utils.device import to_host


class _Piece(NamedTuple):
    """An instance in one tile; ``mask`` is run-length encoded and has the size of the tile."""
    tile: Tile
    mask: dict
    label: int
    score: float
    area: int


class InstanceStitcher:
    """Combines the instances of tiles.

    Instances of two tiles are merged if they have the same class and the IoU of their masks within
    the overlap is at least ``merge_iou``; an instance is merged with at most one instance of each
    other tile, in decreasing order of IoU. Merging is transitive, so an instance can extend over
    any number of tiles; its mask is the union of its pieces, its score their mean weighted by
    area. Masks are kept as run lengths meanwhile.

    Args:
        size: (H, W) of the image.
        max_per_image: number of instances to keep, those with the highest scores.
        merge_iou: in (0, 1].
        mask_format: of the result, see :class:`MaskStore`.
        device: of the result.
    """

    def __init__(self, size: tuple[int, int], max_per_image: int, merge_iou: float,
                 mask_format: str, device: torch.device) -> None:
        from scipy.cluster.hierarchy import DisjointSet  # slow to import

        self.size = size
        self.max_per_image = max_per_image
        self.merge_iou = merge_iou
        self.mask_format = mask_format
        self.device = device
        self.groups = DisjointSet()
        self.pieces: list[_Piece] = []
        self.overlaps: OverlapFinder[range] = OverlapFinder()

    def add(self, tile: Tile, result: InstanceData) -> None:
        """Add the ``pred_instances`` of a tile; tiles are added row by row.

        Empty masks are left out.
        """
        first = len(self.pieces)
        masks = result.masks
        masks = to_host(masks)[0] if isinstance(masks, Tensor) else masks
        labels, scores = (x.tolist() for x in to_host(result.labels, result.scores))
        for mask, label, score in zip(masks, labels, scores):
            mask = encode_mask(mask) if isinstance(mask, Tensor) else mask
            area = int(rle_tools.area(mask))
            if area:
                self.groups.add(len(self.pieces))
                self.pieces.append(_Piece(tile, mask, label, score, area))
        numbers = range(first, len(self.pieces))
        for others, other_area, own_area in self.overlaps.add(tile, numbers):
            self._merge(others, other_area, numbers, own_area)

    def _merge(self, a: range, area_a: Area, b: range, area_b: Area) -> None:
        """Merge instances of two tiles that agree within their overlap."""
        labels = {self.pieces[n].label for n in a} & {self.pieces[n].label for n in b}
        for label in labels:
            numbers_a, crops_a = self._crop(a, area_a, label)
            numbers_b, crops_b = self._crop(b, area_b, label)
            if not numbers_a or not numbers_b:
                continue
            ious = rle_tools.iou(crops_a, crops_b, [0] * len(crops_b))
            rows, columns = np.nonzero(ious)
            pairs = [(float(ious[i, j]), numbers_a[i], numbers_b[j])
                     for i, j in zip(rows, columns)]
            for one, other in match_greedily(pairs, self.merge_iou):
                self.groups.merge(one, other)

    def _crop(self, numbers: range, area: Area, label: int) -> tuple[list[int], list[dict]]:
        """Numbers and cropped masks of the instances of a class with pixels in an area."""
        found, crops = [], []
        for number in numbers:
            if self.pieces[number].label != label:
                continue
            crop = rle_tools.decode([self.pieces[number].mask])[area][..., 0]
            if crop.any():
                found.append(number)
                crops.append(encode_mask(crop))
        return found, crops

    def result(self, size: tuple[int, int] | None = None) -> InstanceData:
        """Combine the tiles to the ``pred_instances`` of the whole image, by descending score.

        Args:
            size: (height, width) to resize the masks to, by nearest neighbor (default: (H, W)).
        """
        found = []
        for numbers in sorted_subsets(self.groups):
            pieces = [self.pieces[number] for number in numbers]
            score = sum(p.score * p.area for p in pieces) / sum(p.area for p in pieces)
            found.append((score, pieces))
        found = sorted(found, key=lambda item: -item[0])[:self.max_per_image]

        size = size or self.size
        store = MaskStore(len(found), size, self.mask_format, self.device)
        for position, (_, pieces) in enumerate(found):
            mask = torch.zeros(self.size, dtype=torch.bool)
            for piece in pieces:
                decoded = rle_tools.decode([piece.mask])[..., 0]
                mask[piece.tile.window] |= torch.from_numpy(decoded).bool()
            store.put([position], [0], resize_nearest(mask, size)[None])
        return InstanceData(
            masks=store.masks, bboxes=store.bboxes,
            scores=torch.tensor([score for score, _ in found], device=self.device),
            labels=torch.tensor([pieces[0].label for _, pieces in found], dtype=torch.long,
                                device=self.device))
