"""Ground truth as Panoptic SegFormer reads it: located segments, stuff classes, soft masks.

Shapes: B images, N located segments (at most, rows beyond an image's count are zero), D numbers
of a location, H, W padded input, h, w masks.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mmpanseg.models.layers.positional_encoding import pixel_centers
from mmpanseg.structures.segment_geometry import segment_boxes, segment_mass_centers
from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.device import to_device, to_host


@dataclass(frozen=True)
class LocatedTargets:
    """Ground truth of a batch.

    Attributes:
        segments: all of it, over the padded input.
        located: indices of the segments whose queries are located, for each image.
        stuff: for each image the indices of the others, grouped by class:
            {stuff class from 0: indices}. A class is one segment, also if the annotation has it
            in several.
        stuff_segments: these indices in that order, int64 for each image.
        labels: int64 [B, N] of the located segments.
        locations: [B, N, D], relative to the image without its padding.
        image_sizes: (width, height, width, height) in pixels [B, 4].
    """
    segments: SegmentBatch
    located: list[Tensor]
    stuff: list[dict[int, list[int]]]
    stuff_segments: list[Tensor]
    labels: Tensor
    locations: Tensor
    image_sizes: Tensor

    @property
    def counts(self) -> list[int]:
        """Located segments of each image."""
        return [len(index) for index in self.located]

    def located_masks(self, image: int, size: tuple[int, int]) -> Tensor:
        """Soft masks of the located segments of an image, resized bilinearly, [n, h * w]."""
        return self._masks(image, size, self.located[image])

    def stuff_masks(self, image: int, size: tuple[int, int]) -> Tensor:
        """Those of its stuff classes, one for each of ``stuff[image]``."""
        masks = self._masks(image, size, self.stuff_segments[image])
        groups = masks.split([len(index) for index in self.stuff[image].values()])
        return torch.stack([group.sum(0) for group in groups]) if len(masks) else masks

    def _masks(self, image: int, size: tuple[int, int], segment: Tensor) -> Tensor:
        """Of one image and of what is asked for: masks of a whole batch would be much to keep."""
        return self.segments.sample_some(pixel_centers((size, ), self.labels.device), image,
                                         segment)


def locations_of(segments: SegmentMap, location: str, size: Tensor) -> Tensor:
    """Locations [N, D] of one image's segments, relative to its ``size`` (w, h, w, h).

    ``location``: 'box': center and size; 'center_of_mass': center of mass of the mask, the pixels'
    middles taken (CVPR appendix A.1); 'center_scale': center of mass and extent (v1 Equation 4,
    which leaves open whether the scale is one number or two).
    """
    pixels = resolve_option('location', location, _LOCATIONS)(segments)
    return pixels / size[:pixels.shape[1]]


def _box(segments: SegmentMap) -> Tensor:
    boxes = segment_boxes(segments)
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)


def _center_of_mass(segments: SegmentMap) -> Tensor:
    return segment_mass_centers(segments) + 0.5


def _center_scale(segments: SegmentMap) -> Tensor:
    return torch.cat([_center_of_mass(segments), _box(segments)[:, 2:]], 1)


_LOCATIONS = {'box': _box, 'center_of_mass': _center_of_mass, 'center_scale': _center_scale}


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
    # one copy to the host: how many there are decides the shapes of everything that follows
    every = to_host(torch.cat([s.labels for s in segments]))[0].tolist()
    located, stuff = [], []
    for image in segments:
        labels, every = every[:len(image)], every[len(image):]
        located.append([i for i, label in enumerate(labels) if label < num_located])
        groups: dict[int, list[int]] = {}
        for i, label in enumerate(labels):
            if label >= num_located:
                groups.setdefault(label - num_located, []).append(i)
        stuff.append(groups)
    sizes = np.array([[*metainfo['img_shape'][1::-1]] * 2 for metainfo in metainfos], np.float32)
    image_sizes, *indices = to_device(
        device, sizes, *(np.array(index, np.int64) for index in located),
        *(np.array(sum(groups.values(), []), np.int64) for groups in stuff))
    located, stuff_segments = indices[:len(segments)], indices[len(segments):]
    locations = [locations_of(image, location, size)[index]
                 for image, size, index in zip(segments, image_sizes, located, strict=True)]
    return LocatedTargets(
        SegmentBatch(segments, metainfos[0]['batch_input_shape']), located, stuff, stuff_segments,
        _pad([image.labels[index] for image, index in zip(segments, located)]),
        _pad(locations), image_sizes)


def _pad(rows: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
