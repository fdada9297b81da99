"""What a picture of segments has below its outlines and names."""
import numpy as np

from mmpanseg.visualization.blending import bands, line_width_for, outline, tint
from mmpanseg.visualization.color import oklch_to_rgb, rgb_to_oklch

OVERLAY, MASK, OUTLINES, TRANSPARENT = STYLES = ('overlay', 'mask', 'outlines', 'transparent')


def paint(style: str, image: np.ndarray, index: np.ndarray, table: np.ndarray, void: np.ndarray,
          is_thing: np.ndarray, alpha: float, line_width: float | None = None) -> np.ndarray:
    """Draw segments and the outlines between them.

    Args:
        style: ``overlay`` (colors on the image), ``mask`` (colors on black), ``outlines`` (colored
            lines on the image) or ``transparent`` (colors without a ground, to be laid on
            anything).
        image: uint8 RGB [H, W, 3].
        index: [H, W], row of each pixel in the next three.
        table: RGB colors, float32 [N, 3].
        void: bool [N], rows that are not drawn.
        is_thing: bool [N].
        alpha: opacity of the colors in ``overlay`` and ``transparent``, 0..1.
        line_width: of the outlines in pixels, 0 for none (default: grows with the picture).

    Returns:
        uint8 RGB [H, W, 3]; RGBA [H, W, 4] for ``transparent``, where colors are not multiplied
        with the opacity.

    Raises:
        ValueError: the style is unknown, or a number is out of its range.
    """
    if style not in STYLES:
        raise ValueError(f'style is one of {", ".join(STYLES)}, not {style!r}')
    if not 0 <= alpha <= 1:
        raise ValueError(f'alpha is an opacity from 0 to 1, not {alpha}')
    if line_width is None:
        line_width = line_width_for((index.shape[0], index.shape[1]))
        if style == OUTLINES:  # as they are all that one sees; but not in small pictures
            line_width = min(1.5 * line_width, 3 * line_width - 2)
    if not 0 <= line_width < np.inf:
        raise ValueError(f'line_width is a number of pixels, at least 0, not {line_width}')
    if style == OVERLAY:
        canvas = tint(image, index, table, void, alpha)
    elif style == OUTLINES:
        canvas = image.copy()
    else:
        opacity = 255 * (alpha if style == TRANSPARENT else 1)
        colors = np.column_stack([table, np.full(len(table), opacity)]).round().astype(np.uint8)
        colors[void] = 0
        canvas = np.empty((*index.shape, 4 if style == TRANSPARENT else 3), np.uint8)
        for rows in bands(index.shape):
            canvas[rows] = colors[index[rows], :canvas.shape[2]]
    if style == OUTLINES:
        outline(canvas, index, void, is_thing, line_width, _bright(table))
    else:
        outline(canvas, index, void, is_thing, line_width)
    return canvas


def _bright(table: np.ndarray) -> np.ndarray:
    """Colors of the same hue that are light enough for a line between dark ones."""
    places = [rgb_to_oklch(color) for color in table]
    return np.array([oklch_to_rgb(max(lightness, 0.74), chroma, hue)
                     for lightness, chroma, hue in places], np.float32).reshape(-1, 3)
