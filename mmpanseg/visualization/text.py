"""Texts of any script: which font draws which part, in which order, how wide they are."""
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, features

from mmpanseg.utils.messages import tell
from mmpanseg.visualization.fonts import (
    FONT_VARIABLE,
    Face,
    characters,
    chosen_faces,
    default_face,
    find_face,
    is_for,
    load_face,
)

# code points without a picture of their own: joiners, directions, variants of the one before
_INVISIBLE = {*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A),
              *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0xFEFF, 0xAD, 0x61C}
_reported: set[str] = set()


class Run(NamedTuple):
    """A part of a text in one font and one direction.

    Attributes:
        text: the part.
        face: its font.
        right_to_left: whether it is read so.
    """

    text: str
    face: Face
    right_to_left: bool = False


def find_runs(text: str, font: str | Path | None = None, bold: bool = True) -> list[Run]:
    """Divide a text into parts, each with a font that has its characters.

    Characters that no font has are said once, with what to do, and are drawn as boxes.

    Args:
        text: any script.
        font: a font file to prefer (default: that of the environment variable MMPANSEG_FONT, else
            DejaVu Sans).
        bold: whether bold fonts are preferred to regular ones.

    Returns:
        the parts from left to right.

    Raises:
        FontError: the file does not exist or is no font.
    """
    runs, missing = _find_runs(_clean(text), tuple(chosen_faces(font, bold)), bold)
    if missing:
        _report(missing)
    if not features.check('raqm') and any(map(_needs_shaping, text)) and '' not in _reported:
        _reported.add('')
        tell('note: Pillow has no Raqm library here: letters of scripts such as Arabic and '
             'Devanagari are not joined. Install a Pillow with Raqm, as its wheels have')
    return list(runs)


def report_missing(texts: Sequence[str], font: str | Path | None = None) -> None:
    """Say in one line which characters of several texts no font has, before they are drawn.

    Args:
        texts: any script.
        font: see :func:`find_runs`.

    Raises:
        FontError: the file does not exist or is no font.
    """
    chosen = tuple(chosen_faces(font))
    _report([letter for text in texts for letter in _find_runs(_clean(text), chosen, True)[1]])


def keep_order(name: str) -> str:
    """Enclose a name that is read from right to left in marks, and return others as they are.

    A text with the marked name is ordered from left to right, also the numbers beside the name.
    """
    return f'\u200e{name}\u200e' if any(map(_is_right_to_left, name)) else name


def _report(letters: Sequence[str]) -> None:
    news = [letter for letter in dict.fromkeys(letters) if letter not in _reported]
    if not news:
        return
    _reported.update(news)
    shown = ' '.join(f'{letter} (U+{ord(letter):04X})' for letter in news[:8])
    more = f' and {len(news) - 8} more characters' if len(news) > 8 else ''
    tell(f'note: no font has {shown}{more}: boxes are drawn instead. Install fonts, e.g. pip '
         "install 'mmpanseg[fonts]' or apt install fonts-noto-cjk, or name a font file in "
         f'{FONT_VARIABLE}')


def text_width(text: str, size: int, font: str | Path | None = None,
               bold: bool = True) -> float:
    """Width of a text in pixels.

    Args:
        text: any script.
        size: of the font in pixels.
        font: see :func:`find_runs`.
        bold: see :func:`find_runs`.
    """
    return sum(_width(run, size) for run in find_runs(text, font, bold))


def fit_text(text: str, size: int, width: float, *, bold: bool = True,
             keep_end: bool = False) -> str:
    """Shorten a text to a width; an ellipsis shows the cut, no letter loses its marks.

    Args:
        text: any script.
        size: of the font in pixels.
        width: in pixels.
        bold: see :func:`find_runs`.
        keep_end: whether the start is cut off, as of a path, in place of the end.

    Returns:
        the text itself if it fits.
    """
    if text_width(text, size, bold=bold) <= width:
        return text
    kept = list(_clusters(_clean(text)))
    shown = ''
    while kept:
        del kept[0 if keep_end else -1]
        rest = ''.join(kept)
        shown = f'…{rest}' if keep_end else f'{rest.rstrip()}…'
        if text_width(shown, size, bold=bold) <= width:
            break
    return shown


