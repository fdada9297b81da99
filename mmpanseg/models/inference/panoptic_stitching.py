"""Panoptic and semantic results of overlapping tiles, combined to those of the whole image.

Shapes: H, W image; h, w tile; K classes.
"""
from typing import NamedTuple

import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.models.inference.overlap_pairs import OverlapFinder, match_greedily, sorted_subsets
from mmpanseg.models.inference.tile_grid import Tile
from mmpanseg.structures.result_coding import segment_value
from mmpanseg.structures.segment_grids import resize_nearest
from mmpanseg.utils.device import chunk_rows


class _Piece(NamedTuple):
    """A thing in one tile; area and score x area count the pixels in the core of the tile."""
    label: int
    weighted_score: float
    area: int


class PanopticStitcher:
    """Combines the panoptic maps of tiles.

    Each pixel gets the segment of the tile whose core it belongs to, see
    :func:`mmpanseg.models.inference.tile_grid.tile_grid`. Stuff is one segment per class. Things of
    two tiles are merged if they have the same class and their IoU within the overlap is at least
    ``merge_iou``; a thing is merged with at most one thing of each other tile, in decreasing order
    of IoU. Merging is transitive, so a thing can extend over any number of tiles. Maps of tiles are
    kept only as long as later tiles can overlap them.

    Args:
        size: (H, W) of the image.
        num_things_classes: labels below are things.
        num_classes: K, things and stuff.
        merge_iou: in (0, 1].
        device: of the result.
    """

    def __init__(self, size: tuple[int, int], num_things_classes: int, num_classes: int,
                 merge_iou: float, device: torch.device) -> None:
        from scipy.cluster.hierarchy import DisjointSet  # slow to import

        self.num_things_classes = num_things_classes
        self.num_classes = num_classes
        self.merge_iou = merge_iou
        # 0 .. K - 1: stuff by label; K: void; from K + 1 on: pieces of things by number
        self.canvas = torch.full(size, num_classes, dtype=torch.int32, device=device)
        self.groups = DisjointSet()
        self.pieces: list[_Piece] = []
        self.stuff: dict[int, tuple[float, int]] = {}
        self.overlaps: OverlapFinder[Tensor] = OverlapFinder()

    def add(self, tile: Tile, result: PixelData) -> None:
        """Add the ``pred_panoptic_seg`` of a tile; tiles are added row by row."""
        infos = result.metainfo['segments_info']
        values = torch.tensor([self.num_classes, *(info['id'] for info in infos)],
                              device=self.canvas.device)
        numbers = [self.num_classes]
        things = 0
        for info in infos:
            if info['isthing']:
                numbers.append(self.num_classes + 1 + len(self.pieces) + things)
                things += 1
            else:
                numbers.append(info['label'])
        order = values.argsort()
        place = torch.searchsorted(values[order], result.sem_seg[0].to(values.dtype))
        index = order[place]
        codes = torch.tensor(numbers, dtype=torch.int32, device=values.device)[index]
        self.canvas[tile.core] = codes[tile.core_in_window]

        areas = index[tile.core_in_window].flatten().bincount(minlength=len(values)).tolist()
        for info, area in zip(infos, areas[1:]):
            weighted = info['score'] * area
            if info['isthing']:
                self.groups.add(len(self.pieces))
                self.pieces.append(_Piece(info['label'], weighted, area))
            else:
                before = self.stuff.get(info['label'], (0.0, 0))
                self.stuff[info['label']] = (before[0] + weighted, before[1] + area)
        for other, other_area, own_area in self.overlaps.add(tile, codes):
            pairs = [pair for pair in segment_ious(
                other[other_area], codes[own_area], self.num_classes + 1)
                if self.pieces[pair[1]].label == self.pieces[pair[2]].label]
            for a, b in match_greedily(pairs, self.merge_iou):
                self.groups.merge(a, b)

    def result(self, size: tuple[int, int] | None = None) -> PixelData:
        """Combine the tiles to the ``pred_panoptic_seg`` of the whole image.

        Scores are means over the pixels. A thing without a pixel in any core is left out.

        Args:
            size: (height, width) to resize the map to, by nearest neighbor (default: (H, W)).
        """
        values = list(range(self.num_classes + 1)) + [self.num_classes] * len(self.pieces)
        segments, instances = [], 0
        for numbers in sorted_subsets(self.groups):
            area = sum(self.pieces[number].area for number in numbers)
            if not area:
                continue
            instances += 1
            label = self.pieces[numbers[0]].label
            value = segment_value(label, instances)
            for number in numbers:
                values[self.num_classes + 1 + number] = value
            weighted = sum(self.pieces[number].weighted_score for number in numbers)
            segments.append(dict(id=value, label=label, isthing=True, score=weighted / area))
        segments += [dict(id=label, label=label, isthing=False, score=total / pixels)
                     for label, (total, pixels) in self.stuff.items() if pixels]
        table = torch.tensor(values, dtype=torch.int32, device=self.canvas.device)
        for rows in self.canvas.split(chunk_rows(table.device, self.canvas.shape[1])):
            rows.copy_(table[rows.long()])
        result = PixelData(sem_seg=_resized(self.canvas, size))
        result.set_metainfo(dict(segments_info=segments))
        return result


def segment_ious(a: Tensor, b: Tensor, offset: int) -> list[tuple[float, int, int]]:
    """Compute IoUs of the segments of two maps of the same pixels.

    Args:
        a: integers [h, w]; values from ``offset`` on are segments.
        b: another such map.
        offset: subtracted from the values to get segment numbers.

    Returns:
        (IoU, segment of a, segment of b) for all pairs that share a pixel.
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
    """Combines the label maps of tiles: each pixel gets the label of the tile whose core it is in.

    Args:
        size: (H, W) of the image.
        device: of the result.
    """

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        self.canvas = torch.zeros(size, dtype=torch.int32, device=device)

    def add(self, tile: Tile, result: PixelData) -> None:
        """Add the ``pred_sem_seg`` of a tile."""
        self.canvas[tile.core] = result.sem_seg[0][tile.core_in_window]

    def result(self, size: tuple[int, int] | None = None) -> PixelData:
        """Combine the tiles to the ``pred_sem_seg`` of the whole image.

        Args:
            size: (height, width) to resize the map to, by nearest neighbor (default: (H, W)).
        """
        return PixelData(sem_seg=_resized(self.canvas, size))


def _resized(canvas: Tensor, size: tuple[int, int] | None) -> Tensor:
    """A map [H, W] as [1, height, width]."""
    return (canvas if size is None else resize_nearest(canvas, size))[None]
