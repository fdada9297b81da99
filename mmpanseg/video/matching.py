"""Track ids of segments over the frames of a video, by the overlap of their masks."""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle_tools

from mmpanseg.results import Result, Segment
from mmpanseg.visualization.color import Color, instance_shade
from mmpanseg.visualization.palettes import COLORBLIND, PaletteLike, find_palette


class Track(NamedTuple):
    """A segment over several frames.

    Attributes:
        id: 1, 2, ... in the order of appearance.
        label: class.
        color: RGB, constant over the frames.
    """
    id: int
    label: int
    color: Color


class SegmentTracker:
    """Matches the segments of each frame with those of the frame before it.

    Two things are the same one if their class is the same and the intersection over union of their
    masks is at least ``min_iou``; of all such pairs, those with the largest sum are chosen. A thing
    that is hidden for one frame gets a new track. The segments of a stuff class have one track in
    the whole video. This is no model of video panoptic segmentation: motion and appearance are not
    used.

    Args:
        palette: a list, a name, a file or a dict, see
            :func:`mmpanseg.visualization.find_palette` (default: that of the first result, else
            generated).
        min_iou: least intersection over union of a thing in two frames, above 0, up to 1.
    """

    def __init__(self, palette: PaletteLike | None = None, min_iou: float = 0.3) -> None:
        if not 0 < min_iou <= 1:
            raise ValueError(f'min_iou must be above 0 and at most 1, got {min_iou}')
        self.min_iou = min_iou
        self._palette = palette
        self._keep_hue = isinstance(palette, str) and palette == COLORBLIND
        self._colors: list[Color] = []
        self._stuff: dict[int, Track] = {}
        # things of the last frame
        self._tracks: list[Track] = []
        self._masks: _Masks | None = None
        # number of tracks of each class
        self._counts: dict[int, int] = {}

    @property
    def count(self) -> int:
        """Number of tracks until now."""
        return sum(self._counts.values())

    def update(self, result: Result) -> dict[int, Track]:
        """Match the segments of the next frame.

        Args:
            result: of the frame.

        Returns:
            id of each segment -> its track.
        """
        segments = list(result.segments)
        if not self._colors:
            self._colors = find_palette(self._palette, result.classes, len(result.classes),
                                        result.palette)
        tracks: dict[int, Track] = {}
        things = [segment for segment in segments if segment.is_thing]
        masks = _Masks(result, things)
        if self._masks is not None and self._masks.size == masks.size:
            tracks.update(self._matched(things, masks.ious(self._masks)))
        # numbered from left to right, like the colors of segments in a single picture
        for segment in sorted(segments, key=lambda one: one.box[0] + one.box[2]):
            if not segment.is_thing:
                if segment.label not in self._stuff:
                    self._stuff[segment.label] = self._new(segment)
                tracks[segment.id] = self._stuff[segment.label]
            elif segment.id not in tracks:
                tracks[segment.id] = self._new(segment)
        self._masks, self._tracks = masks, [tracks[thing.id] for thing in things]
        return tracks

    def _matched(self, things: Sequence[Segment], ious: np.ndarray) -> dict[int, Track]:
        """Tracks that continue, by the id of their segment.

        Args:
            things: of this frame.
            ious: [things of the last frame, things of this frame].
        """
        from scipy.optimize import linear_sum_assignment  # slow to import

        before = np.array([track.label for track in self._tracks], dtype=int)
        now = np.array([thing.label for thing in things], dtype=int)
        allowed = (before[:, None] == now[None]) & (ious >= self.min_iou)
        pairs = zip(*linear_sum_assignment(np.where(allowed, ious, 0), maximize=True))
        return {things[new].id: self._tracks[old] for old, new in pairs if allowed[old, new]}

    def _new(self, segment: Segment) -> Track:
        number = self._counts.get(segment.label, 0)
        self._counts[segment.label] = number + 1
        color = instance_shade(self._colors[segment.label], number, self._keep_hue)
        return Track(self.count, segment.label, color)


class _Masks:
    """Masks of the things of a frame: a map if they do not overlap, else run lengths."""

    def __init__(self, result: Result, things: Sequence[Segment]) -> None:
        self.size = result.size
        self.count = len(things)
        self.index: np.ndarray | None = None
        self.rles: list[dict] = []
        if result.panoptic_map is None:
            self.rles = [thing.rle() for thing in things]
            return
        # value in the map -> 1 + position in the list; 0 for the others
        table = np.zeros(int(result.panoptic_map.max(initial=0)) + 1, dtype=np.int64)
        for position, thing in enumerate(things):
            table[thing.id] = position + 1
        self.index = table[result.panoptic_map]

    def ious(self, before: '_Masks') -> np.ndarray:
        """Intersection over union, [things of the frame before, things of this frame]."""
        if not before.count or not self.count:
            return np.zeros((before.count, self.count))
        if self.index is None or before.index is None:
            return rle_tools.iou(before.rles, self.rles, [0] * self.count)
        joint = np.bincount((before.index * (self.count + 1) + self.index).ravel(),
                            minlength=(before.count + 1) * (self.count + 1))
        joint = joint.reshape(before.count + 1, self.count + 1)
        union = joint.sum(1)[1:, None] + joint.sum(0)[None, 1:] - joint[1:, 1:]
        return joint[1:, 1:] / np.maximum(union, 1)
