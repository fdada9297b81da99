"""Files of labeling tools: text of any encoding, names of any system, images wherever they lie."""
import base64
import binascii
import codecs
import io
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmpanseg.importers.source_image import SourceError
from mmpanseg.structures.exif_orientation import oriented_size
from mmpanseg.structures.image_file import IMAGE_SUFFIXES, read_header

_MARKS = ((codecs.BOM_UTF8, 'utf-8-sig'), (codecs.BOM_UTF16_LE, 'utf-16'),
          (codecs.BOM_UTF16_BE, 'utf-16'))


def read_text(path: Path) -> str:
    """Read a text file: UTF-8, or UTF-16 with a mark; any line ends, with or without a mark.

    Raises:
        SourceError: the file cannot be read, or has another encoding.
    """
    try:
        data = path.read_bytes()
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), 'utf-8')
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SourceError(f'{path}: byte {error.start} is no {encoding.upper()}; save the file as '
                          'UTF-8') from None
    except OSError as error:
        raise SourceError(f'{path} cannot be read: {error.strerror}') from None


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file without white space around them, and without empty ones."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        SourceError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise SourceError(f'{path} is no JSON: {error.msg} in line {error.lineno}, column '
                          f'{error.colno}; export it again') from None
    except RecursionError:
        raise SourceError(f'{path} is no annotation: its JSON is nested too deeply') from None


def portable(name: str) -> str:
    r"""Return a name of any system with ``/`` between folders, without drive and leading dots.

    ``C:\\a\\b.jpg`` and ``..\\a\\b.jpg`` become ``a/b.jpg``.
    """
    parts = re.sub(r'^[A-Za-z]:', '', name.strip().replace('\\', '/')).split('/')
    return '/'.join(part for part in parts if part not in ('', '.', '..'))


def is_image(path: Path) -> bool:
    """Check whether a file is a visible image by its name; the case of the ending is ignored."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.')


def upright_size(path: Path) -> tuple[int, int]:
    """Return (H, W) of an image after its EXIF orientation.

    Raises:
        SourceError: the file is missing or no image.
    """
    try:
        # the header is in the first bytes, except for TIFF
        header = read_header(path.read_bytes())
    except OSError as error:
        raise SourceError(f'{path} cannot be read: {error.strerror}') from None
    if header is None:
        raise SourceError(f'{path} is no readable image')
    return oriented_size(header.size, header.orientation)


class ImageFinder:
    """Finds images by the names that annotations have for them.

    The folders of a name count as far as they exist: annotations were often written on another
    machine. A name is found in other case, with another form of its accents and, if ``any_suffix``,
    with another ending.

    Args:
        roots: folders; their subfolders belong to them. Those that do not exist are ignored.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = [root for root in dict.fromkeys(root.resolve() for root in roots)
                      if root.is_dir()]
        self._by_name: dict[str, list[tuple[tuple[str, ...], Path]]] = defaultdict(list)
        self._by_stem: dict[str, list[tuple[tuple[str, ...], Path]]] = defaultdict(list)
        for path in sorted({path for root in self.roots for path in root.rglob('*')}):
            if is_image(path) and path.is_file():
                parts = _parts(path.as_posix())
                self._by_name[parts[-1]].append((parts, path))
                self._by_stem[PurePosixPath(parts[-1]).stem].append((parts, path))

    def find(self, name: str, any_suffix: bool = True) -> Path | None:
        """Return the image of a name; None if there is none.

        Raises:
            SourceError: several images fit equally well.
        """
        wanted = _parts(portable(name))
        if not wanted:
            return None
        stem = PurePosixPath(wanted[-1]).stem
        found = self._by_name.get(wanted[-1])
        if not found and any_suffix:
            found = self._by_stem.get(wanted[-1]) or self._by_stem.get(stem)
        if not found:
            return None
        scores = [_common(parts[:-1], wanted[:-1]) for parts, _ in found]
        best = [path for (_, path), score in zip(found, scores) if score == max(scores)]
        exact = [path for path in best if path.name == portable(name).rsplit('/', 1)[-1]] or best
        if len(exact) > 1:
            raise SourceError(f'the image {name} is ambiguous: {exact[0]} and {exact[1]} both fit; '
                              'remove or rename one, or give the folder with --images')
        return exact[0]

    def locate(self, name: str, where: str) -> Path:
        """Return the image of a name.

        Raises:
            SourceError: there is none, or several fit; the text names the annotation.
        """
        try:
            found = self.find(name)
        except SourceError as error:
            raise SourceError(f'{where}: {error}') from error
        if found is None:
            raise SourceError(f'{where}: the image {name} is in none of the folders '
                              f'{", ".join(map(str, self.roots))}; name its folder with --images')
        return found

    def paths(self) -> list[Path]:
        """Return all images in the folders."""
        return [path for items in self._by_name.values() for _, path in items]

    def relative(self, path: Path) -> str:
        """Return the name of a found image relative to the first folder that contains it."""
        for root in self.roots:
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix()
        return path.name


def decode_base64(text: Any, where: str) -> bytes:
    """Decode base64.

    Raises:
        SourceError: it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise SourceError(f'{where} is no base64; export the annotation again') from None


def decode_mask_png(data: bytes, where: str) -> np.ndarray:
    """Decode a mask that is embedded as an image: opaque and not black is inside, bool [H, W].

    Raises:
        SourceError: it is no image.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode in ('RGBA', 'LA', 'PA'):
                return np.asarray(image.getchannel('A')) > 0
            values = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise SourceError(f'{where} is no image; export the annotation again') from None
    return values != 0 if values.ndim == 2 else (values != 0).any(2)


def paste_mask(mask: np.ndarray, left: int, top: int, size: tuple[int, int]) -> np.ndarray:
    """Return a mask of an image from that of a box, bool; what lies outside is cut off.

    Args:
        mask: bool [h, w].
        left: column of its first pixel.
        top: row of its first pixel.
        size: (H, W) of the image.
    """
    full = np.zeros(size, bool)
    rows = slice(max(top, 0), max(min(top + mask.shape[0], size[0]), 0))
    columns = slice(max(left, 0), max(min(left + mask.shape[1], size[1]), 0))
    if rows.start < rows.stop and columns.start < columns.stop:
        full[rows, columns] = mask[rows.start - top:rows.stop - top,
                                   columns.start - left:columns.stop - left]
    return full


class EmbeddedImages:
    """Writes images that are embedded in annotations.

    Args:
        folder: where to; it is created with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def write(self, data: bytes, where: str) -> Path:
        """Write an image; its ending is that of its content.

        Raises:
            SourceError: it is no image.
        """
        try:
            with Image.open(io.BytesIO(data)) as image:
                name = (image.format or '').lower()
        except (UnidentifiedImageError, OSError):
            name = ''
        suffix = '.jpg' if name in ('jpeg', 'mpo') else f'.{name}'
        if suffix not in IMAGE_SUFFIXES:
            raise SourceError(f'{where} is no readable image')
        self.folder.mkdir(parents=True, exist_ok=True)
        self._count += 1
        path = self.folder / f'{self._count:08d}{suffix}'
        path.write_bytes(data)
        return path


def _parts(name: str) -> tuple[str, ...]:
    """Parts of a path in the form in which names are compared."""
    return tuple(part for part in unicodedata.normalize('NFC', name).lower().split('/') if part)


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Count the last folders that two paths have in common."""
    count = 0
    for one, other in zip(reversed(first), reversed(second)):
        if one != other:
            break
        count += 1
    return count
