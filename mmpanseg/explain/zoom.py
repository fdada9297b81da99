"""The part of an image around a small segment, which pictures show larger.

H, W: size of the image.
"""
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

# a segment is small if its box is at most this share of both sides; it fills half of its window
_SMALL, _FILLED = 0.25, 0.5
# least sides of a window in pixels, and in shares of the image
_LEAST_PIXELS, _LEAST_SHARE = 16, 0.04


class Window(NamedTuple):
    """A part of an image, with the aspect ratio of the image.

    Attributes:
        x: left end, in shares of the width.
        y: upper end, in shares of the height.
        width: share of the width.
        height: share of the height.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def factor(self) -> float:
        """How much larger a picture of the part shows it than one of the image."""
        return 1 / max(self.width, self.height)

    def corners(self, size: Sequence[int]) -> tuple[int, int, int, int]:
        """Return the corners (x1, y1, x2, y2) in pixels of a picture (H, W) of the image."""
        height, width = size
        return (round(self.x * width), round(self.y * height),
                round((self.x + self.width) * width), round((self.y + self.height) * height))


WHOLE = Window(0.0, 0.0, 1.0, 1.0)


def find_window(box: Sequence[float], size: Sequence[int]) -> Window | None:
    """Find the part to enlarge.

    Args:
        box: (x1, y1, x2, y2) of the segment in pixels.
        size: (H, W).

    Returns:
        a part of whole pixels; None for a segment that is large enough, or a tiny image.
    """
    x1, y1, x2, y2 = box
    height, width = size
    share = max((x2 - x1) / width, (y2 - y1) / height)
    part = max(share / _FILLED, _LEAST_SHARE, _LEAST_PIXELS / min(height, width))
    if share > _SMALL or part > 2 * _SMALL:
        return None
    columns, rows = round(part * width), round(part * height)
    left = min(max(round((x1 + x2 - columns) / 2), 0), width - columns)
    top = min(max(round((y1 + y2 - rows) / 2), 0), height - rows)
    return Window(left / width, top / height, columns / width, rows / height)


def resized(values: np.ndarray, size: tuple[int, int], window: Window = WHOLE,
            nearest: bool = False) -> np.ndarray:
    """Resize an image or map, or a part of it.

    Args:
        values: [H', W'] or [H', W', 3], of the whole image in any size.
        size: (height, width) of the result.
        window: the part.
        nearest: for values that have no mean, such as numbers of segments.

    Returns:
        float32 [height, width] or [height, width, 3].
    """
    rows, columns = values.shape[:2]
    smaller = size[0] < window.height * rows
    method = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    if smaller or window == WHOLE:
        x1, y1, x2, y2 = window.corners((rows, columns))
        return cv2.resize(values[y1:y2, x1:x2].astype(np.float32), size[::-1],
                          interpolation=method)
    # a part of a small map begins and ends within pixels; those around it are needed, too
    x, width = window.x * columns, window.width * columns
    y, height = window.y * rows, window.height * rows
    left, top = max(0, int(x) - 1), max(0, int(y) - 1)
    part = values[top:int(y + height) + 2, left:int(x + width) + 2].astype(np.float32)
    x_step, y_step = width / size[1], height / size[0]
    matrix = np.array(((x_step, 0, x - left + x_step / 2 - 0.5),
                       (0, y_step, y - top + y_step / 2 - 0.5)))
    return cv2.warpAffine(part, matrix, size[::-1], flags=method | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REPLICATE)