def wrap_text(text: str, size: int, width: float, *, bold: bool = True,
              most: int | None = None) -> list[str]:
    """Break a text into lines at spaces, and within words that are longer than a line.

    Args:
        text: any script.
        size: of the font in pixels.
        width: of a line in pixels.
        bold: see :func:`find_runs`.
        most: largest number of lines; the last one is cut (default: not limited).
    """
    lines: list[str] = []
    for word in _clean(text).split():
        joint = ' '
        while word:
            longer = f'{lines[-1]}{joint}{word}' if lines else word
            if lines and (text_width(longer, size, bold=bold) <= width or len(lines) == most):
                lines[-1], word = longer, ''
            else:
                start = _fitting_start(word, size, width, bold)
                lines.append(start)
                word, joint = word[len(start):], ''
    return [fit_text(line, size, width, bold=bold) for line in lines]


def _fitting_start(word: str, size: int, width: float, bold: bool) -> str:
    """The clusters of a word that a line has space for, at least one."""
    start = ''
    for cluster in _clusters(word):
        if start and text_width(start + cluster, size, bold=bold) > width:
            break
        start += cluster
    return start


def text_ink(text: str, font_size: int, width: int, height: int,
             font: str | Path | None = None) -> np.ndarray:
    """Render a text in the center of a box.

    Args:
        text: what to render.
        font_size: in pixels.
        width: of the box in pixels.
        height: of the box in pixels.
        font: see :func:`find_runs`.

    Returns:
        coverage 0..1, float [height, width].
    """
    plate = Image.new('L', (width, height))
    draw_text(ImageDraw.Draw(plate), (width / 2, height / 2), text, 255, font_size, 'm', font)
    return np.asarray(plate, dtype=np.float32) / 255


def draw_text(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str,
              fill: int | tuple[int, int, int], size: int, anchor: str = 'l',
              font: str | Path | None = None, bold: bool = True) -> None:
    """Draw a line of text.

    Args:
        draw: what to draw on.
        place: (x, y) of the anchor in pixels.
        text: any script.
        fill: gray or RGB color.
        size: of the font in pixels.
        anchor: whether x is the left end ('l'), the middle ('m') or the right end ('r') of the
            text; after it, whether y is the top ('a'), the middle ('m', the default) or the
            baseline ('s') of the line. Top and baseline are the same in all scripts.
        font: see :func:`find_runs`.
        bold: see :func:`find_runs`.
    """
    across, down = anchor[0], anchor[1:] or 'm'
    runs = find_runs(text, font, bold)
    ascent, descent = load_face(default_face(bold), size).getmetrics()
    x, y = place[0], place[1] + dict(a=ascent, m=(ascent - descent) / 2, s=0)[down]
    if len(runs) == 1 and not runs[0].right_to_left:
        # the middle of one font is that of its own metrics
        anchor, y = (f'{across}m', place[1]) if down == 'm' else (f'{across}s', y)
        draw.text((x, y), runs[0].text, fill=fill, font=load_face(runs[0].face, size),
                  anchor=anchor)
        return
    x -= dict(l=0.0, m=0.5, r=1.0)[across] * sum(_width(run, size) for run in runs)
    for run in runs:
        shown, direction = _shaped(run)
        draw.text((x, y), shown, fill=fill, font=load_face(run.face, size), anchor='ls',
                  direction=direction)
        x += _width(run, size)


def _width(run: Run, size: int) -> float:
    shown, direction = _shaped(run)
    return load_face(run.face, size).getlength(shown, direction=direction)


def _shaped(run: Run) -> tuple[str, str | None]:
    """Text and direction for Pillow, which orders letters from right to left only with Raqm."""
    if not run.right_to_left:
        return run.text, None
    if features.check('raqm'):
        return run.text, 'rtl'
    return ''.join(reversed(list(_clusters(run.text)))), None


