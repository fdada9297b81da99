"""Palettes: of data sets, of users, generated, and for people who see fewer colors."""
import difflib
import importlib
import json
import reprlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ImageColor

from mmpanseg.visualization.color import Color, generate_palette, oklch_to_rgb
from mmpanseg.visualization.color_vision import VISIONS, difference, to_lab

ColorLike = str | Sequence[int]
PaletteLike = str | Path | Mapping[str, ColorLike] | Sequence[ColorLike] | np.ndarray
COLORBLIND, GENERATED = 'colorblind', 'generated'
# name of a palette -> module and class with its colors
_DATA_SETS = {'coco': ('coco', 'CocoPanopticDataset'),
              'ade20k': ('ade20k', 'ADE20KPanopticDataset'),
              'cityscapes': ('cityscapes', 'CityscapesPanopticDataset'),
              'mapillary': ('mapillary', 'MapillaryPanopticDataset'),
              'camvid': ('camvid', 'CamVidPanopticDataset')}
PALETTE_NAMES = (COLORBLIND, GENERATED, *_DATA_SETS)


class PaletteError(ValueError):
    """A palette is not usable; the text says which entry of what, and what to give."""


def find_palette(palette: PaletteLike | None, classes: Sequence[str] | None, count: int,
                 base: Sequence[Color] | None = None) -> list[Color]:
    """Choose a color for each label.

    Args:
        palette: :data:`PALETTE_NAMES`: ``'colorblind'``, ``'generated'`` or a data set, whose
            colors the classes of the same names get; or a color for each label; or class name ->
            color; or a .json or .txt file of one of these. A color is (R, G, B), 0-255, or a text
            such as '#ff8800' or 'orange'. By default the base.
        classes: name of each label; None if unknown.
        count: number of labels.
        base: colors of classes without one (default: generated); of the colors of 'colorblind',
            each class gets one that is near.

    Returns:
        RGB color of each label, at least `count`.

    Raises:
        PaletteError: the palette has too few colors, an unknown class, or something that is no
            color; or the file cannot be read.
    """
    generated = max(count, len(classes or ()))
    if palette is None:
        return list(base) if base is not None else generate_palette(generated)
    if isinstance(palette, (str, Path)):
        name = str(palette)
        if name == COLORBLIND:
            return _matched(colorblind_palette(generated), base)
        if name == GENERATED:
            return generate_palette(generated)
        if name in _DATA_SETS:
            return _of_data_set(name, classes, count, base)
        if not Path(name).is_file():
            raise PaletteError(f'palette {name!r} is no file and none of '
                               f'{", ".join(PALETTE_NAMES)}{_near(name, PALETTE_NAMES)}')
        return _choose(_read(Path(name)), classes, count, base, name)
    return _choose(palette, classes, count, base, 'palette')


def parse_color(value: object, where: str = 'color') -> Color:
    """Read a color.

    Args:
        value: (R, G, B), 0-255, or a text that CSS knows: '#f80', '#ff8800', 'orange'.
        where: what has the color, for the message.

    Raises:
        PaletteError: it is no color.
    """
    if isinstance(value, str):
        try:
            return ImageColor.getrgb(value.strip())[:3]
        except ValueError:
            pass
    elif isinstance(value, (Sequence, np.ndarray)) and len(value) == 3:
        numbers = [number for number in value
                   if isinstance(number, (int, np.integer)) and not isinstance(number, bool)]
        if len(numbers) == 3 and all(0 <= number <= 255 for number in numbers):
            return int(numbers[0]), int(numbers[1]), int(numbers[2])
    raise PaletteError(f'{where}: {reprlib.repr(value)} is no color; give three integers from 0 to '
                       "255, or a text such as '#ff8800' or 'orange'")


def _choose(palette: object, classes: Sequence[str] | None, count: int,
            base: Sequence[Color] | None, where: str) -> list[Color]:
    """Colors of a palette that is a list or a mapping."""
    if isinstance(palette, Mapping):
        if classes is None:
            raise PaletteError(f'{where} has colors by class name, but the names of the classes '
                               'are unknown: give a list with a color for each label')
        return _by_name(palette, classes, base, where)
    if not isinstance(palette, (Sequence, np.ndarray)):
        raise PaletteError(f'{where} is a {type(palette).__name__}: give a list of colors, or '
                           'class name -> color')
    colors = [parse_color(value, f'{where}, color {number}')
              for number, value in enumerate(palette)]
    if len(colors) < count:
        raise PaletteError(f'{where} has {len(colors)} entries, but there are {count} labels: give '
                           'an entry for each label, or colors by class name')
    return colors


