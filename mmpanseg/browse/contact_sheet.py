"""Contact sheets: small pictures of many images on few PNGs."""
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import mmcv
import numpy as np
from PIL import Image, ImageDraw

from mmpanseg.visualization.picture_files import write_picture
from mmpanseg.visualization.text import draw_text, fit_text, wrap_text

PANEL_HEIGHT, _GAP, _TEXT, _STRIP = 240, 10, 15, 26
# least width of an image
_LEAST = 200
# images on a sheet
IMAGES = 48
_GROUND, _INK, _ERROR_INK = (250, 250, 250), (40, 40, 40), (176, 32, 32)


class Cell(NamedTuple):
    """An image on a sheet.

    Attributes:
        title: name of the image.
        pictures: files of its pictures, from left to right.
        error: what is wrong with the image; '' if nothing.
    """

    title: str
    pictures: Sequence[Path]
    error: str = ''


def write_sheets(folder: Path, cells: Sequence[Cell]) -> list[str]:
    """Write ``contact_sheet.png``, or several of them for many images.

    Args:
        folder: where to write.
        cells: the images.

    Returns:
        names of the files.

    Raises:
        FileWriteError: a file cannot be written.
    """
    parts = [cells[start:start + IMAGES] for start in range(0, len(cells), IMAGES)]
    names = ['contact_sheet.png'] if len(parts) == 1 else [
        f'contact_sheet_{number}.png' for number in range(1, len(parts) + 1)]
    for name, part in zip(names, parts):
        write_picture(folder / name, draw_sheet(part))
    return names


def draw_sheet(cells: Sequence[Cell]) -> np.ndarray:
    """Draw a sheet: images in rows, as many in each as fit, about four thirds as wide as high.

    Args:
        cells: its images, at least one.

    Returns:
        uint8 RGB [H, W, 3].
    """
    rows = [[_small(path) for path in cell.pictures] for cell in cells]
    widths = [max(_LEAST, sum(p.shape[1] for p in row) + _GAP // 2 * (len(row) - 1))
              for row in rows]
    height = PANEL_HEIGHT + _STRIP + 2 * _GAP
    wanted = max(max(widths), round((sum(widths) * height * 4 / 3) ** 0.5)) + 2 * _GAP
    corners, x, y = [], _GAP, _GAP
    for width in widths:
        if x + width > wanted and x > _GAP:
            x, y = _GAP, y + height
        corners.append((x, y))
        x += width + 2 * _GAP
    right = max(left + width for (left, _), width in zip(corners, widths))
    sheet = Image.new('RGB', (right + _GAP, y + height), _GROUND)
    ink = ImageDraw.Draw(sheet)
    for cell, row, width, (left, top) in zip(cells, rows, widths, corners):
        x = left
        for picture in row:
            sheet.paste(Image.fromarray(picture), (x, top))
            x += picture.shape[1] + _GAP // 2
        if cell.error and not row:
            _draw_error(ink, cell.error, (left, top), width)
        # the end of a file name tells more than its start
        title = fit_text(cell.title, _TEXT, width, keep_end=True)
        draw_text(ink, (left, top + PANEL_HEIGHT + _STRIP / 2), title,
                  _ERROR_INK if cell.error else _INK, _TEXT)
    return np.asarray(sheet)


def _small(path: Path) -> np.ndarray:
    """Read a picture at the height of a panel, at most three times as wide."""
    picture = mmcv.imread(str(path), channel_order='rgb')
    height, width = picture.shape[:2]
    factor = min(PANEL_HEIGHT / height, 3 * PANEL_HEIGHT / width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _draw_error(ink: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], width: int) -> None:
    x, y = corner
    ink.rectangle((x, y, x + width - 1, y + PANEL_HEIGHT - 1), outline=_ERROR_INK)
    for number, line in enumerate(wrap_text(text, _TEXT, width - 20)[:8]):
        draw_text(ink, (x + 10, y + 19 + 21 * number), line, _ERROR_INK, _TEXT)
