"""Ground truth as Panoptic SegFormer reads it: located segments, stuff classes, soft masks.

Shapes: B images, N located segments (at most, rows beyond an image's count are zero), D numbers
of a location, H, W padded input, h, w masks.
"""
from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor, nn

from mmpanseg.models.layers.choice import choose
from mmpanseg.models.layers.positional_encoding import pixel_centres
from mmpanseg.structures.segment_geometry import segment_boxes, segment_centres
from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap


@dataclass(frozen=True)
class LocatedTargets:
    """Ground truth of a batch.

    Attributes:
        segments: all of it, over the padded input.
        located: indices of the segments whose queries are located, for each image.
        stuff: for each image the indices of the others, grouped by class:
            {stuff class from 0: indices}. A class is one segment, also if the annotation has it
            in several.
        labels: int64 [B, N] of the located segments.
        locations: [B, N, D], relative to the image without its padding.
        image_sizes: (width, height, width, height) in pixels [B, 4].
    """
    segments: SegmentBatch
    located: list[Tensor]
    stuff: list[dict[int, list[int]]]
    labels: Tensor
    locations: Tensor
    image_sizes: Tensor

    @property
    def counts(self) -> list[int]:
        """Located segments of each image."""
        return [len(index) for index in self.located]

    def masks(self, size: tuple[int, int]) -> Tensor:
        """Segments resized bilinearly to (h, w): soft masks [B, all segments, h * w]."""
        points = pixel_centres((size, ), self.labels.device)
        return self.segments.sample_all(points.expand(len(self.segments), -1, -1)).transpose(1, 2)

    def located_masks(self, masks: Tensor, image: int) -> Tensor:
        """Those of the located segments of an image [n, h * w]."""
        return masks[image, self.located[image]]

    def stuff_masks(self, masks: Tensor, image: int) -> Tensor:
        """Those of the stuff classes of an image, one for each of ``stuff[image]``."""
        rows = [masks[image, index].sum(0) for index in self.stuff[image].values()]
        return torch.stack(rows) if rows else masks[image, :0]


def locations_of(segments: SegmentMap, location: str, image_shape: Sequence[int]) -> Tensor:
    """Locations [N, D] of one image's segments, relative to its size (h, w).

    ``location``: 'box': centre and size; 'mass_centre': centre of mass of the mask, the pixels'
    middles taken (CVPR appendix A.1); 'centre_scale': centre of mass and extent (v1 Equation 4,
    which leaves open whether the scale is one number or two).
    """
    height, width = image_shape[:2]
    pixels = choose('location', location, _LOCATIONS)(segments)
    size = torch.tensor([width, height, width, height], device=segments.device)
    return pixels / size[:pixels.shape[1]]


def _box(segments: SegmentMap) -> Tensor:
    boxes = segment_boxes(segments)
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)


def _mass_centre(segments: SegmentMap) -> Tensor:
    return segment_centres(segments) + 0.5


def _centre_scale(segments: SegmentMap) -> Tensor:
    return torch.cat([_mass_centre(segments), _box(segments)[:, 2:]], 1)


_LOCATIONS = {'box': _box, 'mass_centre': _mass_centre, 'centre_scale': _centre_scale}


def read_targets(segments: Sequence[SegmentMap], metainfos: Sequence[dict], num_located: int,
                 location: str) -> LocatedTargets:
    """Targets of a batch.

    Args:
        segments: of each image.
        metainfos: ``img_shape`` and ``batch_input_shape`` of each image.
        num_located: labels below are located, the others are stuff.
        location: what a location is, see :func:`locations_of`.
    """
    device = segments[0].device
    located, stuff, locations = [], [], []
    # one copy to the host: how many there are decides the shapes of everything that follows
    every = torch.cat([s.labels for s in segments]).tolist()
    for image, metainfo in zip(segments, metainfos, strict=True):
        labels, every = every[:len(image)], every[len(image):]
        located.append(torch.tensor(
            [i for i, label in enumerate(labels) if label < num_located], dtype=torch.long,
            device=device))
        groups: dict[int, list[int]] = {}
        for i, label in enumerate(labels):
            if label >= num_located:
                groups.setdefault(label - num_located, []).append(i)
        stuff.append(groups)
        locations.append(
            locations_of(image, location, metainfo['img_shape'])[located[-1]])
    shapes = torch.tensor([metainfo['img_shape'][:2] for metainfo in metainfos],
                          dtype=torch.float32)
    return LocatedTargets(
        SegmentBatch(segments, metainfos[0]['batch_input_shape']), located, stuff,
        _pad([image.labels[index] for image, index in zip(segments, located)]),
        _pad(locations), shapes.flip(1).repeat(1, 2).to(device))


def _pad(rows: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
