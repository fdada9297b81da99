"""Drawing of error maps: where and how a prediction differs from the ground truth."""
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from mmpanseg.structures.error_kinds import PIXEL_COLORS, PIXEL_TITLES, PixelKind
from mmpanseg.structures.segment_grids import resize_nearest
from mmpanseg.visualization.panoptic import draw_panoptic, font_size_for, side_by_side
from mmpanseg.visualization.text import text_ink, text_width

# what is right is gray, so that errors are what one sees; boundaries are narrow, so more opaque
_OPACITY = {PixelKind.RIGHT: 0.0, PixelKind.BOUNDARY: 0.7, PixelKind.VOID: 0.45}
_ERROR_OPACITY = 0.62
# a texture in addition to the color: (x, y) of the normals of its lines
_LINES = {PixelKind.WRONG_CLASS: ((1, 1), (1, -1)), PixelKind.MISSED: ((1, 1), ),
          PixelKind.INVENTED: ((1, -1), ), PixelKind.MERGED: ((0, 1), ),
          PixelKind.SPLIT: ((1, 0), ), PixelKind.VOID: ((0, 1), (1, 0))}
_DARK, _LIGHT = (24, 29, 32), (255, 255, 255)


def draw_error_map(image: np.ndarray, errors: np.ndarray, gt_map: np.ndarray | None = None,
                   legend: bool = False, min_side: int = 0) -> np.ndarray:
    """Draw an error map on the gray image.

    Each kind has a color, and all but the boundary have lines, too: missed rises to the right,
    invented falls, wrong class does both, merged is horizontal, split is vertical; what is not
    scored has light dots, and what is right has neither color nor lines.

    Args:
        image: uint8 RGB [H, W, 3].
        errors: uint8 [H, W] of :class:`PixelKind`, see
            :func:`mmpanseg.evaluation.segment_errors.error_map`.
        gt_map: integers [H, W], ids of the ground truth; if given, the borders between its segments
            are drawn as thin lines.
        legend: add a strip below with the kinds that occur and their share of the image.
        min_side: images with a longer side of fewer pixels are enlarged to it.

    Returns:
        uint8 RGB [H', W', 3]; H' = H and W' = W unless enlarged or with a legend.

    Raises:
        ValueError: the sizes differ.
    """
    for what, grid in (('error map', errors), ('ground truth', gt_map)):
        if grid is not None and grid.shape != image.shape[:2]:
            raise ValueError(f'the image has {image.shape[:2]} pixels (height, width), '
                             f'the {what} {grid.shape}: resize one of them')
    counts = np.bincount(errors.ravel(), minlength=len(PixelKind))
    factor = min_side / max(image.shape[:2])
    if factor > 1:
        height, width = (round(side * factor) for side in errors.shape)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
        errors = resize_nearest(errors, (height, width))
        gt_map = None if gt_map is None else resize_nearest(gt_map, (height, width))
    canvas = _paint(image, errors)
    if gt_map is not None:
        _draw_borders(canvas, gt_map)
    if not legend:
        return canvas
    return _with_legend(canvas, counts, font_size_for((canvas.shape[0], canvas.shape[1])))


def draw_comparison(image: np.ndarray, predicted: np.ndarray, true: np.ndarray, errors: np.ndarray,
                    gt_map: np.ndarray | None = None, min_side: int = 0) -> np.ndarray:
    """Combine image, prediction, ground truth and error map, with the legend of the error map.

    Four panels are in a row, those of wide images in two rows, which fit on a screen.

    Args:
        image: uint8 RGB [H, W, 3].
        predicted: picture of the prediction, drawn with the same ``min_side``.
        true: picture of the ground truth, drawn with the same ``min_side``.
        errors: see :func:`draw_error_map`.
        gt_map: see :func:`draw_error_map`.
        min_side: see :func:`draw_error_map`.

    Returns:
        uint8 RGB [H', W', 3].

    Raises:
        ValueError: the sizes differ.
    """
    plain = draw_panoptic(image, np.zeros(image.shape[:2], np.uint8), [], min_side=min_side)
    panels = [('image', plain), ('prediction', predicted), ('ground truth', true),
              ('errors', draw_error_map(image, errors, gt_map, min_side=min_side))]
    rows = [panels[:2], panels[2:]] if plain.shape[1] > plain.shape[0] else [panels]
    return _with_legend(np.vstack([side_by_side(row) for row in rows]),
                        np.bincount(errors.ravel(), minlength=len(PixelKind)),
                        font_size_for((plain.shape[0], plain.shape[1])))


def _with_legend(picture: np.ndarray, counts: np.ndarray, font_size: int) -> np.ndarray:
    """Add a strip below with the kinds that occur and their shares; counts are of pixels [8]."""
    shares = {kind: counts[kind] / counts.sum() for kind in PixelKind if counts[kind]}
    return np.vstack([picture, draw_legend(list(shares), picture.shape[1], font_size, shares)])


