"""Ground truth of Panoptic SegFormer: segments of location queries, stuff classes, soft masks.

Location queries pass through the location decoder: thing queries, or the queries of all classes
in joint matching. A stuff query predicts one stuff class.

Shapes: B images, N segments of location queries (padded with zeros), D numbers of a location, H, W
padded input, h, w masks.
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
class PanopticSegFormerTargets:
    """Ground truth of a batch.

    Attributes:
        segments: all segments, over the padded input.
        location_segments: for each image the indices of the segments that location queries are
            matched with, int64 [n].
        stuff_classes: for each image the other segments by class: {stuff class, from 0: indices}.
            A class is one segment even if the annotation has several of it.
        stuff_segments: these indices in the same order, int64 for each image.
        labels: int64 [B, N] of the segments of location queries.
        locations: [B, N, D] of the same segments in 0..1, relative to the image without padding.
        image_sizes: (width, height, width, height) in pixels, float32 [B, 4].
    """
    segments: SegmentBatch
    location_segments: list[Tensor]
    stuff_classes: list[dict[int, list[int]]]
    stuff_segments: list[Tensor]
    labels: Tensor
    locations: Tensor
    image_sizes: Tensor

    @property
    def counts(self) -> list[int]:
        """Number of segments of location queries in each image."""
        return [len(index) for index in self.location_segments]

    def location_masks(self, image: int, size: tuple[int, int]) -> Tensor:
        """Resize the masks of the segments of location queries of one image.

        Args:
            image: index in the batch.
            size: (h, w) of the result.

        Returns:
            Bilinearly resized masks [n, h * w] in 0..1.
        """
        return self._resize_masks(image, size, self.location_segments[image])

    def stuff_masks(self, image: int, size: tuple[int, int]) -> Tensor:
        """Resize the masks of one image's stuff classes; see :meth:`location_masks`.

        Returns:
            One mask for each of ``stuff_classes[image]``, [n, h * w] in 0..1.
        """
        masks = self._resize_masks(image, size, self.stuff_segments[image])
        groups = masks.split([len(index) for index in self.stuff_classes[image].values()])
        return torch.stack([group.sum(0) for group in groups]) if len(masks) else masks

    def _resize_masks(self, image: int, size: tuple[int, int], segment: Tensor) -> Tensor:
        # of one image at a time, because the masks of a whole batch would need much memory
        return self.segments.sample_some(pixel_centers((size, ), self.labels.device), image,
                                         segment)


def segment_locations(segments: SegmentMap, location: str, size: Tensor) -> Tensor:
    """Compute the locations of one image's segments.

    Args:
        segments: N segments.
        location: 'box': center and size; 'center_of_mass': center of mass of the mask's pixel
            centers (CVPR appendix A.1); 'center_scale': center of mass and extent (v1 Equation 4,
            which does not say whether the scale is one number or two).
        size: (width, height, width, height) of the image in pixels, [4].

    Returns:
        [N, D] in 0..1, relative to the image.
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


def read_targets(segments: Sequence[SegmentMap], metainfos: Sequence[dict],
                 num_location_classes: int, location: str) -> PanopticSegFormerTargets:
    """Read the targets of a batch, with one copy to the host.

    Args:
        segments: of each image.
        metainfos: ``img_shape`` and ``batch_input_shape`` of each image.
        num_location_classes: labels below have location queries, the others are stuff.
        location: kind of the locations, see :func:`segment_locations`.
    """
    device = segments[0].device
    # the numbers of segments decide the shapes of all tensors that follow
    labels_on_host = to_host(torch.cat([image.labels for image in segments]))[0].tolist()
    with_location: list[list[int]] = []
    stuff_classes: list[dict[int, list[int]]] = []
    for image in segments:
        labels, labels_on_host = labels_on_host[:len(image)], labels_on_host[len(image):]
        with_location.append([i for i, label in enumerate(labels) if label < num_location_classes])
        groups: dict[int, list[int]] = {}
        for i, label in enumerate(labels):
            if label >= num_location_classes:
                groups.setdefault(label - num_location_classes, []).append(i)
        stuff_classes.append(groups)
    sizes = np.array([[*metainfo['img_shape'][1::-1]] * 2 for metainfo in metainfos], np.float32)
    image_sizes, *indices = to_device(
        device, sizes, *(np.array(index, np.int64) for index in with_location),
        *(np.array(sum(groups.values(), []), np.int64) for groups in stuff_classes))
    location_segments, stuff_segments = indices[:len(segments)], indices[len(segments):]
    locations = [
        segment_locations(image, location, size)[index]
        for image, size, index in zip(segments, image_sizes, location_segments, strict=True)]
    return PanopticSegFormerTargets(
        SegmentBatch(segments, metainfos[0]['batch_input_shape']), location_segments,
        stuff_classes, stuff_segments,
        _pad([image.labels[index] for image, index in zip(segments, location_segments)]),
        _pad(locations), image_sizes)


def _pad(rows: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