@lru_cache(maxsize=1024)
def _find_runs(text: str, chosen: Sequence[Face],
               bold: bool) -> tuple[tuple[Run, ...], tuple[str, ...]]:
    """Parts of a text from left to right, and the characters that no font has."""
    language = _language(text)
    # of a collection, the font for the language
    chosen = sorted(chosen, key=lambda face: not is_for(face, language))
    first = (*chosen, default_face(bold))
    whole = next((face for face in chosen or first if _has(face, text)), None)
    mirrored = any(map(_is_right_to_left, text))
    if whole is not None and (not mirrored or features.check('raqm')):
        return (Run(text, whole), ), ()  # Raqm orders the parts
    clusters = [cluster for cluster in _clusters(text)
                if any(ord(letter) not in _INVISIBLE for letter in cluster)]
    base = _base_direction(text)
    pieces: list[Run] = []
    missing: list[str] = []
    for cluster, backward in zip(clusters, _directions(clusters, base)):
        face = next((face for face in first if _has(face, cluster)), None)
        if face is None:
            letters = [letter for letter in cluster if ord(letter) not in _INVISIBLE]
            of_letters = (find_face(ord(letter), language, bold) for letter in letters)
            found = [face for face in of_letters if face is not None]
            # the letter may have a font, and a mark on it none
            face = next((face for face in found if _has(face, cluster)),
                        found[0] if found else default_face(bold))
            missing += [letter for letter in letters if not _has(face, letter)]
        if pieces and pieces[-1][1:] == (face, backward):
            pieces[-1] = Run(pieces[-1].text + cluster, face, backward)
        else:
            pieces.append(Run(cluster, face, backward))
    return tuple(_visual_order(pieces, base)), tuple(dict.fromkeys(missing))


def _clean(text: str) -> str:
    """Compose letters with their accents, and put spaces in the place of control characters."""
    return ''.join(' ' if unicodedata.category(letter) == 'Cc' else letter
                   for letter in unicodedata.normalize('NFC', text))


def _clusters(text: str) -> Iterator[str]:
    """Iterate letters with the marks on them."""
    cluster = ''
    for letter in text:
        joined = (unicodedata.category(letter) in ('Mn', 'Me', 'Mc') or ord(letter) in _INVISIBLE
                  or cluster.endswith('\u200d'))
        if cluster and not joined:
            yield cluster
            cluster = ''
        cluster += letter
    if cluster:
        yield cluster


def _has(face: Face, text: str) -> bool:
    """Whether a font has all characters that are drawn."""
    if face == default_face(face.bold) and text.isascii():
        return True
    known = characters(face.path)
    return all(ord(letter) in known or ord(letter) in _INVISIBLE for letter in text)


def _language(text: str) -> str:
    """Language whose forms of the Han characters fit: Japanese, Korean or simplified Chinese."""
    codes = [ord(letter) for letter in text]
    if any(0x3040 <= code < 0x3100 for code in codes):
        return 'JP'
    if any(0x1100 <= code < 0x1200 or 0xAC00 <= code < 0xD7B0 for code in codes):
        return 'KR'
    return 'SC'


def _is_right_to_left(letter: str) -> bool:
    return unicodedata.bidirectional(letter) in ('R', 'AL')


def _base_direction(text: str) -> bool:
    """Whether a text starts at the right: its first letter with a direction decides."""
    kinds = (unicodedata.bidirectional(letter) for letter in text)
    return next((kind != 'L' for kind in kinds if kind in ('L', 'R', 'AL')), False)


def _directions(clusters: Sequence[str], base: bool) -> list[bool]:
    """Whether each cluster is read from right to left.

    Numbers are not. Spaces and signs between clusters of one direction have it, others the base
    direction.
    """
    kinds = [unicodedata.bidirectional(cluster[0]) for cluster in clusters]
    known = [True if kind in ('R', 'AL') else False if kind in ('L', 'EN', 'AN', 'ET') else None
             for kind in kinds]
    before, after = _filled(known, base), _filled(known[::-1], base)[::-1]
    return [one if one == other else base for one, other in zip(before, after)]


def _filled(values: Sequence[bool | None], first: bool) -> list[bool]:
    """Replace None by the value before it."""
    filled = [first]
    for value in values:
        filled.append(filled[-1] if value is None else value)
    return filled[1:]


def _visual_order(runs: list[Run], base: bool) -> list[Run]:
    """Order parts from left to right."""
    # parts of the other direction between parts of the base direction stay in their own order
    groups: list[list[Run]] = []
    for run in runs:
        if groups and groups[-1][0].right_to_left == run.right_to_left:
            groups[-1].append(run)
        else:
            groups.append([run])
    if base:
        groups.reverse()
    return [run for group in groups
            for run in (reversed(group) if group[0].right_to_left else group)]


def _needs_shaping(letter: str) -> bool:
    """Whether the letter's form depends on its neighbors, or its text runs from right to left."""
    return _is_right_to_left(letter) or 0x900 <= ord(letter) < 0x1100
