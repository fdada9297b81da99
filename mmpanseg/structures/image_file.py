"""Reading of image files: headers, upright pixels, RGB images for display."""
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import cv2
import mmcv
import numpy as np
from mmengine import fileio
from PIL import Image

from mmpanseg.structures.exif_orientation import (
    apply_orientation,
    inverse_orientation,
    oriented_size,
)

# lower case
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.webp', '.tif', '.tiff',
                  '.ppm', '.pgm', '.pbm', '.pnm', '.jp2', '.avif')

# of arrays of numpy
ARRAY_SUFFIXES = ('.npy', '.npz')
LIMIT_VARIABLE = 'MMPANSEG_MAX_IMAGE_PIXELS'
# the limit of OpenCV
MAX_PIXELS = 1 << 30
# A photograph of more pixels needs more than 3 / SUSPICIOUS_RATIO bytes per pixel.
SUSPICIOUS_PIXELS, SUSPICIOUS_RATIO = 1 << 26, 100

_ORIENTATION_TAG, _WIDTH_TAG, _HEIGHT_TAG, _BITS_TAG = 0x0112, 256, 257, 258


class ImageError(ValueError):
    """An image cannot be read; the text names the image."""


class ImageHeader(NamedTuple):
    """Properties of an encoded image that need no decoding.

    Attributes:
        format: name of the format in Pillow.
        size: (H, W) as stored.
        orientation: EXIF orientation, 1 .. 8.
        bits: bits of a sample.
        frames: number of frames or pages, of which the first one is decoded.
    """

    format: str
    size: tuple[int, int]
    orientation: int = 1
    bits: int = 8
    frames: int = 1


