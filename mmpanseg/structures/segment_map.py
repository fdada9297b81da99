"""Ground truth of an image: the label of each segment, the segment of each pixel.

Shapes: B images; H, W image size; N segments of one image, Nmax the largest N of a batch; P points;
M (image, segment) pairs. Points are (x, y) in [0, 1] relative to the padded input (the common size
of the batch), pixel centers at (i + 0.5) / size, as in PointRend and Mask2Former.
"""
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmpanseg.structures.bilinear_sampling import bilinear_corners, sample_labels
from mmpanseg.structures.segment_grids import SegmentPixels, max_pool_maps, max_pool_masks
from mmpanseg.utils.device import chunk_rows, to_device

VOID = -1


class SegmentMap:
    """Segments of one image, stored as an index map or, where they overlap, as masks.

    Exactly one of ``map`` and ``masks`` is required. :meth:`from_bits` stores masks as bits.

    Args:
        labels: int64 [N], contiguous class labels.
        map: integer [H, W], pixel -> index into ``labels``, -1 = void. This is sufficient for
            panoptic annotations, which assign at most one segment to a pixel.
        masks: bool [N, H, W], for segments that overlap (instance annotations). The attribute
            ``map`` is None then; the property ``masks`` works in both forms.

    Raises:
        ValueError: both or neither of ``map`` and ``masks`` are set, or their shapes are wrong.
    """

    def __init__(self, labels: Tensor, map: Tensor | None = None,
                 masks: Tensor | None = None) -> None:
        if (map is None) == (masks is None):
            raise ValueError('SegmentMap needs exactly one of map and masks')
        if map is not None and map.ndim != 2:
            raise ValueError(f'SegmentMap.map must be [H, W], got {tuple(map.shape)}')
        if masks is not None and (masks.ndim != 3 or len(masks) != len(labels)):
            raise ValueError(f'SegmentMap.masks must be [N, H, W] with N = {len(labels)} labels, '
                             f'got {tuple(masks.shape)}')
        self.labels = labels
        self.map = map
        self._masks = masks
        # width of the masks if ``_masks`` holds packed bits
        self._width: int | None = None

    @classmethod
    def from_bits(cls, labels: Tensor, bits: Tensor, width: int) -> 'SegmentMap':
        """Store overlapping segments as packed bits, in an eighth of the memory of dense masks.

        Args:
            labels: int64 [N].
            bits: uint8 [N, H, ceil(W / 8)], rows of the masks packed by ``numpy.packbits``.
            width: W, width of the masks in pixels.
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
        """Size (H, W) of the map or the masks."""
        height, width = self._stored.shape[-2:]
        return height, width if self._width is None else self._width

    @property
    def _stored(self) -> Tensor:
        """The map, the masks or the bits of the masks."""
        stored = self._masks if self.map is None else self.map
        assert stored is not None
        return stored

    def stored(self) -> dict[str, Tensor | int | None]:
        """Return what is stored, for files.

        Returns:
            ``labels``; ``map`` or ``masks``, the other one is None; ``width``, the width of masks
            that are packed bits, see :meth:`from_bits`, otherwise None.
        """
        return dict(labels=self.labels, map=self.map, masks=self._masks, width=self._width)

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        return self.labels.device

    def to(self, *args: Any, **kwargs: Any) -> 'SegmentMap':
        """Copy to another device; the arguments are those of ``torch.Tensor.to`` without dtypes."""
        return self._like(
            self.labels.to(*args, **kwargs),
            None if self.map is None else self.map.to(*args, **kwargs),
            None if self._masks is None else self._masks.to(*args, **kwargs))

    def _like(self, labels: Tensor, map: Tensor | None, masks: Tensor | None) -> 'SegmentMap':
        """Create segments with other content in the same storage form."""
        segments = SegmentMap(labels, map, masks)
        segments._width = self._width
        return segments

    def cpu(self) -> 'SegmentMap':
        """Copy to the CPU."""
        return self.to('cpu')

    def cuda(self) -> 'SegmentMap':
        """Copy to the current GPU."""
        return self.to('cuda')

    @property
    def masks(self) -> Tensor:
        """Dense masks, see :meth:`dense`."""
        return self.dense()

    def dense(self) -> Tensor:
        """Build dense masks, bool [N, H, W]; stored masks are returned without a copy."""
        if self._width is not None:
            shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=self.device)
            bits = self._stored[..., None] >> shifts
            return bits.bitwise_and_(1).bool().flatten(2)[..., :self._width]
        if self.map is None:
            return self._stored
        index = torch.arange(len(self), dtype=self.map.dtype, device=self.map.device)
        return self.map[None] == index[:, None, None]

    def areas(self) -> Tensor:
        """Count the pixels of each segment, int64 [N]."""
        if self.map is None:
            # mask by mask: the sum of booleans would convert all masks to int64 first
            areas = [mask.count_nonzero() if self._width is None else _count_bits(mask)
                     for mask in self._stored]
            return torch.stack(areas) if areas else self.labels.new_zeros(0)
        return torch.bincount(self.map.flatten().long() + 1, minlength=len(self) + 1)[1:]

    def drop_empty(self) -> 'SegmentMap':
        """Remove the segments without pixels, for example after a crop."""
        keep = self.areas() > 0
        if keep.all():
            return self
        if self.map is None:
            return self._like(self.labels[keep], None, self._stored[keep])
        new_index = torch.cat([keep.cumsum(0) - 1, keep.new_full((1, ), VOID, dtype=torch.int64)])
        new_index[:-1][~keep] = VOID
        # index -1 (void) selects the last entry, which is void
        return SegmentMap(self.labels[keep], map=new_index[self.map.long()].to(self.map.dtype))


def _count_bits(values: Tensor) -> Tensor:
    """Count the set bits of a uint8 tensor, int64 []."""
    byte = torch.arange(256, device=values.device)
    bits = torch.stack([byte >> place & 1 for place in range(8)]).sum(0)
    return (torch.bincount(values.flatten(), minlength=256) * bits).sum()


class SegmentBatch:
    """Segments of all images of a batch, sampled at points without dense masks.

    Values at points equal bilinear sampling (zero padding, ``align_corners=False``) of the dense
    masks padded with zeros to ``size``.

    Args:
        segments: one :class:`SegmentMap` per image.
        size: (H, W) of the padded input, to which point coordinates are relative.

    Attributes:
        counts: N of each image.
        labels: int64 [N] of each image.

    Raises:
        ValueError: the segments of an image are larger than ``size``.
    """

    def __init__(self, segments: Sequence[SegmentMap], size: tuple[int, int]) -> None:
        self.counts = [len(s) for s in segments]
        self.labels = [s.labels for s in segments]
        self.size = (size[0], size[1])
        for number, s in enumerate(segments):
            if s.shape[0] > size[0] or s.shape[1] > size[1]:
                raise ValueError(f'the ground truth of image {number} of the batch has size '
                                 f'{s.shape}, larger than the padded input {self.size}')
        self._has_masks = any(s.map is None for s in segments)
        # masks bool [sum N, H, W] of all images, or maps [B, H, W]
        self._planes = (self._stack_masks(segments) if self._has_masks
                        else self._stack_maps(segments))

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def max_count(self) -> int:
        """Nmax, the largest number of segments of an image."""
        return max(self.counts, default=0)

    def _stack_maps(self, segments: Sequence[SegmentMap]) -> Tensor:
        """Pad the index maps with void and stack them, integer [B, H, W]."""
        height, width = self.size
        return torch.stack([
            F.pad(s.map, (0, width - s.shape[1], 0, height - s.shape[0]), value=VOID)
            for s in segments if s.map is not None])

    def _stack_masks(self, segments: Sequence[SegmentMap]) -> Tensor:
        """Pad the masks with False and concatenate them, bool [sum N, H, W]."""
        height, width = self.size
        return torch.cat([
            F.pad(s.dense(), (0, width - s.shape[1], 0, height - s.shape[0]))
            for s in segments])

    def masks(self, image: int, segment: Tensor) -> Tensor:
        """Build dense masks of some segments of one image, padded to ``size``.

        Args:
            image: index in the batch.
            segment: int64 [m], indices within the image.

        Returns:
            bool [m, H, W].
        """
        if self._has_masks:
            return self._planes[sum(self.counts[:image]) + segment]
        return self._planes[image] == segment[:, None, None].to(self._planes.dtype)

    def strided_pixels(self, stride: int) -> list[SegmentPixels]:
        """Select every ``stride``-th pixel of the padded masks in both directions.

        Args:
            stride: distance between selected pixels; pixel (0, 0) is selected.

        Returns:
            the masks of each image at its selected pixels, in row-major order.
        """
        planes = self._planes[:, ::stride, ::stride].flatten(1)
        if self._has_masks:
            return [SegmentPixels(len(masks), masks=masks) for masks in planes.split(self.counts)]
        return [SegmentPixels(count, index) for count, index in zip(self.counts, planes)]

    def max_pool(self, size: tuple[int, int]) -> Tensor:
        """Apply adaptive max pooling to the padded masks.

        A cell is True where area resizing of the mask is above zero.

        Args:
            size: (h, w) of the grid, at most the size of the padded input.

        Returns:
            bool [B, Nmax, h * w]; rows beyond the number of segments of an image are False.
        """
        if self._has_masks:
            rows = max_pool_masks(self._planes, size).split(self.counts)
            return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
        return max_pool_maps(self._planes, size, self.max_count)

    def sample_all(self, points: Tensor) -> Tensor:
        """Sample all segments of each image at the points of that image.

        Each point adds its four bilinear weights to the segments of the four pixels around it, so
        that the cost does not depend on the image size.

        Args:
            points: [B, P, 2].

        Returns:
            [B, P, Nmax] in 0..1; columns beyond the number of segments of an image are zero.
        """
        index, weight = bilinear_corners(points, self.size)
        batch, num_points = points.shape[:2]
        out = points.new_zeros(batch, num_points, self.max_count + 1)
        if not self._has_masks:
            corner = torch.gather(self._planes.flatten(1), 1, index.flatten(1)).view(index.shape)
            # void pixels add to an extra column, which is removed at the end
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
        """Sample some segments of one image, all at the same points.

        Args:
            points: [P, 2].
            image: index in the batch.
            segment: int64 [m], distinct indices within the image.

        Returns:
            [m, P] in 0..1, the same values as from :meth:`sample_all`.
        """
        index, weight = bilinear_corners(points, self.size)
        count, wanted = self.counts[image], len(segment)
        if self._has_masks:
            planes = self._planes.flatten(1)[sum(self.counts[:image]) + segment[:, None, None],
                                             index]
            return torch.einsum('npc,pc->np', planes.to(weight.dtype), weight)
        # other segments and void add to an extra column, which is removed at the end
        column = segment.new_full((count + 1, ), wanted)
        column[segment] = torch.arange(wanted, device=segment.device)
        corner = self._planes[image].flatten()[index.flatten()].view(index.shape).long()
        column = column[torch.where(corner < 0, count, corner)]
        out = points.new_zeros(len(points), wanted + 1).scatter_add_(1, column, weight)
        return out[:, :wanted].T

    def sample_pairs(self, points: Tensor, image: Tensor, segment: Tensor) -> Tensor:
        """Sample M (image, segment) pairs, each at its own points.

        Args:
            points: [M, P, 2].
            image: int64 [M], index of the image in the batch.
            segment: int64 [M], index of the segment within its image.

        Returns:
            [M, P] in 0..1.
        """
        if self._has_masks:
            starts, = to_device(image.device, [0] + self.counts[:-1])
            starts = starts.cumsum(0)
            row = starts[image] + segment
        else:
            row = image
        sampled = points.new_empty(points.shape[:2])
        # in chunks: the four corners need several times the memory of the points
        step = chunk_rows(points.device, 16 * points.shape[1])
        for start in range(0, len(points), step):
            part = slice(start, start + step)
            label = None if self._has_masks else segment[part]
            sampled[part] = sample_labels(self._planes, row[part], points[part], label)
        return sampled
