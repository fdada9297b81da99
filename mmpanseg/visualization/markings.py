"""Marks on panoptic drawings: void, crowds, boxes, outlines of hidden parts."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from mmpanseg.visualization.color import Color, oklch_to_rgb, rgb_to_oklch


@dataclass(frozen=True)
class Marks:
    """What :func:`mmpanseg.visualization.draw_panoptic` marks besides the segments.

    Args:
        void: hatch pixels of no segment.
        boxes: id of a segment -> (x1, y1, x2, y2) in pixels of the image; ``x2`` and ``y2`` are one
            past the last pixel.
        hidden: id of a segment that others cover in part -> outlines of its whole mask, each int
            [n, 2] of (x, y), pixels of the image.
    """

    void: bool = False
    boxes: Mapping[int, Sequence[float]] = field(default_factory=dict)
    hidden: Mapping[int, Sequence[np.ndarray]] = field(default_factory=dict)


def hatch(canvas: np.ndarray, where: np.ndarray, crossed: bool = False) -> None:
    """Draw diagonal lines, in place; with ``crossed`` in both directions.

    Lines in one direction are on a darkened ground, so that they differ from a striped object.

    Args:
        canvas: uint8 RGB [H, W, 3].
        where: pixels to hatch, bool [H, W].
        crossed: draw a grid of thinner lines, on the ground as it is.
    """
    if not where.any():
        return
    height, width = where.shape
    period = max(9.0, (0.018 if crossed else 0.026) * (height * width) ** 0.5)
    thickness = period * (0.10 if crossed else 0.16)
    columns = np.arange(width, dtype=np.float32)
    for top in range(0, height, 256):
        rows = slice(top, min(top + 256, height))
        inside = where[rows]
        if not inside.any():
            continue
        row = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
        ink = _lines(row + columns, period, thickness)
        if crossed:
            ink = np.maximum(ink, _lines(row - columns, period, thickness))
        ground = canvas[rows].astype(np.float32)
        shaded = ground if crossed else 0.65 * ground
        drawn = shaded + (0.7 if crossed else 0.42) * ink[..., None] * (255 - shaded)
        canvas[rows][inside] = drawn[inside].round()


def _lines(diagonal: np.ndarray, period: float, thickness: float) -> np.ndarray:
    """Anti-aliased coverage 0..1 of lines at multiples of ``period``."""
    distance = np.abs((diagonal + period / 2) % period - period / 2) / 2 ** 0.5
    return np.clip(thickness / 2 + 0.5 - distance, 0, 1)


def draw_boxes(canvas: np.ndarray, boxes: Mapping[int, Sequence[float]],
               colors: Mapping[int, Color], scale: tuple[float, float]) -> None:
    """Draw boxes, in place: light lines in the hue of the segment on dark ones.

    Args:
        canvas: uint8 RGB [H, W, 3].
        boxes: see :class:`Marks`.
        colors: id -> RGB color.
        scale: (x, y) from pixels of the image to pixels of the canvas.
    """
    height, width = canvas.shape[:2]
    line = max(1, round(0.0016 * (height * width) ** 0.5))
    # a large box must not cover a small one
    rectangles: list[tuple[tuple[int, int], tuple[int, int], Color]] = []
    order = sorted(boxes, key=lambda i: -(boxes[i][2] - boxes[i][0]) * (boxes[i][3] - boxes[i][1]))
    for segment in order:
        x1, y1, x2, y2 = boxes[segment]
        if x2 <= x1 or y2 <= y1:
            continue
        first = (round(x1 * scale[0]), round(y1 * scale[1]))
        last = (max(first[0], round(x2 * scale[0]) - 1), max(first[1], round(y2 * scale[1]) - 1))
        _, chroma, hue = rgb_to_oklch(colors[segment])
        rectangles.append((first, last, oklch_to_rgb(0.86, min(chroma, 0.13), hue)))
    # a faint dark line beside the light one, which many boxes together do not blacken
    shadow = canvas.copy()
    for first, last, _ in rectangles:
        cv2.rectangle(shadow, first, last, (20, 20, 20), line + 2)
    cv2.addWeighted(shadow, 0.45, canvas, 0.55, 0, dst=canvas)
    for first, last, color in rectangles:
        cv2.rectangle(canvas, first, last, color, line)


def draw_hidden(canvas: np.ndarray, outlines: Mapping[int, Sequence[np.ndarray]],
                colors: Mapping[int, Color], scale: tuple[float, float]) -> None:
    """Draw the outlines of whole masks, in place.

    Args:
        canvas: uint8 RGB [H, W, 3].
        outlines: see :class:`Marks`.
        colors: id -> RGB color.
        scale: see :func:`draw_boxes`.
    """
    height, width = canvas.shape[:2]
    line = max(1, round(0.0016 * (height * width) ** 0.5))
    for segment, parts in outlines.items():
        # centers of pixels
        scaled = [((points + 0.5) * scale - 0.5).round().astype(np.int32) for points in parts]
        _, chroma, hue = rgb_to_oklch(colors[segment])
        light = oklch_to_rgb(0.86, min(chroma, 0.13), hue)
        cv2.polylines(canvas, scaled, True, (20, 20, 20), line + 2, cv2.LINE_AA)
        cv2.polylines(canvas, scaled, True, light, line, cv2.LINE_AA)
