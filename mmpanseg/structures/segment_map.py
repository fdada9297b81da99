"""Ground truth of an image: one label per segment, one segment index per pixel.

Shapes: H, W image size; N segments of one image; P points; M (image, segment) pairs.
Points are (x, y) in [0, 1] over the padded input (the batch's common size), pixel centers at
(i + 0.5) / size, as in PointRend and Mask2Former.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmpanseg.structures.bilinear_sampling import bilinear_corners, sample_labels
from mmpanseg.structures.segment_grids import SegmentPixels, pool_maps, pool_masks
from mmpanseg.utils.device import chunk_rows, stage

VOID = -1


class SegmentMap:
    """Segments of one image, as an index map or, where they overlap, as dense masks.

    Exactly one of ``map`` and ``masks`` is given.

    Args:
        labels: int64 [N], contiguous class labels.
        map: integer [H, W], pixel -> index into ``labels``, -1 = void. A panoptic annotation has
            at most one segment per pixel, so this says everything.
        masks: bool [N, H, W], for segments that overlap (instance annotations). ``map`` is None
            then. Reading ``masks`` gives dense masks in either case, made on the spot.

    :meth:`packed` makes one that keeps its masks as bits.

    Raises:
        ValueError: when both or none of map and masks are given, or their sizes do not fit.
    """

    def __init__(self, labels: Tensor, map: Tensor | None = None,
                 masks: Tensor | None = None) -> None:
        if (map is None) == (masks is None):
            raise ValueError('SegmentMap takes either map or masks, exactly one of them')
        if map is not None and map.ndim != 2:
            raise ValueError(f'SegmentMap.map must be [H, W], got {tuple(map.shape)}')
        if masks is not None and (masks.ndim != 3 or len(masks) != len(labels)):
            raise ValueError(f'SegmentMap.masks must be [N, H, W] with N = {len(labels)} labels, '
                             f'got {tuple(masks.shape)}')
        self.labels = labels
        self.map = map
        self._masks = masks
        # of bits that stand for the masks
        self._width: int | None = None

    @classmethod
    def packed(cls, labels: Tensor, bits: Tensor, width: int) -> 'SegmentMap':
        """Segments that overlap, in an eighth of the memory until masks are asked for.

        Args:
            labels: int64 [N].
            bits: uint8 [N, H, ceil(W / 8)], rows of the masks as numpy.packbits packs them.
            width: W.
        """
        segments = cls(labels, masks=bits)
        segments._width = width
        return segments

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        kind = 'masks' if self.map is None else 'map'
        return f'SegmentMap({len(self)} segments, {kind} {self.shape[0]}x{self.shape[1]})'

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the map."""
        height, width = (self._masks if self.map is None else self.map).shape[-2:]
        return height, width if self._width is None else self._width

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def to(self, *args, **kwargs) -> 'SegmentMap':
        """Copy on another device (dtype arguments are not meaningful here)."""
        return self._like(
            self.labels.to(*args, **kwargs),
            None if self.map is None else self.map.to(*args, **kwargs),
            None if self._masks is None else self._masks.to(*args, **kwargs))

    def _like(self, labels: Tensor, map: Tensor | None, masks: Tensor | None) -> 'SegmentMap':
        """Other content in the same form."""
        segments = SegmentMap(labels, map, masks)
        segments._width = self._width
        return segments

    def cpu(self) -> 'SegmentMap':
        return self.to('cpu')

    def cuda(self) -> 'SegmentMap':
        return self.to('cuda')

    @property
    def masks(self) -> Tensor:
        """What :meth:`dense` gives."""
        return self.dense()

    def dense(self) -> Tensor:
        """Masks as bool [N, H, W]."""
        if self._width is not None:
            shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=self.device)
            bits = self._masks[..., None] >> shifts
            return bits.bitwise_and_(1).bool().flatten(2)[..., :self._width]
        if self.map is None:
            return self._masks
        index = torch.arange(len(self), dtype=self.map.dtype, device=self.map.device)
        return self.map[None] == index[:, None, None]

    def areas(self) -> Tensor:
        """Pixels of each segment, int64 [N]."""
        if self.map is None:
            # one at a time: the sum of booleans makes 64-bit integers of all of them first
            areas = [mask.count_nonzero() if self._width is None else _count_bits(mask)
                     for mask in self._masks]
            return torch.stack(areas) if areas else self.labels.new_zeros(0)
        return torch.bincount(self.map.flatten().long() + 1, minlength=len(self) + 1)[1:]

    def drop_empty(self) -> 'SegmentMap':
        """The same without the segments that have no pixel (cropped away, say)."""
        keep = self.areas() > 0
        if keep.all():
            return self
        if self.map is None:
            return self._like(self.labels[keep], None, self._masks[keep])
        new_index = torch.cat([keep.cumsum(0) - 1, keep.new_full((1, ), VOID, dtype=torch.int64)])
        new_index[:-1][~keep] = VOID
        # index -1 (void) reads the last entry, which is void again
        return SegmentMap(self.labels[keep], map=new_index[self.map.long()].to(self.map.dtype))


