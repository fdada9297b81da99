"""Font files that have the characters of a text.

Characters are searched for in the font that the user chose, in DejaVu Sans, which matplotlib
includes on every system, in the fonts of the system, and in those of the extra ``fonts``.
"""
import importlib.util
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import ImageFont

FONT_VARIABLE = 'MMPANSEG_FONT'
# packages of the extra "fonts": Noto Sans of many scripts; Chinese, Japanese and Korean
_PACKAGES = ('manimgx_fonts', 'manimgx_fonts_cjk')
_ENDINGS = ('.ttf', '.otf', '.ttc', '.otc')
# words in file names of fonts that are less legible at small sizes
_UNLIKELY = ('serif', 'mono', 'italic', 'oblique', 'condensed', 'light', 'thin', 'display', 'black')


class FontError(ValueError):
    """A font file that the user chose cannot be used."""


class Face(NamedTuple):
    """A font in a file.

    Attributes:
        path: of the file.
        number: of the font in a collection, from 0.
        bold: weight of a variable font; other fonts have the weight of their file.
    """

    path: str
    number: int = 0
    bold: bool = True


@lru_cache(maxsize=128)
def load_face(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """Load a font at `size` pixels; of a variable font its bold or regular style.

    Args:
        face: an outline font.
        size: in pixels.
    """
    font = ImageFont.truetype(face.path, size, index=face.number)
    try:
        axes = font.get_variation_axes()
    except (OSError, NotImplementedError):  # the font has one style
        return font
    weight = 700 if face.bold else 400
    font.set_variation_by_axes([
        min(weight, axis['maximum'] or weight) if axis['name'] in (b'Weight', 'Weight')
        else axis['default'] or 0 for axis in axes])
    return font


@lru_cache
def default_face(bold: bool = True) -> Face:
    """Return DejaVu Sans Bold, or DejaVu Sans."""
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return Face(str(_data_folder() / 'fonts' / 'ttf' / name), bold=bold)


def _data_folder() -> Path:
    """Folder of matplotlib's files; most installations need no import of matplotlib for it."""
    spec = importlib.util.find_spec('matplotlib')
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).with_name('mpl-data')
        if folder.is_dir():
            return folder
    import matplotlib

    return Path(matplotlib.get_data_path())


@lru_cache
def characters(path: str) -> frozenset[int]:
    """Read the code points that a font file has outlines for; those of a collection share them.

    Args:
        path: of the file.

    Returns:
        code points; none if the file cannot be read, or has only bitmaps of one size.
    """
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def chosen_faces(font: str | Path | None, bold: bool = True) -> list[Face]:
    """Return the fonts of a file that the user chose.

    Args:
        font: the file (default: that of the environment variable MMPANSEG_FONT).
        bold: weight, if the font is variable.

    Returns:
        its fonts, several for a collection; none without a choice.

    Raises:
        FontError: the file does not exist or is no font.
    """
    name = str(font) if font else os.environ.get(FONT_VARIABLE, '')
    faces = _faces_of_choice(name, '' if font else f'{FONT_VARIABLE}: ') if name else ()
    return [face._replace(bold=bold) for face in faces]


@lru_cache
def _faces_of_choice(name: str, prefix: str) -> tuple[Face, ...]:
    if not Path(name).is_file():
        raise FontError(f'{prefix}the font file {name} does not exist: name a .ttf, .otf or .ttc '
                        'file')
    faces = _faces(name) if characters(name) else ()
    if not faces:
        raise FontError(f'{prefix}{name} is no font that can be drawn: name a .ttf, .otf or .ttc '
                        'file with outlines')
    return faces


@lru_cache
def _faces(path: str) -> tuple[Face, ...]:
    """List the fonts in a file, several for a collection; none if Pillow cannot read it."""
    faces: list[Face] = []
    try:
        # the number after the last font is an error, too
        while len(faces) < 32:
            face = Face(path, len(faces))
            load_face(face, 16).getbbox('a')
            faces.append(face)
    except OSError:
        pass
    return tuple(faces)


@lru_cache
def system_files(bold: bool = True) -> tuple[str, ...]:
    """List the font files of the system and of the extra, those that suit labels best first.

    Args:
        bold: whether bold fonts are before regular ones of the same kind, or after them.
    """
    from matplotlib.font_manager import findSystemFonts

    files = [path for path in findSystemFonts() if path.lower().endswith(_ENDINGS)]
    return tuple(sorted(files, key=lambda path: _rank(path, bold))) + tuple(
        str(path) for name in _PACKAGES for path in package_files(name))


def package_files(name: str) -> list[Path]:
    """List the font files of an installed package; none if it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return []
    return sorted(path for path in Path(spec.origin).parent.iterdir()
                  if path.suffix.lower() in _ENDINGS and 'italic' not in path.name.lower())


def _rank(path: str, bold: bool) -> tuple:
    """Sort key: upright fonts without serifs first, of these the bold ones or the others."""
    name = Path(path).name.lower()
    return (sum(word in name for word in _UNLIKELY), 'sans' not in name, ('bold' in name) != bold,
            name)


@lru_cache(maxsize=4096)
def find_face(code: int, language: str, bold: bool = True) -> Face | None:
    """Find a font of the system, or of the extra, that has a character.

    Args:
        code: code point.
        language: 'JP', 'KR' or 'SC': the font to prefer in a collection for these languages.
        bold: the weight to prefer.

    Returns:
        the first font that has it; None if there is none.
    """
    for path in system_files(bold):
        faces = _faces(path) if code in characters(path) else ()
        if faces:
            best = next((face for face in faces if is_for(face, language)), faces[0])
            return best._replace(bold=bold)
    return None


def is_for(face: Face, language: str) -> bool:
    """Whether the name of a font ends with a language: 'JP', 'KR' or 'SC'."""
    return (load_face(face, 16).getname()[0] or '').split()[-1:] == [language]
