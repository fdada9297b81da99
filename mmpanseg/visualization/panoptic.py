"""Drawing of panoptic maps, with pure functions on arrays."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmpanseg.structures.map_segments import index_segments
from mmpanseg.visualization.blending import bands
from mmpanseg.visualization.color import Color, instance_shade
from mmpanseg.visualization.label_drawing import LabelPlacer, draw_labels
from mmpanseg.visualization.markings import Marks, draw_boxes, draw_hidden, hatch
from mmpanseg.visualization.palettes import COLORBLIND, PaletteLike, find_palette
from mmpanseg.visualization.styles import TRANSPARENT, paint
from mmpanseg.visualization.text import report_missing, text_ink


@dataclass(frozen=True)
class DrawnSegment:
    """A segment as it is drawn.

    Args:
        id: its value in the map.
        label: its class.
        is_thing: whether the class is a thing.
        score: 0..1, of predictions.
        is_crowd: a group of things that is no instance; it is drawn with a grid.
    """
    id: int
    label: int
    is_thing: bool
    score: float | None = None
    is_crowd: bool = False


def segment_colors(pan_map: np.ndarray, segments: Sequence[DrawnSegment],
                   palette: Sequence[Color], keep_hue: bool = False) -> dict[int, Color]:
    """Compute the color of each segment: the class color, varied by instance for things.

    Instances of a class are numbered from left to right, so that a prediction and a ground truth
    with the same objects get the same colors.

    Args:
        pan_map: integers [H, W].
        segments: segments of the map.
        palette: RGB color of each label.
        keep_hue: instances of a class differ in lightness only.

    Returns:
        id -> color.
    """
    return _colors(*index_segments(pan_map), segments, palette, keep_hue)


def _colors(ids: np.ndarray, index: np.ndarray, segments: Sequence[DrawnSegment],
            palette: Sequence[Color], keep_hue: bool) -> dict[int, Color]:
    """Compute :func:`segment_colors` from the values of a map and the position of each pixel's."""
    colors: dict[int, Color] = {}
    by_class: dict[int, list[tuple[float, int]]] = {}
    centers = _centers(ids, index) if any(segment.is_thing for segment in segments) else {}
    for segment in segments:
        if segment.is_thing:
            by_class.setdefault(segment.label, []).append(
                (centers.get(segment.id, 0.0), segment.id))
        else:
            red, green, blue = palette[segment.label]
            colors[segment.id] = int(red), int(green), int(blue)
    for label, instances in by_class.items():
        for number, (_, segment_id) in enumerate(sorted(instances)):
            colors[segment_id] = instance_shade(palette[label], number, keep_hue)
    return colors


def _centers(ids: np.ndarray, index: np.ndarray) -> dict[int, float]:
    """Mean of the columns that each value of a map occurs in."""
    present = np.zeros((len(ids), index.shape[1]), bool)
    # a value that a column has is at its top or below another one
    present[index[0], np.arange(index.shape[1])] = True
    rows, columns = np.nonzero(index[1:] != index[:-1])
    present[index[rows + 1, columns], columns] = True
    return {int(value): float(np.flatnonzero(row).mean()) for value, row in zip(ids, present)}


