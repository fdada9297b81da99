"""Pictures of views."""
from collections.abc import Iterator

import cv2
import numpy as np

from mmpanseg.browse.display import shrink
from mmpanseg.browse.sources import Classes
from mmpanseg.browse.statistics import dense_mask
from mmpanseg.browse.views import View
from mmpanseg.structures import VOID, SegmentMap
from mmpanseg.structures.segment_grids import resize_nearest
from mmpanseg.visualization import DrawnSegment, Marks, draw_panoptic

# smaller pictures are enlarged, so that names fit
MIN_SIDE = 800


def draw_view(view: View, picture: np.ndarray, classes: Classes, max_side: int) -> np.ndarray:
    """Draw the segments of a view with names, boxes of things, void and crowds.

    Of masks that overlap, smaller ones are in front, and the whole outline of others is drawn.

    Args:
        view: the view.
        picture: its image, uint8 RGB [H, W, 3].
        classes: of the data set.
        max_side: longest side of the result in pixels.

    Returns:
        uint8 RGB [H', W', 3].
    """
    small = shrink(picture, max_side)
    if view.segments is None:
        return small
    labels = view.segments.labels.tolist()
    boxes, index, hidden = _flatten(view.segments, small.shape[:2])
    drawn = [DrawnSegment(number, label, label < classes.num_things,
                          is_crowd=number in view.crowds)
             for number, label in enumerate(labels)]
    height, width = view.segments.shape
    scale = np.array([small.shape[1] / width, small.shape[0] / height] * 2)
    marks = Marks(
        void=classes.has_void, hidden=hidden,
        boxes={segment.id: (boxes[segment.id] * scale).tolist() for segment in drawn
               if segment.is_thing and not segment.is_crowd
               and boxes[segment.id][2] > boxes[segment.id][0]})
    return draw_panoptic(small, index, drawn, classes.names, classes.palette,
                         min_side=min(MIN_SIDE, max_side), marks=marks)


def _flatten(segments: SegmentMap, size: tuple[int, int]
             ) -> tuple[np.ndarray, np.ndarray, dict[int, list[np.ndarray]]]:
    """Flatten segments to a map at another size.

    Args:
        segments: N segments.
        size: (h, w) of the map.

    Returns:
        boxes [N, 4] in pixels of the segments, x2 and y2 one past the last pixel, zeros of an empty
        segment; map [h, w] of indices, -1 = void; outlines of the whole masks that are partly
        hidden, in pixels of the map.
    """
    boxes = np.zeros((len(segments), 4))
    if segments.map is not None:
        index = segments.map.numpy()
        for number, box in _boxes_of_map(index, len(segments)):
            boxes[number] = box
        return boxes, resize_nearest(index, size).astype(np.int64), {}
    flat = np.full(size, VOID, np.int64)
    # one mask at a time: all of them may exceed the memory
    for number in np.argsort(-segments.areas().numpy(), kind='stable').tolist():
        mask = dense_mask(segments, number)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            boxes[number] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        flat[resize_nearest(mask, size)] = number
    hidden = {}
    for number in range(len(segments)):
        mask = resize_nearest(dense_mask(segments, number), size)
        if (mask & (flat != number)).any():
            outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL,
                                           cv2.CHAIN_APPROX_NONE)
            hidden[number] = [points[:, 0] for points in outlines]
    return boxes, flat, hidden


def _boxes_of_map(index: np.ndarray, count: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Iterate (segment, box) of a map."""
    from scipy.ndimage import find_objects

    found = find_objects((index + 1).astype(np.int32), max_label=max(1, count))
    for number, place in enumerate(found[:count]):
        if place is not None:
            rows, columns = place
            yield number, (columns.start, rows.start, columns.stop, rows.stop)
