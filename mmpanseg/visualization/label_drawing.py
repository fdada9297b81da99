"""Placement and drawing of text on segments."""
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmpanseg.structures.segment_grids import resize_nearest
from mmpanseg.visualization.color import Color, oklch_to_rgb, rgb_to_oklch

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


@lru_cache(maxsize=32)
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Load DejaVu Sans Bold, which matplotlib includes on every system, at `size` pixels."""
    return ImageFont.truetype(str(_data_folder() / 'fonts' / 'ttf' / 'DejaVuSans-Bold.ttf'), size)


def _data_folder() -> Path:
    """Folder of matplotlib's files; most installations need no import of matplotlib for it."""
    spec = importlib.util.find_spec('matplotlib')
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).with_name('mpl-data')
        if folder.is_dir():
            return folder
    import matplotlib

    return Path(matplotlib.get_data_path())


def box_size(text: str, font_size: int) -> tuple[int, int]:
    """Width and height in pixels of the box around `text` at `font_size` pixels."""
    width = load_font(font_size).getlength(text)
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
    """

    # tried one after the other, relative to the full font size
    sizes = (1.0, 0.82)

    def __init__(self, pan_map: np.ndarray, font_size: int) -> None:
        height, width = pan_map.shape
        self.scale = min(1.0, _PLACING_SIDE / max(height, width))
        self.map = resize_nearest(pan_map, (max(1, round(height * self.scale)),
                                            max(1, round(width * self.scale))))
        self.taken = np.zeros(self.map.shape, dtype=np.float32)
        self.font_size = font_size

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
        depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        for share in self.sizes:
            font_size = max(8, round(share * self.font_size))
            full = box_size(text, font_size)
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
        width, height = box_size(text, font_size)
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
        inside = np.zeros(mask.shape, dtype=bool)
        inside[half_h:height - half_h, half_w:width - half_w] = True
        window = (2 * half_w + 1, 2 * half_h + 1)
        allowed = inside & (mask > 0) & (_mean(self.taken, window) < 1e-6)
        if not allowed.any():
            return None
        coverage = _mean(mask.astype(np.float32), window)
        score = np.where(allowed, coverage + 0.2 * depth / depth.max(), -1)
        y, x = np.unravel_index(int(score.argmax()), score.shape)
        return (int(x), int(y)) if coverage[y, x] >= min_coverage else None

    def _take(self, x: int, y: int, box: tuple[int, int]) -> None:
        """Mark a box (width, height) with center (x, y) as occupied."""
        half_w, half_h = box[0] // 2 + 1, box[1] // 2 + 1
        self.taken[max(0, y - half_h):y + half_h + 1, max(0, x - half_w):x + half_w + 1] = 1


def _mean(values: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Mean of `values` over a window (width, height) around each pixel, zero-padded."""
    return cv2.boxFilter(values, cv2.CV_32F, window, borderType=cv2.BORDER_CONSTANT)


def draw_labels(image: np.ndarray, labels: list[Label]) -> np.ndarray:
    """Draw labels: light text on dark boxes with the hue of the segment.

    Args:
        image: uint8 RGB [H, W, 3].
        labels: placed labels.

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
        lightness, chroma, hue = rgb_to_oklch(label.color)
        fill = oklch_to_rgb(0.30, min(chroma, 0.10), hue)
        box = 0.82 * _rounded_box(label.width, label.height, 0.32 * label.height)[:h, :w, None]
        patch += box * (np.array(fill, dtype=np.float32) - patch)
        ink = text_ink(label.text, label.font_size, label.width, label.height)[:h, :w, None]
        patch += ink * (255 - patch)
        canvas[place] = patch.round().clip(0, 255)
    return canvas


def text_ink(text: str, font_size: int, width: int, height: int) -> np.ndarray:
    """Render a text in the center of a box.

    Args:
        text: what to render.
        font_size: in pixels.
        width: of the box in pixels.
        height: of the box in pixels.

    Returns:
        coverage 0..1, float [height, width].
    """
    plate = Image.new('L', (width, height))
    ImageDraw.Draw(plate).text((width / 2, height / 2), text, fill=255, font=load_font(font_size),
                               anchor='mm')
    return np.asarray(plate, dtype=np.float32) / 255


def _rounded_box(width: int, height: int, radius: float) -> np.ndarray:
    """Anti-aliased coverage 0..1 of a rounded rectangle, float [height, width]."""
    dx = np.abs(np.arange(width) + 0.5 - width / 2) - (width / 2 - radius)
    dy = np.abs(np.arange(height) + 0.5 - height / 2) - (height / 2 - radius)
    outside = np.hypot(np.maximum(dx[None, :], 0), np.maximum(dy[:, None], 0))
    return np.clip(radius + 0.5 - outside, 0, 1).astype(np.float32)
