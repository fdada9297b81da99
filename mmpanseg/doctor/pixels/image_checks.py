"""Checks of an image file. Shapes: H, W image size."""
import hashlib
import io
import os.path as osp
from typing import NamedTuple

import cv2
import numpy as np
from mmengine import fileio
from PIL import Image

from mmpanseg.doctor.pixels.image_problems import ImageProblems, size_text
from mmpanseg.doctor.pixels.perceptual_hash import SIDE, perceptual_hash
from mmpanseg.doctor.pixels.png_file import SIGNATURE, read_png
from mmpanseg.doctor.problem import Severity
from mmpanseg.structures.exif_orientation import (
    apply_orientation,
    inverse_orientation,
    oriented_size,
)
from mmpanseg.structures.image_channels import CHANNELS, decode_channels
from mmpanseg.structures.image_file import (
    ARRAY_SUFFIXES,
    ImageError,
    ImageHeader,
    any_size,
    check_pixel_count,
    decode_image,
    read_header,
)

# names of Pillow; endings of files
_ENDINGS = {
    'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif', '.mpo'), 'PNG': ('.png', ),
    'BMP': ('.bmp', '.dib'), 'WEBP': ('.webp', ), 'TIFF': ('.tif', '.tiff'),
    'PPM': ('.ppm', '.pgm', '.pbm', '.pnm', '.pfm'), 'JPEG2000': ('.jp2', '.j2k'),
    'AVIF': ('.avif', ), 'GIF': ('.gif', )}
_FORMATS = {ending: name for name, endings in _ENDINGS.items() for ending in endings}
_SIGNATURES = {b'\xff\xd8\xff': 'JPEG', SIGNATURE: 'PNG', b'GIF8': 'GIF', b'II*\0': 'TIFF',
               b'MM\0*': 'TIFF', b'\0\0\0\x0cjP': 'JPEG2000'}
# of files that downloads leave instead of an image
_OTHERS = {b'<!doctype': 'a web page', b'<html': 'a web page', b'<?xml': 'XML', b'<svg': 'SVG',
           b'%pdf': 'PDF', b'version https://git-lfs': 'a pointer of Git LFS', b'{': 'JSON',
           b'pk\3\4': 'an archive', b'\x93numpy': 'an array of numpy'}
_RGB = (.299, .587, .114)
_MODES = {'CMYK': 'CMYK', 'YCCK': 'CMYK', 'LAB': 'Lab', 'HSV': 'HSV'}


class ImageFacts(NamedTuple):
    """Facts of an image file that can be read.

    Attributes:
        stored: (H, W) of the pixels in the file.
        orientation: EXIF orientation by which training turns the image, 1 .. 8.
        exif: EXIF orientation of the file, 1 .. 8.
        channels: number of channels of the file.
        depth: bits of a sample.
        perceptual_hash: see :func:`.perceptual_hash.perceptual_hash`.
    """

    stored: tuple[int, int]
    orientation: int
    exif: int
    channels: int
    depth: int
    perceptual_hash: int | None

    @property
    def upright(self) -> tuple[int, int]:
        """(H, W) of the image that the network receives."""
        return oriented_size(self.stored, self.orientation)


class _Pixels(NamedTuple):
    """Content of an image.

    Attributes:
        gray: reduced to [SIDE, SIDE], as stored, 0 .. 255.
        channels: number of channels.
        flat: all pixels are equal.
        size: (H, W) as stored.
        depth: bits of a sample; 0 for those of the header.
        transparent: some pixels are transparent.
        mode: color space; '' for gray and RGB.
    """

    gray: np.ndarray
    channels: int
    flat: bool
    size: tuple[int, int]
    depth: int = 0
    transparent: bool = False
    mode: str = ''


def read_file(path: str, found: ImageProblems, is_map: bool) -> bytes | None:
    """Read an image or map; None, with a problem, if it is missing, empty or cannot be opened."""
    add, checks = (found.add_to_map, ('PAN032', 'PAN219', 'PAN201')) if is_map else (
        found.add, ('PAN031', 'PAN116', 'PAN101'))
    try:
        data = fileio.get(path, backend_args=found.source.backend_args)
    except FileNotFoundError:
        add(checks[0], f'{path} does not exist')
        return None
    except Exception as error:  # storage backends raise errors of many types
        add(checks[1], f'{path} cannot be opened: {error}')
        return None
    if not data:
        add(checks[2], f'{path} has no content')
        return None
    return bytes(data)


def digest_of(data: bytes) -> str:
    """Digest of the bytes of a file, to find equal files."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def what_it_is(data: bytes) -> str:
    """Describe the content of a file that is no image; '' if it is unknown."""
    begin = data[:64].lstrip().lower()
    return next((name for start, name in _OTHERS.items() if begin.startswith(start)), '')


def check_image(data: bytes, found: ImageProblems, max_pixels: int | None) -> ImageFacts | None:
    """Check the content of an image file.

    Args:
        data: the content.
        found: receives the problems.
        max_pixels: images with more pixels are a problem; None for any size.

    Returns:
        facts; None if the file cannot be decoded.
    """
    path, color_type = found.record.path, found.source.color_type
    header = read_header(data)
    if header is not None:
        _check_ending(header, found)
        try:
            check_pixel_count(header, len(data), path)
        except (ImageError, ValueError) as error:
            found.add('PAN109', str(error))
            return None
    pixels = _decode(data, header, found)
    if pixels is None:
        return None
    exif = 1 if header is None else header.orientation
    orientation = exif if color_type in ('color', 'grayscale', CHANNELS) else 1
    depth = pixels.depth or (header.bits if header is not None else 8)
    count = pixels.size[0] * pixels.size[1]
    if max_pixels is not None and count > max_pixels:
        found.add('PAN108', f'{size_text(pixels.size)}, {count} pixels, more than {max_pixels}')
    _check_content(pixels, depth, header, found)
    code = None if pixels.flat else perceptual_hash(apply_orientation(pixels.gray, exif))
    return ImageFacts(
        pixels.size, orientation, exif, pixels.channels, depth, code)


def _check_ending(header: ImageHeader, found: ImageProblems) -> None:
    ending = osp.splitext(found.record.file_name)[1].lower()
    expected, actual = _FORMATS.get(ending), header.format.replace('MPO', 'JPEG')
    if expected is not None and expected != actual:
        found.add('PAN104', f'the name ends in {ending}, and the content is {actual}')


def _check_content(pixels: _Pixels, depth: int, header: ImageHeader | None,
                   found: ImageProblems) -> None:
    color_type = found.source.color_type
    # loaders that keep the samples as they are
    kept = color_type in ('unchanged', CHANNELS)
    if pixels.transparent and not kept:
        found.add('PAN110', 'some pixels are transparent')
    if header is not None and header.frames > 1 and color_type != CHANNELS:
        found.add('PAN111', f'the file has {header.frames} frames or pages')
    if depth > 8 and not kept:
        # OpenCV scales samples of more bits in each file by itself, so training refuses them
        refused = depth > 16
        found.add('PAN112', f'samples have {depth} bits, ' + (
            f'which color_type={color_type!r} does not support' if refused
            else 'of which the upper 8 are kept'),
            severity=Severity.ERROR if refused else Severity.WARNING)
    if pixels.channels == 1 and color_type.startswith('color'):
        found.add('PAN113', 'the file has one channel')
    if pixels.mode and color_type != CHANNELS:
        found.add('PAN114', f'the color space is {pixels.mode}')
    if pixels.flat:
        found.add('PAN115', 'all pixels are equal')


def _decode(data: bytes, header: ImageHeader | None, found: ImageProblems) -> _Pixels | None:
    """Decode an image as training does; JPEG files reduced, which takes half of the time."""
    if data.startswith(SIGNATURE):
        damage = read_png(data).damage
        if damage:
            found.add('PAN102', damage)
            return None
    try:
        if header is not None and header.format in ('JPEG', 'MPO') and header.bits == 8:
            return _decode_jpeg(data)
        return _decode_other(data, found)
    except Exception as error:  # decoders raise errors of many types
        known = header is not None or data.startswith(tuple(_SIGNATURES))
        name = what_it_is(data)
        text = str(error).replace(found.record.path, 'the file')
        if name:
            text = f'the content is {name}'
        elif not known:
            text = 'the content is of no format that is known'
        found.add('PAN102' if known else 'PAN103', text)
        return None


def _decode_jpeg(data: bytes) -> _Pixels:
    with any_size(), Image.open(io.BytesIO(data)) as image:
        mode, size = image.mode, (image.height, image.width)
        image.draft('L', (2 * SIDE, 2 * SIDE))
        # reads the whole file, so that a truncated one is found
        image.load()
        gray = image.convert('L')
    low, high = gray.getextrema()
    flat = low == high
    if flat:
        with any_size(), Image.open(io.BytesIO(data)) as image:
            extrema = image.getextrema()
        flat = all(low == high for low, high in (
            extrema if isinstance(extrema[0], tuple) else [extrema]))
    return _Pixels(_reduced(np.asarray(gray), _RGB), {'L': 1, 'CMYK': 4}.get(mode, 3), flat, size,
                   mode=_MODES.get(mode, ''))


def _decode_other(data: bytes, found: ImageProblems) -> _Pixels:
    path = found.record.path
    every = found.source.color_type == CHANNELS or path.lower().endswith(ARRAY_SUFFIXES)
    decoded = (decode_channels(data, path, found.source.channels_first) if every
               else decode_image(data, path, 'unchanged'))
    # decode_image leaves the pixels as stored, in the order blue, green, red
    turned, weights = (decoded.orientation, _RGB) if every else (1, _RGB[::-1])
    pixels = decoded.pixels
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    alpha = channels == 4 and pixels.dtype.kind == 'u' and bool(
        pixels[..., 3].min() < np.iinfo(pixels.dtype).max)
    flat = bool((pixels == pixels[0, 0]).all())
    gray = apply_orientation(_reduced(pixels, weights), inverse_orientation(turned))
    return _Pixels(gray, channels, flat, oriented_size(pixels.shape[:2], turned),
                   8 * pixels.dtype.itemsize, alpha)


def _reduced(pixels: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """Reduce pixels to gray.

    Args:
        pixels: [H, W] or [H, W, C] of any type.
        weights: of the three channels of a color image.

    Returns:
        float32 [SIDE, SIDE], 0 .. 255.
    """
    values = pixels[..., None] if pixels.ndim == 2 else pixels[..., :3]
    values = np.nan_to_num(values.astype(np.float32))
    values = values @ np.array(weights, np.float32) if values.shape[2] == 3 else values[..., 0]
    if pixels.dtype != np.uint8:
        low, high = float(values.min()), float(values.max())
        values = (values - low) * (255 / max(high - low, 1e-12))
    return cv2.resize(values, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
