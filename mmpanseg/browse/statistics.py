"""Numbers about the segments of an image."""
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mmpanseg.structures import VOID, SegmentMap

# pixels of the masks that systems with maps at stride 4 learn from
STRIDE = 4


@dataclass(frozen=True)
class ViewStatistics:
    """Numbers about a view.

    Args:
        size: (H, W) of the image in pixels.
        map_size: (H, W) of the segments; that of the file in pipelines of tests, which do not
            resize the ground truth.
        num_segments: segments with a pixel that are no crowds.
        num_crowds: crowds.
        num_empty: segments of which no pixel is left.
        void_share: share of the pixels without a segment, 0..1.
        smallest: pixels of the smallest segment that is no crowd; None without one.
        segments: label -> number of segments with a pixel, without crowds.
        pixels: label -> pixels of these segments.
        overlap: whether a pixel belongs to two segments.
        has_segments: False: the pipeline loads no ground truth, or it cannot be read.
    """

    size: tuple[int, int]
    map_size: tuple[int, int]
    num_segments: int = 0
    num_crowds: int = 0
    num_empty: int = 0
    void_share: float = 1.0
    smallest: int | None = None
    segments: dict[int, int] = field(default_factory=dict)
    pixels: dict[int, int] = field(default_factory=dict)
    overlap: bool = False
    has_segments: bool = True

    @property
    def smallest_at_stride(self) -> float | None:
        """Size of the smallest segment in pixels of the maps at stride 4 of the image."""
        if self.smallest is None:
            return None
        (height, width), (map_height, map_width) = self.size, self.map_size
        return self.smallest * (height * width) / (map_height * map_width) / STRIDE ** 2

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers in JSON's types; the keys of classes are labels."""
        return dict(
            height=self.size[0], width=self.size[1], num_segments=self.num_segments,
            num_crowds=self.num_crowds, num_empty=self.num_empty, void_share=self.void_share,
            overlap=self.overlap, has_segments=self.has_segments, smallest=self.smallest,
            segments={str(label): count for label, count in self.segments.items()},
            pixels={str(label): count for label, count in self.pixels.items()})


def measure(segments: SegmentMap | None, size: tuple[int, int],
            crowds: frozenset[int] = frozenset()) -> ViewStatistics:
    """Compute the numbers of a view.

    Args:
        segments: of the view; None without ground truth.
        size: (H, W) of the image.
        crowds: indices of the segments that are crowds.
    """
    if segments is None:
        return ViewStatistics(size, size, has_segments=False)
    areas, labels = segments.areas().tolist(), segments.labels.tolist()
    counts: dict[int, int] = {}
    pixels: dict[int, int] = {}
    counted = []
    for number, (area, label) in enumerate(zip(areas, labels)):
        if number in crowds or not area:
            continue
        counted.append(area)
        counts[label] = counts.get(label, 0) + 1
        pixels[label] = pixels.get(label, 0) + area
    num_empty = sum(not area for number, area in enumerate(areas) if number not in crowds)
    return ViewStatistics(
        size, segments.shape, len(counted), len(crowds), num_empty, 1 - _covered(segments),
        min(counted, default=None), dict(sorted(counts.items())),
        dict(sorted(pixels.items())), segments.map is None)


def _covered(segments: SegmentMap) -> float:
    """Return the share of the pixels with a segment."""
    height, width = segments.shape
    if not height * width:
        return 0.0
    if segments.map is not None:
        return float((segments.map != VOID).float().mean())
    covered = np.zeros((height, width), bool)
    for number in range(len(segments)):
        covered |= dense_mask(segments, number)
    return float(covered.mean())


def dense_mask(segments: SegmentMap, number: int) -> np.ndarray:
    """Build the mask of one segment, bool [H, W]."""
    stored = segments.stored()
    index, masks, width = stored['map'], stored['masks'], stored['width']
    if isinstance(index, torch.Tensor):
        return (index == number).numpy()
    assert isinstance(masks, torch.Tensor)
    if width is None:
        return masks[number].numpy().astype(bool)
    return np.unpackbits(masks[number].numpy(), axis=1)[:, :width].astype(bool)
