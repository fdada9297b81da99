"""Colors and outlines of segments on a picture; of large pictures a band of rows at a time."""
from collections.abc import Iterator

import cv2
import numpy as np

# pixels that are blended at a time, so that all values in between stay in the processor's cache
_BAND = 1 << 16


def tint(image: np.ndarray, index: np.ndarray, table: np.ndarray, void: np.ndarray,
         alpha: float) -> np.ndarray:
    """Blend the colors of segments with a picture.

    The picture is desaturated, so that hues are those of the classes.

    Args:
        image: uint8 RGB [H, W, 3].
        index: [H, W], row of each pixel in the table.
        table: RGB colors, float32 [N, 3].
        void: bool [N], rows whose pixels keep the picture's colors.
        alpha: opacity of the colors, 0..1.

    Returns:
        uint8 RGB [H, W, 3].
    """
    result = np.empty_like(image)
    share = np.float32(alpha) * table.astype(np.float32)
    any_void = bool(void.any())
    for rows in bands(image.shape):
        part = image[rows]
        gray = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
        # float64: in single precision some halves would be rounded to the other side
        blended = 0.35 * part
        blended += np.float32(0.65) * gray
        blended *= 1 - alpha
        blended += share[index[rows]]
        np.rint(blended, out=blended)
        result[rows] = blended
        if any_void:
            np.copyto(result[rows], part, where=void[index[rows]][..., None])
    return result


def edges(index: np.ndarray) -> np.ndarray:
    """Pixels on both sides of each border between two values of a map, bool [H, W]."""
    edge = np.zeros(index.shape, dtype=bool)
    across, down = index[:, 1:] != index[:, :-1], index[1:] != index[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def line_width_for(shape: tuple[int, int]) -> float:
    """Width in pixels of the outlines in a picture of (height, width)."""
    return max(1.0, 0.0019 * (shape[0] * shape[1]) ** 0.5)


def outline(canvas: np.ndarray, index: np.ndarray, void: np.ndarray, is_thing: np.ndarray,
            width: float, table: np.ndarray | None = None) -> None:
    """Draw, in place, a thin light line with dark edges on the borders between segments.

    Light next to dark is visible on any background. Borders between stuff are fainter, because
    they are long and rough and would distract from the things.

    Args:
        canvas: uint8 RGB [H, W, 3] or RGBA [H, W, 4].
        index: [H, W], row of each pixel in the next three.
        void: bool [N], rows whose pixels are not drawn on.
        is_thing: bool [N].
        width: of the line in pixels.
        table: colors of the line on its two sides, float32 [N, 3] (default: white).
    """
    if width <= 0:
        return
    any_edge = edges(index)
    # number 0 stands for all stuff
    numbers = np.where(is_thing, np.arange(1, len(is_thing) + 1), 0)
    numbers = numbers.astype(np.min_scalar_type(len(is_thing)))
    thing_edge = edges(numbers[index]) if is_thing.any() else np.zeros_like(any_edge)
    any_edge &= ~thing_edge
    for edge, share, dark, light in ((any_edge, 0.75, 0.35, 0.5), (thing_edge, 1.0, 0.6, 0.95)):
        if not edge.any():
            continue
        reach = share * width
        # distance to the border between the pixels; the blur anti-aliases its steps
        distance = cv2.distanceTransform(np.logical_not(edge).view(np.uint8), cv2.DIST_L2, 5)
        distance += 0.5
        np.minimum(distance, 2 * reach + 3, out=distance)
        distance = cv2.GaussianBlur(distance, (0, 0), 0.7)
        for rows in bands(index.shape):
            where = distance[rows] < 1.4 * reach + 1
            where &= ~void[index[rows]]
            if not where.any():
                continue
            near = distance[rows][where]
            blended = canvas[rows][where].astype(np.float32)
            lay(blended, dark * np.clip(1.4 * reach + 1 - near, 0, 1), 10.0)
            if table is None:
                lay(blended, light * np.clip(0.5 * reach + 1 - near, 0, 1), 255.0)
            else:  # a color needs a wider line than white to be seen
                lay(blended, np.clip(0.9 * reach + 1 - near, 0, 1), table[index[rows][where]])
            canvas[rows][where] = np.rint(blended)


def lay(ground: np.ndarray, coverage: np.ndarray, tone: np.ndarray | float) -> None:
    """Lay a color on pixels, in place.

    Args:
        ground: float32 RGB [n, 3], or RGBA [n, 4] with colors that are not multiplied with the
            opacity; 0..255.
        coverage: float32 [n], opacity of the color, 0..1.
        tone: the color, a number for a gray, or RGB [3] or [n, 3]; 0..255.
    """
    coverage = coverage[:, None]
    if ground.shape[1] == 3:
        ground += coverage * (tone - ground)
        return
    below = (1 - coverage) * ground[:, 3:] / 255
    opacity = coverage + below
    colors = coverage * tone + below * ground[:, :3]
    np.divide(colors, opacity, out=ground[:, :3], where=opacity > 0)
    ground[:, 3:] = 255 * opacity


def bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of a picture of (height, width, ...) to work on at a time."""
    height, step = shape[0], max(1, _BAND // max(1, shape[1]))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))

