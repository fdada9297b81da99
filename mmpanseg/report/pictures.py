"""Pictures of images, predictions, ground truth and errors; those of the worst images are kept."""
import heapq
from collections.abc import Container, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mmpanseg.browse.display import shrink
from mmpanseg.engine.command_line import one_line
from mmpanseg.evaluation.panoptic_quality import PanopticMap
from mmpanseg.pages.picture_files import SMALL_SIDE, write_jpeg
from mmpanseg.report.records import PICTURES, ImageRecord
from mmpanseg.report.scoring import Scored
from mmpanseg.report.truth import ReportClasses, Truth
from mmpanseg.structures.segment_grids import resize_nearest
from mmpanseg.visualization import DrawnSegment, Marks, draw_panoptic, segment_colors
from mmpanseg.visualization.color import Color
from mmpanseg.visualization.error_map import draw_error_map

# smaller pictures are enlarged, so that names fit
MIN_SIDE = 800
# where an image is missing, segments are drawn on gray
_GRAY = 128


class Drawn(NamedTuple):
    """Pictures of an image.

    Attributes:
        pictures: see :attr:`ImageRecord.pictures`.
        note: what could not be drawn; '' if all is there.
    """

    pictures: dict[str, str]
    note: str


class WorstImages:
    """The images with the lowest PQ; of equal ones, the first.

    Args:
        limit: largest number; None for all images.
        also: ids of images that are kept whatever their PQ, and not counted.
    """

    def __init__(self, limit: int | None, also: Container[int | str] = ()) -> None:
        self.limit, self.also = limit, also
        # the best of them is first
        self._heap: list[tuple[float, int]] = []

    def add(self, record: ImageRecord) -> tuple[bool, int | None]:
        """Add an image.

        Returns:
            whether it is kept now; and the number of the image that no longer is.
        """
        if self.limit is None or record.image_id in self.also:
            return True, None
        # an image without segments is a good one
        key = (-1.0 if record.pq is None else -record.pq, -record.number)
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, key)
            return True, None
        if not self._heap or key < self._heap[0]:
            return False, None
        _, number = heapq.heapreplace(self._heap, key)
        return True, -number


def draw_pictures(folder: Path, scored: Scored, truth: Truth, index: int, max_side: int) -> Drawn:
    """Draw the pictures of an image; threads may do it for several images.

    Args:
        folder: of the report.
        scored: the image.
        truth: where images are read from.
        index: of the image in the data set.
        max_side: longest side of the pictures in pixels.

    Raises:
        FileWriteError: a picture cannot be written.
    """
    note, image = '', None
    if not Path(str(truth.info(index).get('img_path') or '')).is_file():
        note = '' if truth.without_images else 'the image file does not exist'
    else:
        try:
            image = truth.picture(index)
            if image.shape[:2] != scored.record.size:
                note = (f'the image has {image.shape[1]}x{image.shape[0]} pixels, its ground truth '
                        f'{scored.record.size[1]}x{scored.record.size[0]}')
                image = None
        except Exception as error:  # decoders raise errors of many types
            note = one_line(error)
    pictures = {}
    for suffix, side in (('', max_side), ('_small', min(SMALL_SIDE, max_side))):
        for kind, picture in _draw(image, scored, truth.classes, side).items():
            name = f'{PICTURES}/{scored.record.number:06d}_{kind}{suffix}.jpg'
            write_jpeg(folder / name, picture)
            pictures[kind + suffix] = name
    return Drawn(pictures, note)


def _draw(image: np.ndarray | None, scored: Scored, classes: ReportClasses,
          max_side: int) -> dict[str, np.ndarray]:
    """Draw all pictures of one size."""
    height, width = scored.record.size
    canvas = (np.full((height, width, 3), _GRAY, np.uint8) if image is None else image)
    canvas = shrink(canvas, max_side)
    size = (canvas.shape[0], canvas.shape[1])
    min_side = min(MIN_SIDE, max_side)
    gt, pred = scored.gt, scored.pred.segments
    truth_map, pred_map = resize_nearest(gt.map, size), resize_nearest(pred.map, size)
    truth_segments = _drawn_segments(gt, classes, [None] * len(gt.ids))
    pred_segments = _drawn_segments(pred, classes, scored.pred.scores)
    colors = segment_colors(truth_map, truth_segments, classes.palette)
    pictures = {} if image is None else dict(image=_enlarge(canvas, min_side))
    return dict(
        pictures,
        prediction=draw_panoptic(
            canvas, pred_map, pred_segments, classes.names, classes.palette, min_side=min_side,
            colors=_matched_colors(scored.record, colors), marks=Marks(void=True)),
        truth=draw_panoptic(canvas, truth_map, truth_segments, classes.names, classes.palette,
                            min_side=min_side, marks=Marks(void=True)),
        errors=draw_error_map(canvas, resize_nearest(scored.errors, size), truth_map,
                              min_side=min_side))


def _drawn_segments(segments: PanopticMap, classes: ReportClasses,
                    scores: list[float | None]) -> list[DrawnSegment]:
    return [DrawnSegment(number, label, classes.is_thing[label], score, is_crowd=crowd)
            for number, label, crowd, score in zip(
                segments.ids.tolist(), segments.labels.tolist(), segments.crowd.tolist(), scores)]


def _matched_colors(record: ImageRecord, colors: Mapping[int, Color]) -> dict[int, Color]:
    """Give predicted segments the colors of their matches."""
    return {entry.id: colors[entry.match] for entry in record.segments
            if entry.side == 'pred' and entry.match is not None}


def _enlarge(picture: np.ndarray, min_side: int) -> np.ndarray:
    factor = min_side / max(picture.shape[:2])
    if factor <= 1:
        return picture
    size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