class DecodedImage(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: [H, W, C] or [H, W].
        orientation: EXIF orientation that was applied, 1 .. 8.
        header: header of the file; None where Pillow does not know the format.
    """

    pixels: np.ndarray
    orientation: int
    header: ImageHeader | None


def read_header(data: bytes) -> ImageHeader | None:
    """Parse the header of an encoded image; None where Pillow does not know the format."""
    try:
        with any_size(), Image.open(io.BytesIO(data)) as image:
            tags = getattr(image, 'tag_v2', None)
            if tags is not None:
                # for TIFF, Pillow reports the upright size
                size = int(tags[_HEIGHT_TAG]), int(tags[_WIDTH_TAG])
                orientation = tags.get(_ORIENTATION_TAG, 1)
                bits = max(tags.get(_BITS_TAG, (1, )))
            else:
                size = image.height, image.width
                orientation = _exif_orientation(image.info.get('exif'))
                bits = _bits(image, data)
            # the further frames of an MPO are previews of the first one
            frames = 1 if image.format == 'MPO' else int(getattr(image, 'n_frames', 1))
            return ImageHeader(image.format or '', size,
                               orientation if orientation in range(1, 9) else 1, bits, frames)
    except Exception:
        # Pillow raises errors of many types for damaged files; decode_image reports them
        return None


def decode_image(data: bytes, name: str, color_type: str = 'color',
                 backend: str | None = None) -> DecodedImage:
    """Decode an image and apply its EXIF orientation, independent of format and OpenCV version.

    Args:
        data: content of the file.
        name: name of the file in error texts.
        color_type: see mmcv's ``LoadImageFromFile``. With ``unchanged`` and the types that end in
            ``_ignore_orientation`` the orientation is not applied.
        backend: see ``mmcv.imfrombytes``; by default the current backend of mmcv.

    Raises:
        ImageError: the file is empty, damaged or no image; the number of pixels exceeds the limit
            or is implausible for the file size; or the samples have more bits than the color type
            supports.
    """
    header = read_header(data)
    if header is not None:
        check_pixel_count(header, len(data), name)
    backend = backend or mmcv.image.io.imread_backend
    upright = color_type in ('color', 'grayscale')
    bits = _unknown_bits(data) if header is None else header.bits
    if bits > 16 and color_type != 'unchanged' and backend in ('cv2', 'pillow'):
        # OpenCV would scale the values of each file to 0 .. 255
        raise ImageError(
            f'{name} has samples of {bits} bits, which color_type={color_type!r} does not '
            "support: read it with LoadImageFromFile(color_type='unchanged') and set mean and std "
            'of the data_preprocessor to the range of the values, or convert it to 8 bits')
    # decode as stored: whether a backend applies the orientation depends on version and format
    flag = (f'{color_type}_ignore_orientation' if upright and backend in ('cv2', 'pillow')
            else color_type)
    try:
        pixels = mmcv.imfrombytes(data, flag=flag, backend=backend)
    except Exception as error:
        raise ImageError(f'{name} cannot be read as an image: the file is empty, damaged or no '
                         f'image ({str(error).strip()})') from error
    if pixels is None:
        raise ImageError(f'{name} cannot be read as an image: the file is empty, damaged or no '
                         f'image (failed to load image: {name})')
    if header is None or header.orientation == 1:
        return DecodedImage(pixels, 1, header)
    orientation = header.orientation
    if header.format == 'TIFF' and _turns_tiff(backend):
        pixels = apply_orientation(pixels, inverse_orientation(orientation))
    if not upright:
        return DecodedImage(pixels, 1, header)
    return DecodedImage(apply_orientation(pixels, orientation), orientation, header)


def file_header(path: str | None, backend_args: dict | None = None) -> ImageHeader | None:
    """Read the header of an image file; None where the file is missing or unreadable."""
    try:
        return read_header(fileio.get(path, backend_args=backend_args)) if path else None
    except Exception:
        # storage backends raise errors of many types; reading the pixels reports them
        return None


def file_orientation(path: str | None, backend_args: dict | None = None) -> int:
    """Read the EXIF orientation of an image file; 1 where it is missing or unreadable."""
    header = file_header(path, backend_args)
    return 1 if header is None else header.orientation


def to_rgb_uint8(pixels: np.ndarray) -> np.ndarray:
    """Convert pixels to an RGB image for display.

    Args:
        pixels: BGR [H, W, C] with C >= 3, or gray [H, W] or [H, W, C]. Values of other dtypes than
            uint8 are scaled linearly from their range to 0 .. 255.

    Returns:
        uint8 [H, W, 3].
    """
    if pixels.dtype != np.uint8:
        values = np.nan_to_num(pixels.astype(np.float32))
        low, high = values.min(), values.max()
        pixels = ((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        gray = pixels if pixels.ndim == 2 else pixels[..., 0]
        return np.repeat(gray[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1])


def check_pixel_count(header: ImageHeader, num_bytes: int, name: str) -> None:
    """Raise an ImageError if decoding a file of this header and size would exhaust the memory."""
    height, width = header.size
    pixels, limit = height * width, os.environ.get(LIMIT_VARIABLE)
    if limit is not None:
        refused = pixels > int(limit)
        why = f'more than {LIMIT_VARIABLE}={limit}'
    elif pixels > MAX_PIXELS:
        refused, why = True, f'more than {MAX_PIXELS}'
    else:
        refused = (pixels > SUSPICIOUS_PIXELS and 3 * pixels > SUSPICIOUS_RATIO * num_bytes)
        why = (f'implausibly many for a file of {num_bytes} bytes (a decompression bomb or a blank '
               'image)')
    if refused:
        raise ImageError(
            f'{name} has {width}x{height} pixels, {why}: split it into tiles, or set the '
            f'environment variable {LIMIT_VARIABLE} to the largest allowed number of pixels '
            f'(beyond {MAX_PIXELS} also OPENCV_IO_MAX_IMAGE_PIXELS)')


def check_finite(pixels: np.ndarray, name: str) -> None:
    """Raise an ImageError if an image has values that are NaN or infinite."""
    if pixels.dtype.kind == 'f' and not np.isfinite(pixels).all():
        wrong = int((~np.isfinite(pixels)).sum())
        raise ImageError(
            f'{name} has {wrong} values that are NaN or infinite: replace them, e.g. '
            'np.nan_to_num(image), and make their pixels void in the annotation')


def _exif_orientation(exif: bytes | None) -> int:
    if not exif:
        return 1
    # not image.getexif(): it merges XMP tags, which other libraries ignore
    tags = Image.Exif()
    tags.load(exif)
    return tags.get(_ORIENTATION_TAG, 1)


def _bits(image: Image.Image, data: bytes) -> int:
    if image.format == 'PNG':
        # Pillow opens 16-bit color as 8-bit; the first chunk stores the depth at byte 24
        return data[24]
    if image.format == 'PPM' and image.mode == 'I':
        return 16
    return {'F': 32, 'I': 32}.get(image.mode, 16 if image.mode.startswith('I;16') else 8)


def _unknown_bits(data: bytes) -> int:
    """Bits of the samples of a file whose header Pillow does not know, such as a TIFF of floats."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return 8
    return 8 if pixels is None else 8 * pixels.dtype.itemsize


@contextmanager
def any_size() -> Iterator[None]:
    """Disable the size limit of Pillow while it reads a header."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@cache
def _turns_tiff(backend: str) -> bool:
    """Check whether a backend applies the orientation of TIFF files even for ``unchanged``."""
    file = io.BytesIO()
    Image.new('RGB', (2, 1)).save(file, 'TIFF', tiffinfo={_ORIENTATION_TAG: 6})
    pixels = mmcv.imfrombytes(file.getvalue(), flag='unchanged', backend=backend)
    return pixels.shape[:2] == oriented_size((1, 2), 6)
