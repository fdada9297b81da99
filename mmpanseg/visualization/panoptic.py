"""Drawing of panoptic maps, with pure functions on arrays."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mmpanseg.visualization.color import Color, generate_palette, instance_shade
from mmpanseg.visualization.label_drawing import LabelPlacer, draw_labels, text_ink
from mmpanseg.visualization.markings import Marks, draw_boxes, draw_hidden, hatch


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
                   palette: Sequence[Color]) -> dict[int, Color]:
    """Compute the color of each segment: the class color, varied by instance for things.

    Instances of a class are numbered from left to right, so that a prediction and a ground truth
    with the same objects get the same colors.

    Args:
        pan_map: integers [H, W].
        segments: segments of the map.
        palette: RGB color of each label.

    Returns:
        id -> color.
    """
    colors: dict[int, Color] = {}
    by_class: dict[int, list[tuple[float, int]]] = {}
    for segment in segments:
        if segment.is_thing:
            columns = np.flatnonzero((pan_map == segment.id).any(axis=0))
            center = float(columns.mean()) if len(columns) else 0.0
            by_class.setdefault(segment.label, []).append((center, segment.id))
        else:
            red, green, blue = palette[segment.label]
            colors[segment.id] = int(red), int(green), int(blue)
    for label, instances in by_class.items():
        for index, (_, segment_id) in enumerate(sorted(instances)):
            colors[segment_id] = instance_shade(palette[label], index)
    return colors


def draw_panoptic(image: np.ndarray,
                  pan_map: np.ndarray,
                  segments: Sequence[DrawnSegment],
                  classes: Sequence[str] | None = None,
                  palette: Sequence[Color] | None = None,
                  alpha: float = 0.55,
                  min_side: int = 800,
                  with_labels: bool = True,
                  with_scores: bool = True,
                  colors: Mapping[int, Color] | None = None,
                  marks: Marks | None = None) -> np.ndarray:
    """Draw a panoptic overlay: colored segments, outlines between them, class names on them.

    Args:
        image: uint8 RGB [H, W, 3].
        pan_map: integers [H, W]; values without a segment are void and not drawn.
        segments: segments to draw.
        classes: name of each label (default: no names are written).
        palette: RGB color of each label (default: generated).
        alpha: opacity of the colors, 0..1.
        min_side: images with a longer side of fewer pixels are enlarged to it, so that text and
            lines fit.
        with_labels: write class names.
        with_scores: write scores (percent) after the names of things that have one.
        colors: id of a segment -> its RGB color, in place of that of :func:`segment_colors`.
        marks: void, boxes and outlines to draw, too.

    Returns:
        uint8 RGB [H', W', 3]; H' = H and W' = W unless enlarged.

    Raises:
        ValueError: the sizes of image and map differ, or a label has no class name or color.
    """
    if image.shape[:2] != pan_map.shape:
        raise ValueError(f'the image has {image.shape[:2]} pixels (height, width), '
                         f'the panoptic map {pan_map.shape}: resize one of them')
    num_labels = max((segment.label for segment in segments), default=-1) + 1
    if palette is None:
        palette = generate_palette(max(num_labels, len(classes or ())))
    for what, values in (('classes', classes), ('palette', palette)):
        if values is not None and len(values) < num_labels:
            raise ValueError(f'{what} has {len(values)} entries, but a segment has the label '
                             f'{num_labels - 1}: give an entry for each label')

    ids, index = np.unique(pan_map, return_inverse=True)
    index = index.reshape(pan_map.shape).astype(np.int32)
    by_id = {segment.id: segment for segment in segments}
    void = np.array([int(i) not in by_id for i in ids])
    is_thing = np.array([int(i) in by_id and by_id[int(i)].is_thing for i in ids])
    colors = {**segment_colors(pan_map, segments, palette), **(colors or {})}

    height, width = image.shape[:2]
    factor = max(1.0, min_side / max(height, width))
    if factor > 1:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        index = _enlarge_index(index, len(ids), size)

    table = np.array([colors.get(int(i), (0, 0, 0)) for i in ids], dtype=np.float32)
    visible = ~void[index]
    canvas = _tint(image, index, table, visible, alpha)
    _outline(canvas, index, visible, is_thing)
    is_crowd = np.array([int(i) in by_id and by_id[int(i)].is_crowd for i in ids])
    if is_crowd.any():
        hatch(canvas, is_crowd[index], crossed=True)
    boxes = {} if marks is None else marks.boxes
    if marks is not None:
        if marks.void:
            hatch(canvas, ~visible)
        scale = (canvas.shape[1] / width, canvas.shape[0] / height)
        draw_hidden(canvas, marks.hidden, colors, scale)
        draw_boxes(canvas, boxes, colors, scale)
    if not with_labels or classes is None:
        return canvas

    placer = LabelPlacer(index, font_size_for(canvas.shape[:2]))
    rank = {int(i): k for k, i in enumerate(ids)}
    areas = np.bincount(index.ravel(), minlength=len(ids))
    drawn = [segment for segment in segments if segment.id in rank]
    # large segments first; things before stuff of up to four times their size
    drawn.sort(key=lambda s: -areas[rank[s.id]] * (4 if s.is_thing else 1))
    labels = [placer.place(rank[s.id], _caption(s, classes, with_scores), colors[s.id],
                           min_coverage=0.28 if s.is_thing else 0.6)
              for s in drawn]
    # the names of small things are beside their boxes
    factor = canvas.shape[1] / width
    labels += [placer.place_beside([factor * value for value in boxes[s.id]],
                                   _caption(s, classes, with_scores), colors[s.id])
               for s, label in zip(drawn, list(labels)) if label is None and s.id in boxes]
    return draw_labels(canvas, [label for label in labels if label is not None])


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
    enlarged = np.zeros(size[::-1], dtype=np.int32)
    for k in range(num_ids):
        strength = cv2.resize((index == k).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        wins = strength > best
        best[wins], enlarged[wins] = strength[wins], k
    return enlarged


def _bands(height: int) -> list[slice]:
    """Row ranges to blend one at a time, which limits the memory for large pictures."""
    return [slice(top, top + 256) for top in range(0, height, 256)]


def _tint(image: np.ndarray, index: np.ndarray, table: np.ndarray, visible: np.ndarray,
          alpha: float) -> np.ndarray:
    """Blend colors (rows of `table`) with a picture.

    The picture is desaturated, so that hues are those of the classes.
    """
    result = image.copy()
    for rows in _bands(len(image)):
        part = image[rows]
        gray = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
        blended = (1 - alpha) * (0.35 * part + 0.65 * gray) + alpha * table[index[rows]]
        shown = visible[rows]
        result[rows][shown] = blended[shown].round().clip(0, 255)
    return result


def _outline(canvas: np.ndarray, index: np.ndarray, visible: np.ndarray,
             is_thing: np.ndarray) -> None:
    """Draw, in place, a thin light line with dark edges on the borders between segments.

    Light next to dark is visible on any background. Borders between stuff are fainter, because
    they are long and rough and would distract from the things.
    """
    width = max(1.0, 0.0019 * (index.shape[0] * index.shape[1]) ** 0.5)
    thing = is_thing[index]
    thing_edge = _edges(np.where(thing, index, -1))
    any_edge = _edges(index)
    for edge, share, dark, light in ((any_edge & ~thing_edge, 0.75, 0.35, 0.5),
                                     (thing_edge, 1.0, 0.6, 0.95)):
        if not edge.any():
            continue
        reach = share * width
        # distance to the border between the pixels; the blur anti-aliases its steps
        distance = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5) + 0.5
        distance = cv2.GaussianBlur(np.minimum(distance, 2 * reach + 3), (0, 0), 0.7)
        for rows in _bands(len(canvas)):
            near = np.where(visible[rows], distance[rows], np.inf)[..., None]
            blended = canvas[rows].astype(np.float32)
            for half, tone, strength in ((1.4 * reach, 10.0, dark), (0.5 * reach, 255.0, light)):
                blended += strength * np.clip(half + 1 - near, 0, 1) * (tone - blended)
            canvas[rows] = blended.round()


def _edges(index: np.ndarray) -> np.ndarray:
    """Pixels on both sides of each border between two values, bool [H, W]."""
    edge = np.zeros(index.shape, dtype=bool)
    across, down = index[:, 1:] != index[:, :-1], index[1:] != index[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge
