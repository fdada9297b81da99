"""Image files: what their headers say, and reading them upright."""
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import mmcv
import numpy as np
from mmengine import fileio
from PIL import Image

from mmpanseg.structures.exif_orientation import (
    apply_orientation,
    inverse_orientation,
    oriented_size,
)

# in lower case
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.webp', '.tif', '.tiff',
                  '.ppm', '.pgm', '.pbm', '.pnm', '.jp2', '.avif')

LIMIT_VARIABLE = 'MMPANSEG_MAX_IMAGE_PIXELS'
# OpenCV refuses larger ones
MAX_PIXELS = 1 << 30
# a file that is this small for so many pixels holds no photograph
SUSPICIOUS_PIXELS, SUSPICIOUS_RATIO = 1 << 26, 100

_ORIENTATION_TAG, _WIDTH_TAG, _HEIGHT_TAG, _BITS_TAG = 0x0112, 256, 257, 258


class ImageError(ValueError):
    """An image that cannot be read; the text names it."""


class ImageHeader(NamedTuple):
    """What is known before decoding: format, stored (H, W), orientation 1 .. 8, bits a sample."""

    format: str
    size: tuple[int, int]
    orientation: int = 1
    bits: int = 8


class DecodedImage(NamedTuple):
    """Pixels [H, W, C] or [H, W], the orientation they were turned by, and the file's header."""

    pixels: np.ndarray
    orientation: int
    header: ImageHeader | None


def read_header(data: bytes) -> ImageHeader | None:
    """Header of an encoded image; None where Pillow does not know the format."""
    try:
        with _any_size(), Image.open(io.BytesIO(data)) as image:
            tags = getattr(image, 'tag_v2', None)
            if tags is not None:
                # Pillow gives the size of a TIFF as it lies after turning
                size = int(tags[_HEIGHT_TAG]), int(tags[_WIDTH_TAG])
                orientation = tags.get(_ORIENTATION_TAG, 1)
                bits = max(tags.get(_BITS_TAG, (1, )))
            else:
                size = image.height, image.width
                orientation = _exif_orientation(image.info.get('exif'))
                bits = _bits(image, data)
            return ImageHeader(image.format, size,
                               orientation if orientation in range(1, 9) else 1, bits)
    except Exception:
        # Pillow raises errors of many types for damaged files; decoding says what is wrong
        return None


def decode_image(data: bytes, name: str, color_type: str = 'color',
                 backend: str | None = None) -> DecodedImage:
    """Pixels of an encoded image, upright with any version of OpenCV and any format.

    Args:
        data: content of the file.
        name: of the file, for messages.
        color_type: as of mmcv's ``LoadImageFromFile``. With ``unchanged`` and the types that end
            in ``_ignore_orientation`` pixels stay as they are stored.
        backend: as of ``mmcv.imfrombytes``.

    Raises:
        ImageError: the file is empty, damaged or of another kind, its pixels are too many or
            too suspiciously many, or its samples have more bits than the color type can hold.
    """
    header = read_header(data)
    if header is not None:
        _check_size(header, len(data), name)
    backend = backend or mmcv.image.io.imread_backend
    upright = color_type in ('color', 'grayscale')
    if header is not None and header.bits > 16 and upright and backend in ('cv2', 'pillow'):
        raise ImageError(
            f'{name} has samples of {header.bits} bits, which color_type={color_type!r} cannot '
            "hold: read it with LoadImageFromFile(color_type='unchanged') and set mean and std of "
            'the data_preprocessor to the range of the values')
    # as stored: what readers turn depends on the format and their version
    flag = (f'{color_type}_ignore_orientation' if upright and backend in ('cv2', 'pillow')
            else color_type)
    try:
        pixels = mmcv.imfrombytes(data, flag=flag, backend=backend)
    except Exception as error:
        raise ImageError(f'{name} cannot be read as an image: the file is empty, damaged or of '
                         f'another kind ({str(error).strip()})') from error
    if pixels is None:
        raise ImageError(f'{name} cannot be read as an image: the file is empty, damaged or of '
                         f'another kind (failed to load image: {name})')
    orientation = 1 if header is None else header.orientation
    if orientation == 1:
        return DecodedImage(pixels, 1, header)
    if header.format == 'TIFF' and _turns_tiff(backend):
        pixels = apply_orientation(pixels, inverse_orientation(orientation))
    if not upright:
        return DecodedImage(pixels, 1, header)
    return DecodedImage(apply_orientation(pixels, orientation), orientation, header)


def file_header(path: str | None, backend_args: dict | None = None) -> ImageHeader | None:
    """Header of an image file; None where there is none that can be read."""
    try:
        return read_header(fileio.get(path, backend_args=backend_args)) if path else None
    except Exception:
        # whatever the storage raises: who needs the file says what is wrong with it
        return None


def file_orientation(path: str | None, backend_args: dict | None = None) -> int:
    """EXIF orientation of an image file; 1 where it has none or cannot be read."""
    header = file_header(path, backend_args)
    return 1 if header is None else header.orientation


def to_rgb_uint8(pixels: np.ndarray) -> np.ndarray:
    """uint8 RGB [H, W, 3] for drawing, of BGR or gray pixels; other types are stretched to it."""
    if pixels.dtype != np.uint8:
        values = np.nan_to_num(pixels.astype(np.float32))
        low, high = values.min(), values.max()
        pixels = ((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        gray = pixels if pixels.ndim == 2 else pixels[..., 0]
        return np.repeat(gray[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1])


def read_sample_image(sample: Mapping, backend_args: dict | None = None) -> np.ndarray:
    """uint8 RGB [H, W, 3] of a sample's file, lying as the network saw it.

    Args:
        sample: with ``img_path``, and ``img_orientation`` where the loader noted it down.
        backend_args: file backend of the image.
    """
    path = sample['img_path']
    data = fileio.get(path, backend_args=backend_args)
    header = read_header(data)
    # what has 8 bits is read as usual: palettes, transparency and gray become BGR
    deep = header is not None and header.bits > 8
    image = decode_image(data, path, 'unchanged' if deep else 'color_ignore_orientation')
    orientation = sample.get('img_orientation')
    if orientation is None:
        orientation = 1 if image.header is None else image.header.orientation
    return apply_orientation(to_rgb_uint8(image.pixels), orientation)


def match_loaded_image(image: np.ndarray, sample: Mapping) -> np.ndarray:
    """A picture that was read from a sample's file, lying as the network saw it.

    Hooks that draw read files as mmcv does by default: with other orientations than the loader if
    that ignores EXIF or mmcv does for the format, and nearly black for more than 8 bits.

    Args:
        image: uint8 RGB [H, W, 3]; one that is not the file's as mmcv reads it stays as it is.
        sample: see :func:`read_sample_image`.
    """
    header = file_header(sample.get('img_path'))
    if header is None or (header.orientation == 1 and header.bits <= 8):
        return image
    if not np.array_equal(image, mmcv.imread(sample['img_path'], channel_order='rgb')):
        return image
    return read_sample_image(sample)


def _check_size(header: ImageHeader, num_bytes: int, name: str) -> None:
    """Refuse what would fill the memory, before it does."""
    height, width = header.size
    pixels, limit = height * width, os.environ.get(LIMIT_VARIABLE)
    if limit is not None:
        refused = pixels > int(limit)
        why = f'more than {LIMIT_VARIABLE}={limit}'
    elif pixels > MAX_PIXELS:
        refused, why = True, f'more than {MAX_PIXELS}'
    else:
        refused = (pixels > SUSPICIOUS_PIXELS and 3 * pixels > SUSPICIOUS_RATIO * num_bytes)
        why = (f'suspiciously many for a file of {num_bytes} bytes (a decompression bomb, or '
               'empty)')
    if refused:
        raise ImageError(
            f'{name} has {width}x{height} pixels, {why}: cut it into pieces, or set the '
            f'environment variable {LIMIT_VARIABLE} to the largest number of pixels that you allow '
            f'(beyond {MAX_PIXELS} OPENCV_IO_MAX_IMAGE_PIXELS too)')


def _exif_orientation(exif: bytes | None) -> int:
    if not exif:
        return 1
    # not image.getexif(): it adds tags of XMP, which other readers do not look at
    tags = Image.Exif()
    tags.load(exif)
    return tags.get(_ORIENTATION_TAG, 1)


def _bits(image: Image.Image, data: bytes) -> int:
    if image.format == 'PNG':
        # Pillow opens 16-bit color as 8-bit; the first chunk has the depth at byte 24
        return data[24]
    return {'F': 32, 'I': 32}.get(image.mode, 16 if image.mode.startswith('I;16') else 8)


@contextmanager
def _any_size() -> Iterator[None]:
    """Pillow without its own limit while it reads a header."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@cache
def _turns_tiff(backend: str) -> bool:
    """Whether a reader turns TIFF files even if it is told not to, as some do."""
    file = io.BytesIO()
    Image.new('RGB', (2, 1)).save(file, 'TIFF', tiffinfo={_ORIENTATION_TAG: 6})
    pixels = mmcv.imfrombytes(file.getvalue(), flag='unchanged', backend=backend)
    return pixels.shape[:2] == oriented_size((1, 2), 6)
