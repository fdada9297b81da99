"""Placement and drawing of text on segments."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmpanseg.structures.segment_grids import resize_nearest
from mmpanseg.visualization.blending import lay
from mmpanseg.visualization.color import Color, oklch_to_rgb, rgb_to_oklch
from mmpanseg.visualization.text import text_ink, text_width

# labels are placed on a map of at most this many pixels on the longer side
_PLACING_SIDE = 800


@dataclass(frozen=True)
class Label:
    """A text in a rounded box.

    Args:
        text: what to draw.
        color: RGB color of the segment.
        x: center of the box in pixels.
        y: center of the box in pixels.
        width: of the box in pixels.
        height: of the box in pixels.
        font_size: in pixels.
    """
    text: str
    color: Color
    x: float
    y: float
    width: int
    height: int
    font_size: int


def box_size(text: str, font_size: int, font: str | Path | None = None) -> tuple[int, int]:
    """Width and height in pixels of the box around `text` at `font_size` pixels."""
    width = text_width(text, font_size, font)
    return round(width + 0.8 * font_size), round(1.4 * font_size)


class LabelPlacer:
    """Places labels one after the other so that they do not overlap and are inside the image.

    The center of a label is a pixel of its segment. Among the free centers, the one with the
    largest part of the box on the segment is selected, and among equal ones that with the largest
    distance from the segment's border (the pole of inaccessibility). A label with too little of its
    box on the segment is tried at a smaller font size, then left out.

    Args:
        pan_map: integers [H, W], segment ids.
        font_size: in pixels.
        font: font file to prefer, see :func:`mmpanseg.visualization.text.find_runs`.
    """

    # tried one after the other, relative to the full font size
    sizes = (1.0, 0.82)

    def __init__(self, pan_map: np.ndarray, font_size: int,
                 font: str | Path | None = None) -> None:
        height, width = pan_map.shape
        self.scale = min(1.0, _PLACING_SIDE / max(height, width))
        self.map = resize_nearest(pan_map, (max(1, round(height * self.scale)),
                                            max(1, round(width * self.scale))))
        self.taken = np.zeros(self.map.shape, dtype=np.float32)
        self.font_size, self.font = font_size, font

    def place(self, segment_id: int, text: str, color: Color,
              min_coverage: float) -> Label | None:
        """Place the label of one segment.

        Args:
            segment_id: value of the segment in the map.
            text: what to draw.
            color: RGB color of the segment.
            min_coverage: least share of the text's box that must be on the segment, 0..1.

        Returns:
            the label; None without enough space.
        """
        mask = (self.map == segment_id).astype(np.uint8)
        if not mask.any():
            return None
        left, top, width, height = cv2.boundingRect(mask)
        part = np.s_[top:top + height, left:left + width]
        # distances of pixels outside of the segment are not needed
        depth = np.zeros(mask.shape, dtype=np.float32)
        depth[part] = cv2.distanceTransform(np.pad(mask[part], 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        for share in self.sizes:
            font_size = max(8, round(share * self.font_size))
            full = box_size(text, font_size, self.font)
            box = (int(np.ceil(full[0] * self.scale)) + 2, int(np.ceil(full[1] * self.scale)) + 2)
            center = self._best_center(mask, depth, box, min_coverage)
            if center is not None:
                x, y = center
                self._take(x, y, box)
                return Label(text, color, (x + 0.5) / self.scale, (y + 0.5) / self.scale,
                             *full, font_size)
        return None

    def place_beside(self, box: Sequence[float], text: str, color: Color) -> Label | None:
        """Place a small label above, below or beside a box, where it covers no other label.

        Args:
            box: (x1, y1, x2, y2) in pixels.
            text: what to draw.
            color: RGB color of the segment.

        Returns:
            the label; None without a free place in the image.
        """
        font_size = max(8, round(0.75 * self.font_size))
        width, height = box_size(text, font_size, self.font)
        x1, y1, x2, y2 = box
        for x, y in ((x1 + width / 2, y1 - height / 2 - 2), (x1 + width / 2, y2 + height / 2 + 2),
                     (x2 + width / 2 + 3, (y1 + y2) / 2), (x1 - width / 2 - 3, (y1 + y2) / 2)):
            corner = ((x - width / 2) * self.scale, (y - height / 2) * self.scale)
            left, top = (int(np.floor(value)) for value in corner)
            right, bottom = (int(np.ceil(value + side * self.scale))
                             for value, side in zip(corner, (width, height)))
            if left < 0 or top < 0 or right > self.taken.shape[1] or bottom > self.taken.shape[0]:
                continue
            place = np.s_[top:bottom, left:right]
            if not self.taken[place].any():
                self.taken[place] = 1
                return Label(text, color, x, y, width, height, font_size)
        return None

    def _best_center(self, mask: np.ndarray, depth: np.ndarray, box: tuple[int, int],
                     min_coverage: float) -> tuple[int, int] | None:
        """Best free center (x, y) of a box (width, height) in a mask; None without any."""
        (height, width), (half_w, half_h) = mask.shape, (box[0] // 2 + 1, box[1] // 2 + 1)
        # the part of the map that boxes with a center in the segment can cover
        x, y, w, h = cv2.boundingRect(mask)
        left, top = max(0, x - half_w), max(0, y - half_h)
        part = np.s_[top:min(height, y + h + half_h), left:min(width, x + w + half_w)]
        mask, depth = mask[part], depth[part]
        inside = np.zeros(mask.shape, dtype=bool)
        inside[max(0, half_h - top):max(0, height - half_h - top),
               max(0, half_w - left):max(0, width - half_w - left)] = True
        window = (2 * half_w + 1, 2 * half_h + 1)
        allowed = inside & (mask > 0) & (_mean(self.taken[part], window) < 1e-6)
        if not allowed.any():
            return None
        coverage = _mean(mask.astype(np.float32), window)
        score = np.where(allowed, coverage + 0.2 * depth / depth.max(), -1)
        row, column = np.unravel_index(int(score.argmax()), score.shape)
        if coverage[row, column] < min_coverage:
            return None
        return int(column) + left, int(row) + top

    def _take(self, x: int, y: int, box: tuple[int, int]) -> None:
        """Mark a box (width, height) with center (x, y) as occupied."""
        half_w, half_h = box[0] // 2 + 1, box[1] // 2 + 1
        self.taken[max(0, y - half_h):y + half_h + 1, max(0, x - half_w):x + half_w + 1] = 1


def _mean(values: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Mean of `values` over a window (width, height) around each pixel, zero-padded."""
    return cv2.boxFilter(values, cv2.CV_32F, window, borderType=cv2.BORDER_CONSTANT)