def draw_legend(kinds: Sequence[PixelKind], width: int, font_size: int,
                shares: Mapping[PixelKind, float] | None = None, dark: bool = False) -> np.ndarray:
    """Draw a strip with a sample and the title of each kind, in as many rows as needed.

    Args:
        kinds: what to show.
        width: of the strip in pixels.
        font_size: in pixels.
        shares: part of the image of each kind, 0..1, written as percent.
        dark: light text on dark in place of dark on light.

    Returns:
        uint8 RGB [h, width, 3].
    """
    ground, ink = (_DARK, _LIGHT) if dark else (_LIGHT, _DARK)
    line, gap = round(1.9 * font_size), round(0.5 * font_size)
    sample = round(1.6 * font_size)
    places, left, top = [], gap, 0
    for kind in kinds:
        text = PIXEL_TITLES[kind]
        if shares is not None:
            text += f' {_percent(shares[kind])}'
        length = round(text_width(text, font_size)) + 2
        if left > gap and left + sample + gap + length > width - gap:
            left, top = gap, top + line
        places.append((kind, text, left, top, length))
        left += sample + gap + length + 2 * gap
    strip = np.full((top + line, width, 3), ground, np.uint8)
    for kind, text, left, top, length in places:
        height = round(1.1 * font_size)
        first = top + (line - height) // 2
        kinds_there = np.full((height, sample), kind, np.uint8)
        patch = strip[first:first + height, left:left + sample]
        patch[:] = _paint(np.full((height, sample, 3), 150, np.uint8), kinds_there,
                          font_size)[:, :patch.shape[1]]
        place = strip[top:top + line, left + sample + gap:left + sample + gap + length]
        strength = text_ink(text, font_size, length, line)[:, :place.shape[1], None]
        place[:] = (place + strength * (np.array(ink, np.float32) - place)).round()
    return strip


def _percent(share: float) -> str:
    """Percent, with as many decimals as it needs; never 0% of what occurs, nor 100% of a part."""
    percent = 100 * share
    if 9.95 <= percent < 99.5 or share == 1:
        return f'{percent:.0f}%'
    if percent >= 99.95:
        return '>99.9%'
    return f'{percent:.1f}%' if percent >= 0.05 else '<0.1%'


def _paint(image: np.ndarray, errors: np.ndarray, font_size: int | None = None) -> np.ndarray:
    """Draw colors and lines of the kinds on the gray image, some rows at a time."""
    height, width = errors.shape
    if font_size is None:
        font_size = font_size_for((height, width))
    opacity = np.array([_OPACITY.get(kind, _ERROR_OPACITY) for kind in PixelKind], np.float32)
    colors = np.array([PIXEL_COLORS[kind] for kind in PixelKind], np.float32)
    # blended = ground * fading + added
    fading = 1 - opacity
    added = opacity[:, None] * colors
    period = max(5.0, 0.55 * font_size)
    canvas = np.empty_like(image)
    columns = np.arange(width, dtype=np.float32)
    for top in range(0, height, 256):
        kinds = errors[top:top + 256]
        gray = cv2.cvtColor(image[top:top + 256], cv2.COLOR_RGB2GRAY)
        # less contrast: neither a black nor a white ground hides a color
        ground = 40 + 0.75 * gray.astype(np.float32)
        blended = (ground * fading[kinds])[..., None] + added[kinds]
        rows = np.arange(top, top + len(kinds), dtype=np.float32)[:, None]
        for kind, normals in _LINES.items():
            inside = kinds == kind
            if inside.any():
                lines = [_lines(x * columns + y * rows, float(np.hypot(x, y)), period)
                         for x, y in normals]
                ink = np.broadcast_to(np.minimum(*lines) if kind == PixelKind.VOID
                                      else np.maximum.reduce(lines), kinds.shape)
                tone = 255 if kind == PixelKind.VOID else 0
                blended += 0.45 * (ink * inside)[..., None] * (tone - blended)
        canvas[top:top + 256] = blended.round().clip(0, 255)
    return canvas


def _lines(place: np.ndarray, length: float, period: float) -> np.ndarray:
    """Coverage 0..1 of lines at multiples of ``period``, at ``place`` along a normal."""
    distance = np.abs((place / length + period / 2) % period - period / 2)
    return np.clip(0.11 * period + 0.5 - distance, 0, 1)


def _draw_borders(canvas: np.ndarray, gt_map: np.ndarray) -> None:
    """Draw the borders between the segments of a map, in place: light lines of one pixel."""
    edge = np.zeros(gt_map.shape, bool)
    edge[:, 1:] |= gt_map[:, 1:] != gt_map[:, :-1]
    edge[1:] |= gt_map[1:] != gt_map[:-1]
    canvas[edge] = (0.35 * canvas[edge] + 0.65 * 255).round()
