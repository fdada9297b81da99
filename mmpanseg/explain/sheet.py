"""The sheet of a segment: one picture that shows everything about it."""
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmpanseg.explain.canvas import (
    GROUND,
    INK,
    LINE,
    NOTHING,
    OTHER,
    SERIES,
    SMALL,
    SOFT,
    Canvas,
    Series,
)
from mmpanseg.explain.explanation import Explanation, LayerView, Look, SegmentExplanation
from mmpanseg.explain.measures import NO_OBJECT
from mmpanseg.explain.thumbnails import Thumbnails, frame, highlight
from mmpanseg.explain.words import facts, percent, what_became_of_it
from mmpanseg.explain.zoom import WHOLE, Window, find_window
from mmpanseg.visualization.color import Color
from mmpanseg.visualization.text import wrap_text

WIDTH, MARGIN, _GAP = 1800, 32, 12
_INNER = WIDTH - 2 * MARGIN
# most pictures in a row, and their largest width
_COLUMNS, _LARGEST = 10, 220
_PICTURE = (430, 560)
# two pictures of the size (height, width) of a cell: one below the other, or beside it
_STACKED, _BESIDE = (314, 560), (430, 274)


class Panel(NamedTuple):
    """A small picture with its captions.

    Attributes:
        pixels: uint8 RGB.
        title: first line below it.
        note: second line.
    """

    pixels: np.ndarray
    title: str
    note: str


def draw_sheet(explanation: Explanation, one: SegmentExplanation, image: np.ndarray,
               color: Color) -> np.ndarray:
    """Draw the sheet of a segment.

    Args:
        explanation: of the image.
        one: the segment.
        image: uint8 RGB [H, W, 3].
        color: RGB color of the segment.

    Returns:
        uint8 RGB.
    """
    drawer = _Drawer(explanation, one, image, color)
    blocks = [drawer.head(), drawer.summary(), *drawer.strips()]
    return np.vstack([*blocks, Canvas(WIDTH, 20).pixels()])


def draw_heads(one: SegmentExplanation, image: np.ndarray, color: Color) -> np.ndarray | None:
    """Draw the attention of every head in every layer, a row for each layer and map.

    Args:
        one: the segment.
        image: uint8 RGB [H, W, 3].
        color: RGB color of the segment.

    Returns:
        uint8 RGB; None for a model whose queries have no attention to pixels.
    """
    rows = [(layer, look) for layer in one.layers for look in layer.looks]
    if not rows:
        return None
    title = Canvas(WIDTH, 62)
    title.text(MARGIN, 20, f'Attention of each head: {one.title}, query {one.query}', 20,
               bold=True)
    blocks = [title.pixels()]
    for layer, look in rows:
        blocks.append(_strip(f'{layer.title}, map of stride {look.stride}', '', _head_panels(
            look, _Pictures(one, image, color, max(2, len(look.heads))))))
    return np.vstack(blocks)