def _count_bits(values: Tensor) -> Tensor:
    """Bits that are set in a uint8 tensor."""
    byte = torch.arange(256, device=values.device)
    bits = sum(byte >> place & 1 for place in range(8))
    return (torch.bincount(values.flatten(), minlength=256) * bits).sum()


class SegmentBatch:
    """Segments of all images of a batch, readable at points without making a mask.

    Point values equal bilinear sampling (zeros outside, ``align_corners=False``) of the dense
    masks padded with zeros to ``size``: outside an image nothing belongs to any segment, so the
    maps need no padding themselves.

    Args:
        segments: one :class:`SegmentMap` per image.
        size: (H, W) of the padded input that point coordinates refer to.
    """

    def __init__(self, segments: Sequence[SegmentMap], size: tuple[int, int]) -> None:
        self.counts = [len(s) for s in segments]
        self.labels = [s.labels for s in segments]
        self.size = (size[0], size[1])
        for number, s in enumerate(segments):
            if s.shape[0] > size[0] or s.shape[1] > size[1]:
                raise ValueError(f'image {number} of the batch has a ground truth of {s.shape}, '
                                 f'larger than the padded input {self.size}')
        self.dense = any(s.map is None for s in segments)
        self._planes = self._stack_masks(segments) if self.dense else self._stack_maps(segments)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def max_count(self) -> int:
        """Largest number of segments in an image."""
        return max(self.counts, default=0)

    def _stack_maps(self, segments: Sequence[SegmentMap]) -> Tensor:
        """Int [B, H, W], padded with void."""
        height, width = self.size
        return torch.stack([
            F.pad(s.map, (0, width - s.shape[1], 0, height - s.shape[0]), value=VOID)
            for s in segments])

    def _stack_masks(self, segments: Sequence[SegmentMap]) -> Tensor:
        """Bool [sum N, H, W] of all images, padded with False."""
        height, width = self.size
        return torch.cat([
            F.pad(s.dense(), (0, width - s.shape[1], 0, height - s.shape[0]))
            for s in segments])

    def masks(self, image: int, segment: Tensor) -> Tensor:
        """Dense masks bool [m, H, W] of some segments of one image, padded to ``size``.

        Args:
            image: index in the batch.
            segment: int64 [m], indices within the image.
        """
        if self.dense:
            return self._planes[sum(self.counts[:image]) + segment]
        return self._planes[image] == segment[:, None, None].to(self._planes.dtype)

    def pixels(self, stride: int) -> list[SegmentPixels]:
        """Every stride-th pixel of each image's padded masks, from the first one on, row by row."""
        planes = self._planes[:, ::stride, ::stride].flatten(1)
        if self.dense:
            return [SegmentPixels(len(masks), masks=masks) for masks in planes.split(self.counts)]
        return [SegmentPixels(count, index) for count, index in zip(self.counts, planes)]

    def cells(self, size: tuple[int, int]) -> Tensor:
        """Cells of a coarser grid that a segment has a pixel in.

        Equal to adaptive max pooling of the padded dense masks, or to area resizing above zero.

        Args:
            size: (h, w) of the grid, at most that of the padded input.

        Returns:
            bool [B, Nmax, h * w], rows beyond an image's count are False.
        """
        if self.dense:
            rows = pool_masks(self._planes, size).split(self.counts)
            return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
        return pool_maps(self._planes, size, self.max_count)

    def sample_all(self, points: Tensor) -> Tensor:
        """Every segment of every image at its image's points.

        Args:
            points: [B, P, 2].

        Returns:
            [B, P, Nmax] in 0..1, columns beyond an image's count are zero. Bilinear blends are
            written as four scattered weights a point: the cost does not grow with the image.
        """
        index, weight = bilinear_corners(points, self.size)
        batch, num_points = points.shape[:2]
        out = points.new_zeros(batch, num_points, self.max_count + 1)
        if not self.dense:
            corner = torch.gather(self._planes.flatten(1), 1, index.flatten(1)).view(index.shape)
            # void goes to one extra column, cut off below
            corner = corner.long().masked_fill_(corner < 0, self.max_count)
            out.scatter_add_(2, corner, weight)
        else:
            start = 0
            for b, count in enumerate(self.counts):
                corner = self._planes[start:start + count].flatten(1)[:, index[b].flatten()]
                corner = corner.view(count, num_points, 4).to(weight.dtype)
                out[b, :, :count] = torch.einsum('npc,pc->pn', corner, weight[b])
                start += count
        return out[..., :self.max_count]

    def sample_some(self, points: Tensor, image: int, segment: Tensor) -> Tensor:
        """Some segments of one image, each at all of a set of points.

        Args:
            points: [P, 2].
            image: index in the batch.
            segment: int64 [m], indices within the image, each at most once.

        Returns:
            [m, P] in 0..1, the numbers of :meth:`sample_all`.
        """
        index, weight = bilinear_corners(points, self.size)
        count, wanted = self.counts[image], len(segment)
        if self.dense:
            planes = self._planes.flatten(1)[sum(self.counts[:image]) + segment[:, None, None],
                                             index]
            return torch.einsum('npc,pc->np', planes.to(weight.dtype), weight)
        # segments that nobody asks for, and void, go to one extra column
        column = segment.new_full((count + 1, ), wanted)
        column[segment] = torch.arange(wanted, device=segment.device)
        corner = self._planes[image].flatten()[index.flatten()].view(index.shape).long()
        column = column[torch.where(corner < 0, count, corner)]
        out = points.new_zeros(len(points), wanted + 1).scatter_add_(1, column, weight)
        return out[:, :wanted].T

    def sample_pairs(self, points: Tensor, image: Tensor, segment: Tensor) -> Tensor:
        """One segment at a set of points of its own, for each of M pairs.

        Args:
            points: [M, P, 2].
            image: int64 [M], index of the image in the batch.
            segment: int64 [M], index of the segment within its image.

        Returns:
            [M, P] in 0..1.
        """
        if self.dense:
            starts, = stage(image.device, [0] + self.counts[:-1])
            starts = starts.cumsum(0)
            row = starts[image] + segment
        else:
            row = image
        sampled = points.new_empty(points.shape[:2])
        # the four corners take several times a point's memory: some rows have them at a time
        step = chunk_rows(points.device, 16 * points.shape[1])
        for start in range(0, len(points), step):
            part = slice(start, start + step)
            label = None if self.dense else segment[part]
            sampled[part] = sample_labels(self._planes, row[part], points[part], label)
        return sampled