def draw_labels(image: np.ndarray, labels: list[Label],
                font: str | Path | None = None) -> np.ndarray:
    """Draw labels: light text on dark boxes with the hue of the segment.

    Args:
        image: uint8 RGB [H, W, 3] or RGBA [H, W, 4].
        labels: placed labels.
        font: that of the :class:`LabelPlacer`.

    Returns:
        a copy of the image with the labels.
    """
    canvas = image.copy()
    height, width = image.shape[:2]
    for label in labels:
        left, top = round(label.x - label.width / 2), round(label.y - label.height / 2)
        left = min(max(left, 0), max(0, width - label.width))
        top = min(max(top, 0), max(0, height - label.height))
        place = np.s_[top:top + label.height, left:left + label.width]
        patch = canvas[place].astype(np.float32)
        h, w = patch.shape[:2]
        _, chroma, hue = rgb_to_oklch(label.color)
        fill = oklch_to_rgb(0.30, min(chroma, 0.10), hue)
        box = 0.82 * _rounded_box(label.width, label.height, 0.32 * label.height)[:h, :w]
        ink = text_ink(label.text, label.font_size, label.width, label.height, font)[:h, :w]
        pixels = patch.reshape(-1, patch.shape[2])
        lay(pixels, box.ravel(), np.array(fill, dtype=np.float32))
        lay(pixels, ink.ravel(), 255.0)
        canvas[place] = patch.round().clip(0, 255)
    return canvas


def _rounded_box(width: int, height: int, radius: float) -> np.ndarray:
    """Anti-aliased coverage 0..1 of a rounded rectangle, float [height, width]."""
    dx = np.abs(np.arange(width) + 0.5 - width / 2) - (width / 2 - radius)
    dy = np.abs(np.arange(height) + 0.5 - height / 2) - (height / 2 - radius)
    outside = np.hypot(np.maximum(dx[None, :], 0), np.maximum(dy[:, None], 0))
    return np.clip(radius + 0.5 - outside, 0, 1).astype(np.float32)
