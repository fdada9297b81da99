"""Text, tables and small charts of a sheet, drawn on an image of PIL.

Positions and sizes are in pixels.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from mmpanseg.visualization.color import Color
from mmpanseg.visualization.text import draw_text, fit_text, text_width

GROUND, INK, SOFT, LINE = (252, 252, 250), (29, 35, 39), (96, 107, 114), (222, 225, 226)
PANEL = (241, 243, 242)
# colors of series that color-blind readers can tell apart, of "no object", and of other classes
SERIES: tuple[Color, ...] = ((0, 114, 178), (213, 94, 0), (0, 138, 100), (190, 90, 150))
NOTHING: Color = (140, 146, 150)
OTHER: Color = (172, 196, 206)
TEXT, SMALL = 14, 12


class Series(NamedTuple):
    """A line of a chart.

    Attributes:
        name: in the legend.
        color: RGB.
        values: one for each place on the x axis, in 0 .. 1.
    """

    name: str
    color: Color
    values: Sequence[float]


class Canvas:
    """An RGB picture to draw on.

    Args:
        width: in pixels.
        height: in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new('RGB', (width, height), GROUND)
        self._ink = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, size: int = TEXT, color: Color = INK,
             bold: bool = False, width: float | None = None, anchor: str = 'la') -> None:
        """Write a line of text in any script.

        Args:
            x: position of the anchor.
            y: position of the anchor, by default the upper end of the line.
            text: to write.
            size: of the font.
            color: RGB.
            bold: whether the font is bold.
            width: longer texts are cut; None: not limited.
            anchor: of :func:`~mmpanseg.visualization.text.draw_text`.
        """
        shown = text if width is None else fit_text(text, size, width, bold=bold)
        draw_text(self._ink, (x, y), shown, color, size, anchor, bold=bold)

    def picture(self, x: int, y: int, pixels: np.ndarray) -> None:
        """Insert a picture, uint8 RGB [h, w, 3]."""
        self.image.paste(Image.fromarray(pixels), (x, y))

    def rule(self, x1: float, y1: float, x2: float, y2: float, color: Color = LINE) -> None:
        """Draw a straight line."""
        self._ink.line((x1, y1, x2, y2), fill=color)

    def bar(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """Draw a filled rectangle."""
        if width > 0:
            self._ink.rectangle((x, y, x + width, y + height), fill=color)

    def bars(self, x: int, y: int, width: int,
             rows: Sequence[tuple[str, float, Color]]) -> int:
        """Draw named values in 0 .. 1 as bars, one in each line.

        Args:
            x: left end.
            y: upper end.
            width: of names, bars and numbers together.
            rows: name, value and color of each.

        Returns:
            the lower end.
        """
        name_width, number_width = round(0.36 * width), 44
        length = width - name_width - number_width - 8
        for name, value, color in rows:
            self.text(x, y, name, SMALL, width=name_width - 8)
            self.bar(x + name_width, y + 2, length, 10, PANEL)
            self.bar(x + name_width, y + 2, length * min(1.0, value), 10, color)
            self.text(x + width, y, f'{value:.3f}', SMALL, SOFT, anchor='ra')
            y += 22
        return y

    def table(self, x: int, y: int, widths: Sequence[int], head: Sequence[str],
              rows: Sequence[Sequence[str]]) -> int:
        """Draw a table; texts that are too wide are cut.

        Args:
            x: left end.
            y: upper end.
            widths: of the columns.
            head: titles of the columns.
            rows: cells.

        Returns:
            the lower end.
        """
        for number, row in enumerate((head, *rows)):
            left = x
            for text, width in zip(row, widths):
                self.text(left, y, text, SMALL, INK if number else SOFT, width=width - 10)
                left += width
            y += 21
            self.rule(x, y - 4, x + sum(widths), y - 4)
        return y

    def lines(self, x: int, y: int, width: int, height: int, places: Sequence[str],
              series: Sequence[Series]) -> None:
        """Draw a line chart of values in 0 .. 1, with a legend on the right.

        The axis ends at 1, or at 0.5, 0.2 or 0.1 if all values are smaller.

        Args:
            x: left end.
            y: upper end.
            width: of the chart with its legend.
            height: of the chart.
            places: texts below the x axis.
            series: lines.
        """
        legend, left, foot = min(150, width // 3), 30, 20
        plot_width, plot_height = width - legend - left, height - foot - 6
        step = plot_width / max(1, len(places) - 1)
        largest = max((value for line in series for value in line.values), default=1.0)
        end = next((tick for tick in (0.1, 0.2, 0.5) if largest <= tick), 1.0)
        for tick in (0.0, end / 2, end):
            level = y + 6 + plot_height * (1 - tick / end)
            self.rule(x + left, level, x + left + plot_width, level)
            self.text(x + left - 6, level, f'{tick:g}', SMALL, SOFT, anchor='rm')
        skip = 1 + int(max((text_width(text, SMALL, bold=False) for text in places),
                           default=0) + 6) // max(1, int(step))
        for number, text in enumerate(places):
            if number % skip == 0:
                self.text(x + left + number * step, y + height, text, SMALL, SOFT, anchor='ms')
        # without smoothing, thin lines look rough: drawn at four times the size
        scale = 4
        box = (x + left - 8, y, x + left + plot_width + 8, y + plot_height + 12)
        large = self.image.crop(box).resize(
            ((box[2] - box[0]) * scale, (box[3] - box[1]) * scale), Image.Resampling.BICUBIC)
        ink = ImageDraw.Draw(large)
        for line in reversed(series):
            points = [(scale * (8 + number * step), scale * (6 + plot_height * (1 - value / end)))
                      for number, value in enumerate(line.values)]
            if len(points) > 1:
                ink.line(points, fill=line.color, width=2 * scale, joint='curve')
            for a, b in points:
                ink.ellipse((a - 3 * scale, b - 3 * scale, a + 3 * scale, b + 3 * scale),
                            fill=line.color)
        self.image.paste(large.resize((box[2] - box[0], box[3] - box[1]),
                                      Image.Resampling.LANCZOS), box[:2])
        for number, line in enumerate(series):
            at = y + 8 + 20 * number
            self.bar(x + width - legend + 20, at + 1, 10, 10, line.color)
            self.text(x + width - legend + 36, at, line.name, SMALL, width=legend - 36)

    def pixels(self) -> np.ndarray:
        """Return the picture, uint8 RGB [H, W, 3]."""
        return np.asarray(self.image)
