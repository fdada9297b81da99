"""Instances of overlapping tiles made into those of the whole image."""
from typing import NamedTuple

import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as rle_tools
from torch import Tensor

from mmpanseg.models.fusion_heads.instances import MaskStore, encode_mask
from mmpanseg.models.inference.panoptic_stitching import Groups, best_pairs
from mmpanseg.models.inference.tile_grid import Tile
from mmpanseg.utils.device import to_host


class _Piece(NamedTuple):
    """What one tile saw of an instance; ``mask`` is run-length encoded, of the tile's size."""
    tile: Tile
    mask: dict
    label: int
    score: float
    area: int


class InstanceStitcher:
    """Puts instances of tiles together.

    Instances of two tiles are one if they have the same class and agree where the tiles overlap:
    the IoU of their masks there is at least ``merge_iou``, each with at most one of the other
    tile, the best pairs first. An instance may span any number of tiles; its mask is the union of
    its pieces, its score their mean weighted by area. Masks are kept as run lengths meanwhile.

    Args:
        size: (H, W) of the image.
        max_per_image: instances to keep, those with the highest scores.
        merge_iou: 0..1.
        mask_format: of the result, see :class:`MaskStore`.
        device: of the result.
    """

    def __init__(self, size: tuple[int, int], max_per_image: int, merge_iou: float,
                 mask_format: str, device: torch.device) -> None:
        self.size = size
        self.max_per_image = max_per_image
        self.merge_iou = merge_iou
        self.mask_format = mask_format
        self.device = device
        self.groups = Groups()
        self.pieces: list[_Piece] = []
        self.open: list[tuple[Tile, range]] = []

    def add(self, tile: Tile, result: InstanceData) -> None:
        """Add a tile's ``pred_instances``; tiles come row by row. Empty masks are left out."""
        first = len(self.pieces)
        masks = result.masks
        masks = to_host(masks)[0] if isinstance(masks, Tensor) else masks
        labels, scores = (x.tolist() for x in to_host(result.labels, result.scores))
        for mask, label, score in zip(masks, labels, scores):
            mask = encode_mask(mask) if isinstance(mask, Tensor) else mask
            area = int(rle_tools.area(mask))
            if area:
                self.groups.add()
                self.pieces.append(_Piece(tile, mask, label, score, area))
        numbers = range(first, len(self.pieces))
        self.open = [(other, seen) for other, seen in self.open
                     if other.rows.stop > tile.rows.start]
        for other, seen in self.open:
            shared = tile.shared(other)
            if shared is not None:
                self._join(seen, shared[1], numbers, shared[0])
        self.open.append((tile, numbers))

    def _join(self, a: range, part_a: tuple[slice, slice], b: range,
              part_b: tuple[slice, slice]) -> None:
        """Unite instances that agree where two tiles overlap."""
        labels = {self.pieces[n].label for n in a} & {self.pieces[n].label for n in b}
        for label in labels:
            numbers_a, cuts_a = self._cut(a, part_a, label)
            numbers_b, cuts_b = self._cut(b, part_b, label)
            if not numbers_a or not numbers_b:
                continue
            ious = rle_tools.iou(cuts_a, cuts_b, [0] * len(cuts_b))
            rows, columns = np.nonzero(ious)
            pairs = [(float(ious[i, j]), numbers_a[i], numbers_b[j])
                     for i, j in zip(rows, columns)]
            for one, other in best_pairs(pairs, self.merge_iou):
                self.groups.unite(one, other)

    def _cut(self, numbers: range, part: tuple[slice, slice],
             label: int) -> tuple[list[int], list[dict]]:
        """Instances of a class that have pixels in a part of their tile, and these as masks."""
        found, cuts = [], []
        for number in numbers:
            if self.pieces[number].label != label:
                continue
            cut = np.asfortranarray(rle_tools.decode([self.pieces[number].mask])[part][..., 0])
            if cut.any():
                found.append(number)
                cuts.append(rle_tools.encode(cut))
        return found, cuts

    def result(self, size: tuple[int, int] | None = None) -> InstanceData:
        """``pred_instances`` of the whole image, by descending score.

        Args:
            size: (H, W) to resize the masks to.
        """
        members: dict[int, list[_Piece]] = {}
        for number, piece in enumerate(self.pieces):
            members.setdefault(self.groups.first(number), []).append(piece)
        found = [(sum(p.score * p.area for p in pieces) / sum(p.area for p in pieces), pieces)
                 for pieces in members.values()]
        found = sorted(found, key=lambda item: -item[0])[:self.max_per_image]

        size = size or self.size
        store = MaskStore(len(found), size, self.mask_format, self.device)
        for position, (_, pieces) in enumerate(found):
            mask = torch.zeros(self.size, dtype=torch.bool)
            for piece in pieces:
                seen = rle_tools.decode([piece.mask])[..., 0]
                mask[piece.tile.seen] |= torch.from_numpy(seen).bool()
            store.put([position], [0], resize_nearest(mask, size)[None])
        return InstanceData(
            masks=store.masks, bboxes=store.bboxes,
            scores=torch.tensor([score for score, _ in found], device=self.device),
            labels=torch.tensor([pieces[0].label for _, pieces in found], dtype=torch.long,
                                device=self.device))


def resize_nearest(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """A map [H, W] of labels at another size, each pixel that of the nearest one."""
    if tuple(plane.shape) == tuple(size):
        return plane
    rows, columns = (
        ((torch.arange(new, device=plane.device, dtype=torch.float64) + 0.5) * old / new).long()
        for new, old in zip(size, plane.shape))
    return plane[rows][:, columns]