def _by_name(palette: Mapping, classes: Sequence[str], base: Sequence[Color] | None,
             where: str) -> list[Color]:
    unknown = [name for name in palette if name not in classes]
    if unknown:
        raise PaletteError(f'{where}: {unknown[0]!r} is none of the {len(classes)} classes'
                           f'{_near(str(unknown[0]), classes)}')
    colors = list(base) if base is not None else generate_palette(len(classes))
    for label, name in enumerate(classes):
        if name in palette:
            colors[label] = parse_color(palette[name], f'{where}, {name}')
    return colors


def _of_data_set(name: str, classes: Sequence[str] | None, count: int,
                 base: Sequence[Color] | None) -> list[Color]:
    module, kind = _DATA_SETS[name]
    # data sets import mmdet, which other palettes do not need
    meta = getattr(importlib.import_module(f'mmpanseg.datasets.{module}'), kind).METAINFO
    if classes is None:
        return _choose(meta['palette'], None, count, base, f'palette {name}')
    known = dict(zip(meta['classes'], meta['palette']))
    shared = {label: known[label] for label in classes if label in known}
    if not shared:
        raise PaletteError(f'palette {name!r}: the data set has none of the classes '
                           f'{", ".join(map(str, classes[:5]))}, ...; choose another one of '
                           f'{", ".join(PALETTE_NAMES)}')
    return _by_name(shared, classes, base, f'palette {name}')


def _read(path: Path) -> object:
    """Read a palette from a file."""
    try:
        text = path.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise PaletteError(f'{path} cannot be read as text: {error}') from error
    if path.suffix.lower() != '.json':
        return _read_lines(text, path)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise PaletteError(f'{path} is no JSON: {error}') from error
    # a list of categories, as in COCO's files
    if isinstance(content, list) and content and isinstance(content[0], dict):
        try:
            return {entry['name']: entry['color'] for entry in content}
        except (KeyError, TypeError) as error:
            raise PaletteError(f'{path}: each category must have "name" and "color"') from error
    if not isinstance(content, (list, dict)):
        raise PaletteError(f'{path} must have a list of colors, or an object of class name: color')
    return content


def _read_lines(text: str, path: Path) -> object:
    """Read lines of a color, as R G B or a word, and perhaps the name of its class."""
    colors: list[tuple[object, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.replace(',', ' ').split()
        if not words:
            continue
        parts = 3 if words[0].isdigit() else 1
        value: object = words[0] if parts == 1 else [
            int(word) if word.isdigit() else word for word in words[:3]]
        colors.append((parse_color(value, f'{path}, line {number}'), ' '.join(words[parts:])))
    names = [name for _, name in colors if name]
    if names and len(names) < len(colors):
        raise PaletteError(f'{path}: some lines have a class name and some have none; write "R G B '
                           'name" or "R G B" in all of them')
    return dict((name, color) for color, name in colors) if names else [one for one, _ in colors]


def _matched(colors: list[Color], base: Sequence[Color] | None) -> list[Color]:
    """Order colors so that they are near those of another palette, such as blue for the sky."""
    if base is None or len(base) != len(colors):
        return colors
    from scipy.optimize import linear_sum_assignment  # slow to import

    gaps = np.linalg.norm(to_lab(base)[:, None] - to_lab(colors), axis=-1)
    return [colors[k] for k in linear_sum_assignment(gaps)[1]]


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, [str(one) for one in known], 3)
    return f'; did you mean {" or ".join(near)}?' if near else ''


@lru_cache
def _candidates() -> tuple[list[Color], dict[str, np.ndarray]]:
    """Colors of many lightnesses, and their CIELAB coordinates [N, 3] with each vision.

    Grays are left out: overlays make the picture gray.
    """
    colors = sorted({oklch_to_rgb(lightness, chroma, hue / 24)
                     for lightness in np.linspace(0.30, 0.95, 14)
                     for chroma in (0.06, 0.10, 0.15, 0.20, 0.26) for hue in range(24)})
    return colors, {vision: to_lab(colors, vision) for vision in VISIONS}


@lru_cache(maxsize=8)
def _colorblind(count: int) -> tuple[Color, ...]:
    colors, places = _candidates()
    chosen = [colors.index(min(colors, key=lambda c: sum(
        (a - b) ** 2 for a, b in zip(c, (0, 114, 178)))))]
    gap = np.full(len(colors), np.inf)
    while len(chosen) < count:
        for lab in places.values():
            gap = np.minimum(gap, difference(lab, lab[chosen[-1]]))
        chosen.append(int(gap.argmax()))
    return tuple(colors[k] for k in chosen[:count])


def colorblind_palette(num_classes: int) -> list[Color]:
    """Generate colors that differ with normal vision and without any one type of cones.

    Each color is the candidate with the largest distance from the colors before it, where the
    distance is the least one of the four visions. The first colors do not depend on the number of
    classes.

    Args:
        num_classes: number of colors.
    """
    return list(_colorblind(num_classes))