class _Pictures:
    """Draws the small pictures of a row; below each its part around a small segment."""

    def __init__(self, one: SegmentExplanation, image: np.ndarray, color: Color,
                 columns: int) -> None:
        columns = max(1, min(columns, _COLUMNS))
        width = min(_LARGEST, (_INNER - (columns - 1) * _GAP) // columns)
        window = find_window(one.segment.box, image.shape[:2])
        self._window = window
        self._thumbs = [Thumbnails(image, width, color, one.final_mask, part)
                        for part in (WHOLE, window) if part is not None]

    def panel(self, draw: Callable[[Thumbnails], np.ndarray], title: str, note: str) -> Panel:
        """Draw one place of the row."""
        pixels, *zoomed = map(draw, self._thumbs)
        if self._window is not None:
            frame(pixels, self._window)
            space = np.full((3, pixels.shape[1], 3), GROUND, np.uint8)
            pixels = np.vstack([pixels, space, *zoomed])
        return Panel(pixels, title, note)


def _head_panels(look: Look, pictures: _Pictures) -> list[Panel]:
    return [pictures.panel(partial(Thumbnails.attention, weights=weights, look=look),
                           f'head {number}', f'{percent(share)} in mask')
            for number, (weights, share) in enumerate(zip(look.heads, look.inside), 1)]


class _Drawer:
    """Draws the blocks of a sheet."""

    def __init__(self, explanation: Explanation, one: SegmentExplanation, image: np.ndarray,
                 color: Color) -> None:
        self._all, self._one, self._image, self._color = explanation, one, image, color

    def head(self) -> np.ndarray:
        """Draw the title."""
        one = self._one
        canvas = Canvas(WIDTH, 92)
        canvas.bar(MARGIN, 28, 8, 44, self._color)
        canvas.text(MARGIN + 20, 24, f'{one.title} · query {one.query}', 26, bold=True,
                    width=_INNER - 20)
        where = Path(self._all.name).name
        canvas.text(MARGIN + 20, 60, f'{where} · {self._all.model} · {facts(one)}', 14, SOFT,
                    width=_INNER - 20)
        return canvas.pixels()

    def summary(self) -> np.ndarray:
        """Draw the picture, the charts of classes and the table of other queries."""
        shown = self._picture()
        left = MARGIN + shown.shape[1] + 36
        space = WIDTH - MARGIN - left
        rows = self._runner_up_rows()
        table_height = 34 + 21 * (1 + max(1, len(rows)))
        canvas = Canvas(WIDTH, max(shown.shape[0], 240 + table_height) + 24)
        canvas.picture(MARGIN, 0, shown)
        half = (space - 40) * 11 // 20
        places, series = self.class_series()
        canvas.text(left, 0, 'Class scores of the query by layer', bold=True)
        if len(places) > 1:
            canvas.lines(left, 26, half, 150, places, series)
        else:
            canvas.text(left, 28, 'Only the result of this decoder has a classifier.', SMALL, SOFT)
        right = left + half + 40
        canvas.text(right, 0, 'Classes of the query at the end', bold=True)
        colors = {line.name: line.color for line in series}
        canvas.bars(right, 28, WIDTH - MARGIN - right, [
            (name, score, colors.get(name, OTHER))
            for name, score in self._one.alternatives])
        y = 190
        for line in wrap_text(what_became_of_it(self._one), 14, space, bold=False,
                              most=2):
            canvas.text(left, y, line)
            y += 20
        y = 240
        canvas.text(left, y, 'Other queries whose masks overlap this segment', bold=True)
        if rows:
            fixed = (70, 60, 190, 60)
            canvas.table(left, y + 26, (*fixed, space - sum(fixed)),
                         ('query', 'IoU', 'class', 'score', 'what became of it'), rows)
        else:
            canvas.text(left, y + 26, 'none', SMALL, SOFT)
        return canvas.pixels()

    def _picture(self) -> np.ndarray:
        """The segment in the image; if it is small, also the part around it."""
        window = find_window(self._one.segment.box, self._image.shape[:2])
        if window is None:
            return self._highlight(_scaled(self._image, _PICTURE))
        size, below = max((_scaled(self._image, _STACKED), True),
                          (_scaled(self._image, _BESIDE), False))
        whole = self._highlight(size)
        frame(whole, window)
        (height, width), gap = size, _GAP
        corner = (0, height + gap) if below else (width + gap, 0)
        canvas = Canvas(corner[0] + width, corner[1] + height + 24)
        canvas.picture(0, 0, whole)
        canvas.picture(*corner, self._highlight(size, window))
        canvas.text(corner[0], corner[1] + height + 6,
                    f'framed part, {window.factor:.1f} times larger', SMALL, SOFT)
        return canvas.pixels()

    def _highlight(self, size: tuple[int, int], window: Window = WHOLE) -> np.ndarray:
        return highlight(self._image, self._one.segment.mask(), self._color, size, window)

    def class_series(self) -> tuple[list[str], list[Series]]:
        """Lines of the chart of classes: those that lead in some layer, and "no object"."""
        layers = [layer for layer in self._one.layers if layer.scores is not None]
        if not layers:
            return [], []
        scores = np.array([layer.scores for layer in layers])
        own = self._one.segment.label
        order = [own, *(label for label in scores[:, :-1].max(0).argsort()[::-1].tolist()
                        if label != own)][:len(SERIES)]
        series = [Series(self._all.result.classes[label], color, scores[:, label].tolist())
                  for label, color in zip(order, SERIES)]
        if scores[:, -1].any():
            series.append(Series(NO_OBJECT, NOTHING, scores[:, -1].tolist()))
        return [_short(layer.title) for layer in layers], series

    def strips(self) -> list[np.ndarray]:
        """Draw the rows of layers."""
        layers = self._one.layers
        found = []
        located = [layer for layer in layers if layer.points is not None]
        if located:
            found.append(self._row(
                'Where the location decoder looked: sampled points',
                'Larger points have more weight; colors are the levels, fine to coarse: yellow, '
                'orange, blue, violet. White: the reference point or box that a layer starts from.',
                located, self._draw_points))
        masked = [layer for layer in layers if layer.mask is not None]
        found.append(self._row(
            'Mask of the query by layer',
            'Color: probability of the mask. White line: the final mask. IoU: with the final mask.',
            masked, self._draw_mask))
        clustered = [layer for layer in layers if layer.cluster is not None]
        if clustered:
            found.append(self._row(
                'k-means assignment before each update',
                'In the color of the segment: pixels of this query\'s cluster, whose sum updates '
                'the query. Pale: clusters of other queries.', clustered, self._draw_cluster))
        looking = [layer for layer in layers if layer.looks]
        if looking:
            found += self._attention(looking)
        final = next((layer for layer in reversed(layers) if layer.logits is not None), None)
        if final is not None and final.logits is not None:
            pictures, extent = self._pictures(len(final.logits)), final.logits_extent
            found.append(_strip(
                f'Attention logits of {final.title}, from which its mask is computed',
                'Mean of the levels, from the smallest (dark) to the largest (light) of each head.',
                [pictures.panel(partial(Thumbnails.logits, logits=values, extent=extent),
                                f'head {number}', '')
                 for number, values in enumerate(final.logits, 1)]))
        return found

    def _attention(self, layers: Sequence[LayerView]) -> list[np.ndarray]:
        limited = any(look.allowed is not None for layer in layers for look in layer.looks)
        number = sum(len(layer.looks) for layer in layers)
        # below the masks of the same layers, if only the initial query has no attention
        masks = [layer for layer in self._one.layers if layer.mask is not None]
        skipped = int(number == len(layers) == len(masks) - 1 and not masks[0].looks)
        pictures = self._pictures(number + skipped)
        panels = []
        for layer in layers:
            for look in layer.looks:
                total = float(look.mean.sum())
                note = f'{percent(float(np.mean(look.inside)))} in mask'
                if len(layer.looks) > 1:
                    note = f'{percent(total)} of attention'
                elif look.queries_share is not None:
                    note = f'{percent(look.queries_share)} on queries'
                elif limited and look.allowed is not None and look.allowed.all():
                    note += ', no limit'
                panels.append(pictures.panel(
                    partial(Thumbnails.attention, weights=look.mean, look=look),
                    f'{layer.title} · 1/{look.stride}', note))
        text = ('Mean of the heads; each picture from 0 (transparent) to its largest weight '
                '(yellow). White line: the final mask.')
        if limited:
            text += ' Blue line: the query might look inside of it only.'
        found = [_strip('Where the query looked in each layer', text, panels, skipped)]
        last = layers[-1]
        look = max(last.looks, key=lambda look: float(look.mean.sum()))
        if len(look.heads) > 1:
            found.append(_strip(
                f'The heads of {last.title}, map of stride {look.stride}', '',
                _head_panels(look, self._pictures(len(look.heads)))))
        return found

    def _row(self, title: str, text: str, layers: Sequence[LayerView],
             draw: Callable[[LayerView, _Pictures], Panel]) -> np.ndarray:
        pictures = self._pictures(len(layers))
        return _strip(title, text, [draw(layer, pictures) for layer in layers])

    def _draw_points(self, layer: LayerView, pictures: _Pictures) -> Panel:
        assert layer.points is not None
        return pictures.panel(partial(Thumbnails.points, points=layer.points), layer.title,
                              f'{percent(layer.points.inside)} in mask')

    def _draw_cluster(self, layer: LayerView, pictures: _Pictures) -> Panel:
        return pictures.panel(partial(Thumbnails.cluster, layer=layer), layer.title,
                              f'IoU {layer.cluster_iou:.2f}')

    def _draw_mask(self, layer: LayerView, pictures: _Pictures) -> Panel:
        assert layer.mask is not None
        return pictures.panel(partial(Thumbnails.mask, mask=layer.mask), layer.title,
                              f'IoU {layer.iou:.2f}')

    def _pictures(self, columns: int) -> _Pictures:
        return _Pictures(self._one, self._image, self._color, columns)

    def _runner_up_rows(self) -> list[tuple[str, ...]]:
        return [(str(one.query), f'{one.iou:.2f}', one.name, f'{one.score:.2f}', one.fate.text)
                for one in self._one.runner_ups]


def _scaled(image: np.ndarray, limit: tuple[int, int]) -> tuple[int, int]:
    """Largest size (height, width) of a picture of an image within a limit."""
    height, width = image.shape[:2]
    scale = min(limit[0] / height, limit[1] / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _strip(title: str, text: str, panels: Sequence[Panel], skipped: int = 0) -> np.ndarray:
    """Draw a heading and rows of small pictures, with some places left free at the beginning."""
    height, width = panels[0].pixels.shape[:2]
    columns = min(_COLUMNS, (_INNER + _GAP) // (width + _GAP))
    rows = -(-(len(panels) + skipped) // columns)
    top = 62 if text else 40
    canvas = Canvas(WIDTH, top + rows * (height + 44))
    canvas.rule(MARGIN, 2, WIDTH - MARGIN, 2, LINE)
    canvas.text(MARGIN, 14, title, bold=True, color=INK)
    canvas.text(MARGIN, 36, text, SMALL, SOFT, width=_INNER)
    for number, panel in enumerate(panels, skipped):
        row, column = divmod(number, columns)
        x, y = MARGIN + column * (width + _GAP), top + row * (height + 44)
        canvas.picture(x, y, panel.pixels)
        canvas.text(x, y + height + 3, panel.title, SMALL, INK, bold=True, width=width)
        canvas.text(x, y + height + 19, panel.note, SMALL, SOFT, width=width)
    return canvas.pixels()


def _short(title: str) -> str:
    """A title of a layer for an axis: 'layer 3' becomes '3', 'mask layer 2' becomes 'm2'."""
    words = title.split()
    if not words[-1].isdecimal():
        return '0' if words[0] == 'initial' else 'end'
    return words[-1] if words[0] == 'layer' else f'{words[0][0]}{words[-1]}'
