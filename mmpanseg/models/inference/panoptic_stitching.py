"""Panoptic and semantic results of overlapping tiles made into those of the whole image.

H, W image size; h, w tile size; K classes.
"""
from typing import NamedTuple

import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.inference.tile_grid import Tile
from mmpanseg.structures.result_coding import segment_value
from mmpanseg.utils.device import chunk_rows


class Groups:
    """Disjoint sets of numbers 0, 1, 2, ... (union-find)."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def add(self) -> int:
        """A new number in a set of its own."""
        self.parent.append(len(self.parent))
        return self.parent[-1]

    def first(self, number: int) -> int:
        """The smallest number of its set."""
        while self.parent[number] != number:
            self.parent[number] = self.parent[self.parent[number]]
            number = self.parent[number]
        return number

    def unite(self, a: int, b: int) -> None:
        """Make one set of the sets of two numbers."""
        a, b = sorted((self.first(a), self.first(b)))
        self.parent[b] = a


def best_pairs(pairs: list[tuple[float, int, int]], threshold: float) -> list[tuple[int, int]]:
    """One-to-one pairs (a, b) among (IoU, a, b), best first, none below the threshold."""
    chosen, taken_a, taken_b = [], set(), set()
    for iou, a, b in sorted(pairs, key=lambda pair: -pair[0]):
        if iou >= threshold and a not in taken_a and b not in taken_b:
            chosen.append((a, b))
            taken_a.add(a)
            taken_b.add(b)
    return chosen


class _Piece(NamedTuple):
    """What one tile saw of a thing: label, and score x area and area in the tile's core."""
    label: int
    weighted: float
    area: int


class PanopticStitcher:
    """Puts panoptic maps of tiles together.

    Each pixel takes the segment of the tile that decides it, see :func:`tiles.tile_grid`. Stuff is
    one segment per class. Things of two tiles are one if they have the same class and agree where
    the tiles overlap: their IoU there is at least ``merge_iou``, each with at most one of the other
    tile, the best pairs first. What is joined pairwise is joined altogether, so a thing may span
    any number of tiles. Only tiles that may still overlap with later ones are remembered.

    Args:
        size: (H, W) of the image.
        num_things_classes, num_classes: see the fusion heads.
        merge_iou: 0..1.
        device: of the result.
    """

    def __init__(self, size: tuple[int, int], num_things_classes: int, num_classes: int,
                 merge_iou: float, device: torch.device) -> None:
        self.num_things_classes = num_things_classes
        self.num_classes = num_classes
        self.merge_iou = merge_iou
        # 0 .. K - 1: stuff by label; K: void; from K + 1 on: pieces of things by number
        self.canvas = torch.full(size, num_classes, dtype=torch.int32, device=device)
        self.groups = Groups()
        self.pieces: list[_Piece] = []
        self.stuff: dict[int, tuple[float, int]] = {}
        self.open: list[tuple[Tile, Tensor]] = []

    def add(self, tile: Tile, result: PixelData) -> None:
        """Add a tile's ``pred_panoptic_seg``; tiles come row by row."""
        infos = result.metainfo['segments_info']
        values = torch.tensor([self.num_classes, *(info['id'] for info in infos)],
                              device=self.canvas.device)
        numbers = [self.num_classes]
        for info in infos:
            numbers.append(self.num_classes + 1 + self.groups.add() if info['isthing']
                           else info['label'])
        order = values.argsort()
        place = torch.searchsorted(values[order], result.sem_seg[0].to(values.dtype))
        index = order[place]
        codes = torch.tensor(numbers, dtype=torch.int32, device=values.device)[index]
        self.canvas[tile.core] = codes[tile.own_core]

        areas = index[tile.own_core].flatten().bincount(minlength=len(values)).tolist()
        for info, area in zip(infos, areas[1:]):
            weighted = info['score'] * area
            if info['isthing']:
                self.pieces.append(_Piece(info['label'], weighted, area))
            else:
                before = self.stuff.get(info['label'], (0.0, 0))
                self.stuff[info['label']] = (before[0] + weighted, before[1] + area)
        self._join(tile, codes)

    def _join(self, tile: Tile, codes: Tensor) -> None:
        """Unite the tile's things with those of the tiles before it."""
        self.open = [(other, seen) for other, seen in self.open
                     if other.rows.stop > tile.rows.start]
        for other, seen in self.open:
            shared = tile.shared(other)
            if shared is None:
                continue
            pairs = [pair for pair in overlap_ious(
                seen[shared[1]], codes[shared[0]], self.num_classes + 1)
                if self.pieces[pair[1]].label == self.pieces[pair[2]].label]
            for a, b in best_pairs(pairs, self.merge_iou):
                self.groups.unite(a, b)
        self.open.append((tile, codes))

    def result(self) -> PixelData:
        """``pred_panoptic_seg`` of the whole image.

        Scores are means over the pixels. A thing that has no pixel in the cores is left out.
        """
        weighted, area = [0.0] * len(self.pieces), [0] * len(self.pieces)
        for number, piece in enumerate(self.pieces):
            first = self.groups.first(number)
            weighted[first] += piece.weighted
            area[first] += piece.area
        values = list(range(self.num_classes + 1)) + [self.num_classes] * len(self.pieces)
        segments, instances = [], 0
        for number, piece in enumerate(self.pieces):
            first = self.groups.first(number)
            if first == number and area[first]:
                instances += 1
                value = segment_value(piece.label, instances)
                values[self.num_classes + 1 + number] = value
                segments.append(dict(id=value, label=piece.label, isthing=True,
                                     score=weighted[first] / area[first]))
            else:
                values[self.num_classes + 1 + number] = values[self.num_classes + 1 + first]
        segments += [dict(id=label, label=label, isthing=False, score=total / pixels)
                     for label, (total, pixels) in self.stuff.items() if pixels]
        table = torch.tensor(values, dtype=torch.int32, device=self.canvas.device)
        for rows in self.canvas.split(chunk_rows(table.device, self.canvas.shape[1])):
            rows.copy_(table[rows.long()])
        result = PixelData(sem_seg=self.canvas[None])
        result.set_metainfo(dict(segments_info=segments))
        return result


def overlap_ious(a: Tensor, b: Tensor, offset: int) -> list[tuple[float, int, int]]:
    """IoUs of the segments of two maps of the same pixels.

    Args:
        a, b: integers [h, w]; values from ``offset`` on are segments.
        offset: subtracted in the result.

    Returns:
        (IoU, segment of a, segment of b) for those that share a pixel.
    """
    values_a, place_a, areas_a = a.unique(return_inverse=True, return_counts=True)
    values_b, place_b, areas_b = b.unique(return_inverse=True, return_counts=True)
    joint = (place_a * len(values_b) + place_b).flatten().bincount(
        minlength=len(values_a) * len(values_b)).view(len(values_a), len(values_b))
    union = areas_a[:, None] + areas_b - joint
    segments = (values_a >= offset)[:, None] & (values_b >= offset)
    rows, columns = ((joint > 0) & segments).nonzero(as_tuple=True)
    return list(zip((joint / union)[rows, columns].tolist(),
                    (values_a[rows] - offset).tolist(), (values_b[columns] - offset).tolist()))


class SemanticStitcher:
    """Puts label maps of tiles together: each pixel takes the label of the tile that decides it.

    Args:
        size: (H, W) of the image.
        device: of the result.
    """

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        self.canvas = torch.zeros(size, dtype=torch.int32, device=device)

    def add(self, tile: Tile, result: PixelData) -> None:
        """Add a tile's ``pred_sem_seg``."""
        self.canvas[tile.core] = result.sem_seg[0][tile.own_core]

    def result(self) -> PixelData:
        """``pred_sem_seg`` of the whole image."""
        return PixelData(sem_seg=self.canvas[None])
