"""Small pictures of masks, attention, clusters and points on an image.

h, w: size of a picture.
"""
import cv2
import numpy as np

from mmpanseg.explain.explanation import LayerView, Look, Points
from mmpanseg.explain.grids import Grid
from mmpanseg.explain.zoom import WHOLE, Window, resized
from mmpanseg.visualization import generate_palette
from mmpanseg.visualization.attention_figures import heat_map, stretch
from mmpanseg.visualization.color import Color

# more attention: from transparent over orange to yellow
_WARM = np.array([(190, 40, 20), (240, 120, 10), (255, 225, 60)], np.float32)
_EDGE, _LIMIT = (255, 255, 255), (120, 220, 255)
_LEVELS: tuple[Color, ...] = ((255, 225, 60), (250, 130, 20), (90, 200, 255), (190, 140, 255))


class Thumbnails:
    """Draws on an image that is shrunk once.

    Args:
        image: uint8 RGB [H, W, 3].
        width: of the pictures.
        color: RGB color of the segment.
        final: mask of the result, float [H', W'] in 0 .. 1, whose outline is drawn.
        window: part of the image that is drawn.
    """

    def __init__(self, image: np.ndarray, width: int, color: Color, final: np.ndarray,
                 window: Window = WHOLE) -> None:
        height = max(8, round(width * image.shape[0] / image.shape[1]))
        self.size, self._window = (height, width), window
        small = self._resize(image)
        gray = small @ np.array((0.3, 0.59, 0.11), np.float32)
        self._gray = np.repeat(gray[..., None], 3, 2)
        self._color = np.array(color, np.float32)
        self._final = self._resize(final) >= 0.5

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Draw mask probabilities [H', W'] in the color of the segment."""
        return self._finish(_blend(0.75 * self._gray + 40, self._color,
                                   0.8 * self._resize(mask)))

    def attention(self, weights: np.ndarray, look: Look) -> np.ndarray:
        """Draw weights [h', w'] on the map of a look, from 0 to their largest value.

        Where the query might not look is dark, with a blue edge.
        """
        grid = Grid(look.stride, look.extent)
        values = grid.spread(weights, self.size, self._window)
        values = values / max(float(grid.cut(weights).max()), 1e-12)
        allowed = None
        if look.allowed is not None:
            spread = grid.spread(look.allowed.astype(np.float32), self.size, self._window)
            allowed = (spread if spread.ndim == 2 else spread.mean(0)) > 0.5
        picture = 0.5 * self._gray + 20
        if allowed is not None and not allowed.all():
            picture = np.where(allowed[..., None], picture, 0.6 * picture)
        picture = _blend(picture, _warm(values), np.sqrt(values).clip(0, 1) * 0.9)
        if allowed is not None and not allowed.all():
            _outline(picture, allowed, _LIMIT)
        return self._finish(picture)

    def cluster(self, layer: LayerView) -> np.ndarray:
        """Draw the clusters of all queries pale, that of the query in the segment's color."""
        assert layer.owners is not None and layer.cluster is not None
        palette = np.asarray(generate_palette(int(layer.owners.max()) + 1), np.float32)
        owners, own = (resized(values, self.size, self._window, nearest=True)
                       for values in (layer.owners, layer.cluster))
        picture = _blend(0.6 * self._gray + 80, 0.5 * palette[owners.astype(int)] + 110, 0.55)
        return self._finish(_blend(picture, self._color, 0.9 * own))

    def points(self, points: Points) -> np.ndarray:
        """Draw sampled points, larger for larger weights, and the reference in white."""
        picture = 0.5 * self._gray + 20
        height, width = self.size
        part = self._window
        corner = np.array((part.x, part.y), np.float32)
        scale = np.array((width / part.width, height / part.height), np.float32)
        for level in range(points.places.shape[1]):
            color = _LEVELS[min(level, len(_LEVELS) - 1)]
            for place, weight in zip(points.places[:, level].reshape(-1, 2),
                                     points.weights[:, level].ravel()):
                share = float(weight) * points.weights[0].size
                radius = max(1, round(1.2 * min(share, 9.0) ** 0.5))
                cv2.circle(picture, _pixel((place - corner) * scale), radius, color, -1,
                               cv2.LINE_AA)
        reference = np.asarray(points.reference, np.float32).reshape(-1, 2)
        middle = (reference[0] - corner) * scale
        if len(reference) > 1:
            half = reference[1] * scale / 2
            low, high = middle - half, middle + half
            cv2.rectangle(picture, _pixel(low), _pixel(high), _EDGE, 1, cv2.LINE_AA)
        cv2.drawMarker(picture, _pixel(middle), _EDGE, cv2.MARKER_CROSS, 9, 1, cv2.LINE_AA)
        return picture.clip(0, 255).astype(np.uint8)

    def logits(self, logits: np.ndarray, extent: tuple[float, float]) -> np.ndarray:
        """Draw attention logits [h', w'], their range from dark to light."""
        return heat_map(Grid(1, extent).spread(stretch(logits), self.size, self._window),
                        self.size[::-1])

    def _finish(self, picture: np.ndarray) -> np.ndarray:
        _outline(picture, self._final, _EDGE)
        return picture.clip(0, 255).astype(np.uint8)

    def _resize(self, values: np.ndarray) -> np.ndarray:
        return resized(values, self.size, self._window)


def highlight(image: np.ndarray, inside: np.ndarray, color: Color,
              size: tuple[int, int], window: Window = WHOLE) -> np.ndarray:
    """Draw an image with one segment in its colors, everything else gray and dark.

    Args:
        image: uint8 RGB [H, W, 3].
        inside: bool [H, W].
        color: RGB color of the edge.
        size: (height, width) of the picture.
        window: part of the image that is drawn.
    """
    small, mask = resized(image, size, window), resized(inside, size, window).clip(0, 1)
    gray = small.mean(2, keepdims=True)
    picture = small * mask[..., None] + (0.15 * small + 0.4 * gray + 45) * (1 - mask[..., None])
    width = max(1, max(size) // 260)
    _outline(picture, mask >= 0.5, color, width)
    return picture.clip(0, 255).astype(np.uint8)


def _blend(picture: np.ndarray, color: np.ndarray, alpha: np.ndarray | float) -> np.ndarray:
    share = alpha[..., None] if isinstance(alpha, np.ndarray) else alpha
    return picture + share * (color - picture)


def _warm(values: np.ndarray) -> np.ndarray:
    """Colors float32 [h, w, 3] of values in 0 .. 1."""
    at = np.linspace(0, 1, len(_WARM))
    return np.stack([np.interp(values, at, channel) for channel in _WARM.T], -1).astype(np.float32)


def _outline(picture: np.ndarray, mask: np.ndarray, color: Color, width: int = 1) -> None:
    """Draw the edge of a mask bool [h, w] on a picture, in place."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP,
                                   cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, color, width, cv2.LINE_AA)


def _pixel(place: np.ndarray) -> tuple[int, int]:
    return round(float(place[0])), round(float(place[1]))


def frame(picture: np.ndarray, window: Window) -> None:
    """Mark a part of an image on a picture uint8 RGB [h, w, 3] of it, in place."""
    x1, y1, x2, y2 = window.corners(picture.shape[:2])
    # of two colors, one of which is visible on any ground
    cv2.rectangle(picture, (x1 - 2, y1 - 2), (x2 + 1, y2 + 1), (0, 0, 0), 1)
    cv2.rectangle(picture, (x1 - 1, y1 - 1), (x2, y2), _EDGE, 1)
