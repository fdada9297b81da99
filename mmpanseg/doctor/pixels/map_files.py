"""Reading of maps, with the problems of their files and coding. H, W: map size."""
import io

import numpy as np
from PIL import Image

from mmpanseg.doctor.pixels.image_checks import read_file, what_it_is
from mmpanseg.doctor.pixels.image_problems import ImageProblems, some
from mmpanseg.doctor.pixels.png_file import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    RGBA,
    SIGNATURE,
    PngFacts,
    read_png,
)
from mmpanseg.doctor.problem import Severity
from mmpanseg.structures.image_file import any_size, read_header
from mmpanseg.structures.panoptic_png import read_panoptic_png

_LOSSY = ('JPEG', 'MPO', 'WEBP')


def read_ids(path: str, found: ImageProblems) -> np.ndarray | None:
    """Read the ids of a panoptic PNG.

    Args:
        path: path of the PNG.
        found: receives the problems.

    Returns:
        int32 [H, W]; None where training cannot read it.
    """
    data = read_file(path, found, is_map=True)
    if data is None or not _is_png(data, found):
        return None
    png = read_png(data)
    if png.damage:
        found.add_to_map('PAN202', png.damage)
        return None
    if png.bits == 16:
        found.add_to_map('PAN205', f'the PNG is {_kind(png)} of 16 bits')
        return None
    listed = {segment['id'] for segment in found.record.segments}
    if png.color in (GRAY, GRAY_ALPHA):
        values = set(np.unique(_plain(data)).tolist()) - {0}
        hint = '; its values are the ids of the JSON' if values and values <= listed else ''
        found.add_to_map('PAN204', f'the PNG is {_kind(png)} of {png.bits} bits{hint}')
        return None
    try:
        ids = read_panoptic_png(path, found.source.backend_args)
    except Exception as error:  # OpenCV raises errors of its own
        found.add_to_map('PAN202', str(error))
        return None
    if png.color == RGBA:
        found.add_to_map('PAN206', 'the PNG has an alpha channel')
    if png.color == PALETTE and _palette_is_wrong(ids, data, listed, found):
        return None
    return ids


def read_labels(path: str, found: ImageProblems) -> np.ndarray | None:
    """Read the values of a label map.

    Args:
        path: path of the map.
        found: receives the problems.

    Returns:
        integers [H, W]; None where training cannot read it.
    """
    data = read_file(path, found, is_map=True)
    if data is None:
        return None
    header = read_header(data)
    if header is not None and header.format in _LOSSY[:2]:
        found.add_to_map('PAN225', 'the content is JPEG, which changes values')
        return None
    if header is None and not data.startswith(SIGNATURE):
        found.add_to_map('PAN203', f'the content is {what_it_is(data) or "no image"}')
        return None
    damage = read_png(data).damage if data.startswith(SIGNATURE) else ''
    if damage:
        found.add_to_map('PAN202', damage)
        return None
    try:
        values = _plain(data)
    except Exception as error:  # Pillow raises errors of many types
        found.add_to_map('PAN202', f'the map cannot be decoded: {error}')
        return None
    if values.ndim != 2:
        gray = values.shape[2] > 2 and bool((values[..., :3] == values[..., :1]).all())
        found.add_to_map('PAN221', f'the map has {values.shape[2]} channels' + (
            ', of which the first three are equal: write one of them' if gray else ''))
        return None
    if values.dtype.kind == 'f':
        found.add_to_map('PAN224', 'the values are floats')
        return None
    return values.astype(np.uint8) if values.dtype == bool else values


def _is_png(data: bytes, found: ImageProblems) -> bool:
    if data.startswith(SIGNATURE):
        return True
    header = read_header(data)
    if header is not None and header.format in _LOSSY:
        found.add_to_map('PAN225', f'the content is {header.format}, which changes ids')
    else:
        name = header.format if header is not None else what_it_is(data)
        found.add_to_map('PAN203', f'the content is {name or "no image"}')
    return False


def _kind(png: PngFacts) -> str:
    return {GRAY: 'gray', GRAY_ALPHA: 'gray with transparency', RGBA: 'RGBA'}.get(png.color, 'RGB')


def _plain(data: bytes) -> np.ndarray:
    """Decode values as stored: indices of palettes."""
    with any_size(), Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def _palette_is_wrong(ids: np.ndarray, data: bytes, listed: set[int], found: ImageProblems
                      ) -> bool:
    """Report a PNG with a palette; whether its indices are the ids, and its colors are not."""
    colors = set(np.unique(ids).tolist()) - {0}
    indices = set(np.unique(_plain(data)).tolist()) - {0}
    if colors <= listed:
        found.add_to_map('PAN207', 'the colors of the palette are the ids of the JSON',
                         severity=Severity.NOTE)
        return False
    if listed & indices and indices <= listed:
        found.add_to_map(
            'PAN207', f'the indices {some(sorted(indices))} are the ids of the JSON, and its '
            'colors, which training reads, are not', severity=Severity.ERROR)
        return True
    found.add_to_map('PAN207', 'the colors of the palette are read as ids')
    return False