def draw_panoptic(image: np.ndarray,
                  pan_map: np.ndarray,
                  segments: Sequence[DrawnSegment],
                  classes: Sequence[str] | None = None,
                  palette: PaletteLike | None = None,
                  alpha: float = 0.55,
                  min_side: int = 800,
                  with_labels: bool = True,
                  with_scores: bool = True,
                  colors: Mapping[int, Color] | None = None,
                  marks: Marks | None = None,
                  style: str = 'overlay',
                  line_width: float | None = None,
                  label_size: float = 1.0,
                  font: str | Path | None = None,
                  base_palette: Sequence[Color] | None = None) -> np.ndarray:
    """Draw a panoptic map: colored segments, outlines between them, class names on them.

    Args:
        image: uint8 RGB [H, W, 3].
        pan_map: integers [H, W]; values without a segment are void and not drawn.
        segments: segments to draw.
        classes: name of each label (default: no names are written).
        palette: color of each label, or a name, a file or a dict, see :func:`find_palette`
            (default: generated). With 'colorblind', instances of a class differ in lightness only.
        alpha: opacity of the colors, 0..1.
        min_side: images with a longer side of fewer pixels are enlarged to it, so that text and
            lines fit.
        with_labels: write class names.
        with_scores: write scores (percent) after the names of things that have one.
        colors: id of a segment -> its RGB color, in place of that of :func:`segment_colors`.
        marks: void, boxes and outlines to draw, too.
        style: ``overlay``, ``mask`` (colors on black, without the image), ``outlines`` (colored
            lines on the image) or ``transparent`` (only the segments, with an alpha channel).
        line_width: of the outlines in pixels, 0 for none (default: grows with the picture).
        label_size: size of the names, relative to the one that suits the picture; 0 for none.
        font: font file to prefer for the names, see
            :func:`mmpanseg.visualization.text.find_runs`.
        base_palette: RGB color of each label, see :func:`find_palette`.

    Returns:
        uint8 RGB [H', W', 3], or RGBA [H', W', 4] for ``transparent``; H' = H and W' = W unless
        enlarged.

    Raises:
        ValueError: the sizes of image and map differ, a label has no class name or color, the
            style is unknown, or a number is out of its range.
        PaletteError: the palette is not usable (a ValueError).
        FontError: the font file is not usable (a ValueError).
    """
    if image.shape[:2] != pan_map.shape:
        raise ValueError(f'the image has {image.shape[:2]} pixels (height, width), '
                         f'the panoptic map {pan_map.shape}: resize one of them')
    num_labels = max((segment.label for segment in segments), default=-1) + 1
    if classes is not None and len(classes) < num_labels:
        raise ValueError(f'classes has {len(classes)} entries, but a segment has the label '
                         f'{num_labels - 1}: give an entry for each label')
    if label_size and not 0.1 <= label_size <= 10:
        raise ValueError(f'label_size is a factor from 0.1 to 10, or 0, not {label_size}')
    if marks is not None and style == TRANSPARENT:
        raise ValueError('marks are drawn on a ground, which the style transparent has not')
    known = find_palette(palette, classes, num_labels, base_palette)
    keep_hue = isinstance(palette, str) and palette == COLORBLIND

    ids, index = index_segments(pan_map)
    by_id = {segment.id: segment for segment in segments}
    void = np.array([int(i) not in by_id for i in ids])
    is_thing = np.array([int(i) in by_id and by_id[int(i)].is_thing for i in ids])
    colors = {**_colors(ids, index, segments, known, keep_hue), **(colors or {})}

    height, width = image.shape[:2]
    factor = max(1.0, min_side / max(height, width))
    if factor > 1:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        index = _enlarge_index(index, len(ids), size)

    table = np.array([colors.get(int(i), (0, 0, 0)) for i in ids], dtype=np.float32)
    canvas = paint(style, image, index, table, void, is_thing, alpha, line_width)
    is_crowd = np.array([int(i) in by_id and by_id[int(i)].is_crowd for i in ids])
    if is_crowd.any():
        hatch(canvas, is_crowd[index], crossed=True)
    boxes = {} if marks is None else marks.boxes
    if marks is not None:
        if marks.void:
            hatch(canvas, void[index])
        scale = (canvas.shape[1] / width, canvas.shape[0] / height)
        draw_hidden(canvas, marks.hidden, colors, scale)
        draw_boxes(canvas, boxes, colors, scale)
    if not with_labels or not label_size or classes is None:
        return canvas

    captions = {s.id: _caption(s, classes, with_scores) for s in segments}
    report_missing(list(captions.values()), font)
    font_size = max(6, round(label_size * font_size_for(index.shape)))
    placer = LabelPlacer(index, font_size, font)
    rank = {int(i): k for k, i in enumerate(ids)}
    areas = np.zeros(len(ids), np.int64)
    for rows in bands(index.shape):
        areas += np.bincount(index[rows].ravel(), minlength=len(ids))
    drawn = [segment for segment in segments if segment.id in rank]
    # large segments first; things before stuff of up to four times their size
    drawn.sort(key=lambda s: -areas[rank[s.id]] * (4 if s.is_thing else 1))
    labels = [placer.place(rank[s.id], captions[s.id], colors[s.id],
                           min_coverage=0.28 if s.is_thing else 0.6)
              for s in drawn]
    # the names of small things are beside their boxes
    factor = canvas.shape[1] / width
    labels += [placer.place_beside([factor * value for value in boxes[s.id]],
                                   captions[s.id], colors[s.id])
               for s, label in zip(drawn, list(labels)) if label is None and s.id in boxes]
    return draw_labels(canvas, [label for label in labels if label is not None], font)


def side_by_side(panels: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Combine pictures to a row on white, each with a caption below.

    Args:
        panels: pairs of caption and uint8 RGB picture; all are resized to the largest height.

    Returns:
        uint8 RGB [H', W', 3].
    """
    height = max(picture.shape[0] for _, picture in panels)
    size = font_size_for(max((p.shape[:2] for _, p in panels), key=lambda s: s[0] * s[1]))
    gutter, strip = max(4, size // 2), round(2.2 * size)
    columns = []
    for caption, picture in panels:
        if picture.shape[0] != height:
            width = round(picture.shape[1] * height / picture.shape[0])
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
        ink = text_ink(caption, size, picture.shape[1], strip)
        foot = np.repeat((255 - 205 * ink[..., None]).astype(np.uint8), 3, axis=2)
        columns += [np.vstack([picture, foot]),
                    np.full((height + strip, gutter, 3), 255, dtype=np.uint8)]
    return np.hstack(columns[:-1])


def font_size_for(shape: tuple[int, int]) -> int:
    """Font size in pixels for a picture of (height, width)."""
    return max(11, round(0.023 * (shape[0] * shape[1]) ** 0.5))


def _caption(segment: DrawnSegment, classes: Sequence[str], with_scores: bool) -> str:
    """The class name without COCO's suffixes for merged classes, and the score in percent."""
    name = str(classes[segment.label])
    for suffix in ('-merged', '-other', '-stuff'):
        name = name.removesuffix(suffix)
    if segment.is_crowd:
        name = f'{name} (crowd)'
    if with_scores and segment.is_thing and segment.score is not None:
        return f'{name} {100 * segment.score:.0f}%'
    return name


def _enlarge_index(index: np.ndarray, num_ids: int, size: tuple[int, int]) -> np.ndarray:
    """Enlarge `index` to (width, height) with smooth borders.

    Each pixel gets the number whose cubically interpolated mask is largest there.
    """
    best = np.full(size[::-1], -1, dtype=np.float32)
    enlarged = np.zeros(size[::-1], dtype=index.dtype)
    for k in range(num_ids):
        strength = cv2.resize((index == k).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        wins = strength > best
        best[wins], enlarged[wins] = strength[wins], k
    return enlarged
