"""Reading of images with any number of channels, as they are stored.

H, W: height and width; C: number of channels.
"""
import io
import warnings
import zipfile
from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from mmpanseg.structures.exif_orientation import apply_orientation
from mmpanseg.structures.image_file import (
    DecodedImage,
    ImageError,
    ImageHeader,
    check_finite,
    check_pixel_count,
    decode_image,
    read_header,
)

# color type of loaders and sources that keep all channels
CHANNELS = 'channels'
# types of samples that OpenCV resizes and pads
KEPT_TYPES = ('uint8', 'uint16', 'int16', 'float32')
# of an archive with several arrays, the first of these names that it has
ARRAY_NAMES = ('image', 'img', 'arr_0', 'data', 'x')
MAX_CHANNELS = 512
_PNG, _NPY, _ZIP = b'\x89PNG', b'\x93NUMPY', b'PK\x03\x04'
_TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_PNG_GRAY_ALPHA = 4
# bits of TIFF's tag NewSubfileType: a smaller copy of another page, a mask of transparency
_COPY_OR_MASK = 0b101
_ORIENTATION_TAG, _SAMPLES_TAG = 274, 277


def decode_channels(data: bytes, name: str, channels_first: bool = False) -> DecodedImage:
    """Decode all channels of an image in their stored order, upright.

    Color files have the order R, G, B (and A). The pages of a TIFF are concatenated, and smaller
    copies of a page are left out. Formats are those of OpenCV, TIFF, ``.npy`` and ``.npz``.
    Palettes become colors.

    Args:
        data: content of the file.
        name: name of the file in error texts.
        channels_first: arrays of ``.npy`` and ``.npz`` are [C, H, W].

    Returns:
        the image, with pixels [H, W, C], C >= 1, of one of :data:`KEPT_TYPES`.

    Raises:
        ImageError: the file cannot be decoded, its pages differ in size, or values are not finite.
    """
    if data.startswith((_NPY, _ZIP)):
        return DecodedImage(as_channels(_read_array(data, name), name, channels_first), 1, None)
    header = None
    if data.startswith(_TIFF):
        header = read_header(data)
        if header is not None:
            check_pixel_count(header, len(data), name)
        pixels, orientation = _read_tiff(data, name, header)
    else:
        decoded = decode_image(data, name, 'unchanged', 'cv2')
        header = decoded.header
        pixels, orientation = decoded.pixels, 1 if header is None else header.orientation
        # OpenCV repeats the gray values of gray pictures with transparency
        if data.startswith(_PNG) and data[25] == _PNG_GRAY_ALPHA and pixels.ndim == 3:
            pixels = pixels[..., [0, -1]]
        else:
            pixels = swap_red_and_blue(pixels)
    return DecodedImage(apply_orientation(as_channels(pixels, name), orientation), orientation,
                        header)


def channels_of_picture(image: Image.Image, name: str) -> np.ndarray:
    """Convert a PIL image, upright, to all of its channels [H, W, C].

    Raises:
        ImageError: it cannot be read.
    """
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode in ('P', 'CMYK', 'YCbCr', 'LAB', 'HSV'):
            image = image.convert('RGB')
        return as_channels(np.asarray(image), name)
    except OSError as error:
        raise ImageError(f'{name} cannot be read ({error})') from error


def as_channels(pixels: np.ndarray, name: str, channels_first: bool = False) -> np.ndarray:
    """Check an array and convert it to [H, W, C] of one of :data:`KEPT_TYPES`.

    Args:
        pixels: [H, W] or [H, W, C], booleans, integers or floats.
        name: name of the image in error texts.
        channels_first: three dimensions are [C, H, W].

    Raises:
        ImageError: it has another shape or type, or values that are not finite.
    """
    if pixels.dtype.kind not in 'buif':
        raise ImageError(f'{name} has values of the type {pixels.dtype}: write integers or floats')
    if channels_first and pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise ImageError(f'{name} has the shape {list(pixels.shape)}: an image is [H, W] or '
                         '[H, W, C]')
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    count = pixels.shape[2]
    if count > MAX_CHANNELS or count > max(16, 2 * pixels.shape[0]):
        raise ImageError(
            f'{name} has {count} channels and {pixels.shape[0]} rows: channels are the last '
            'dimension; write image.transpose(1, 2, 0), or use LoadChannels(channels_first=True)')
    if pixels.dtype.name not in KEPT_TYPES:
        pixels = pixels.astype(np.uint8 if pixels.dtype == bool else np.float32)
    check_finite(pixels, name)
    return np.ascontiguousarray(pixels)


def select_channels(pixels: np.ndarray, channels: Sequence[int], name: str) -> np.ndarray:
    """Select channels of an image [H, W, C].

    Raises:
        ImageError: it has no such channel.
    """
    count = pixels.shape[2]
    if max(channels) >= count:
        raise ImageError(
            f'{name} has {count} channels, numbered from 0, and channel {max(channels)} is '
            'selected: correct channels of LoadChannels, or remove the image from the data set')
    return np.ascontiguousarray(pixels[..., list(channels)])


def swap_red_and_blue(pixels: np.ndarray) -> np.ndarray:
    """Swap the first and the third channel of an image with 3 or 4 channels, else return it."""
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        return pixels
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3][:pixels.shape[2]]])


def channels_to_rgb(pixels: np.ndarray, channels: Sequence[int] | None = None) -> np.ndarray:
    """Make a picture of an image for display.

    Args:
        pixels: [H, W, C]. Of other types than uint8, the values between the 1st and 99th percentile
            of each channel are scaled to 0 .. 255.
        channels: one channel, drawn gray, or three, drawn as red, green, blue. None: the first
            three, or the first one where there are fewer.

    Returns:
        uint8 RGB [H, W, 3].
    """
    count = pixels.shape[2]
    chosen = list(channels or (range(3) if count >= 3 else [0]))
    # of a file with fewer channels than the model's the last one
    planes = [_to_bytes(pixels[..., min(k, count - 1)]) for k in chosen]
    return np.stack(planes * (3 if len(planes) == 1 else 1), axis=2)


def _to_bytes(plane: np.ndarray) -> np.ndarray:
    if plane.dtype == np.uint8:
        return plane
    values = np.nan_to_num(plane.astype(np.float32))
    low, high = np.percentile(values, (1, 99))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / max(high - low, 1e-12))).clip(0, 255).astype(np.uint8)


def _read_array(data: bytes, name: str) -> np.ndarray:
    """Read the array of a file of numpy, without objects, which would be code."""
    try:
        content = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        names = content.files
        chosen = names[0] if len(names) == 1 else next(
            (key for key in ARRAY_NAMES if key in names), None)
        if chosen is not None:
            return content[chosen]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = ' '.join(str(error).split())[:200]
        raise ImageError(f'{name} cannot be read as an array: the file is damaged or holds '
                         f'objects ({reason}): write it with np.save(path, image)') from error
    raise ImageError(f'{name} holds the arrays {", ".join(names) or "none"}: name that of the '
                     f'image {ARRAY_NAMES[0]!r}, np.savez(path, {ARRAY_NAMES[0]}=...)')


def _read_tiff(data: bytes, name: str, header: ImageHeader | None) -> tuple[np.ndarray, int]:
    """Read all pages of a TIFF as stored, [H, W, C] or [H, W], and its orientation."""
    known = 1 if header is None else header.orientation
    try:
        import tifffile
    except ImportError:
        return _read_tiff_by_opencv(data, name, header, 'pip install tifffile'), known
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages = [page for page in file.pages
                     if not int(getattr(page, 'subfiletype', 0)) & _COPY_OR_MASK]
            for page in pages:
                # Pillow does not read the header of many channels
                check_pixel_count(ImageHeader('TIFF', (page.imagelength, page.imagewidth)),
                                  len(data), name)
            parts = [_channels_last(page.asarray(), page.axes) for page in pages]
            palette = pages[0].colormap if len(pages) == 1 else None
            tag = pages[0].tags.get(_ORIENTATION_TAG) if pages else None
            orientation = int(tag.value) if tag is not None and tag.value in range(1, 9) else 1
    except ImageError:
        raise
    except Exception as error:
        # tifffile raises errors of many types for damaged files
        reason = ' '.join(str(error).split())[:200]
        if 'imagecodecs' in reason:
            return _read_tiff_by_opencv(data, name, header, 'pip install imagecodecs'), known
        raise ImageError(f'{name} cannot be read as a TIFF: the file is damaged or of an unknown '
                         f'kind ({reason})') from error
    if palette is not None and parts[0].ndim == 2:
        parts = [(palette[:, parts[0]] >> 8).astype(np.uint8).transpose(1, 2, 0)]
    return _concatenated(parts, name), orientation


def _channels_last(pixels: np.ndarray, axes: str) -> np.ndarray:
    """Move the samples of a page of a TIFF, axis S, to the end."""
    if axes.replace('S', '') != 'YX' or pixels.ndim != len(axes):
        raise ValueError(f'a page has the axes {axes}')
    return np.moveaxis(pixels, axes.index('S'), -1) if 'S' in axes else pixels


def _read_tiff_by_opencv(data: bytes, name: str, header: ImageHeader | None,
                         remedy: str) -> np.ndarray:
    """Read the pages of a TIFF where tifffile cannot: those of one channel, and RGB."""
    # OpenCV turns TIFF files itself
    plain = header is not None and header.orientation == 1 and _samples(data) in ((1, ), (3, ))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        done, pages = cv2.imdecodemulti(
            np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if plain else (False, ())
    if not done or not pages:
        raise ImageError(f'{name} is a TIFF of a kind that OpenCV does not read: {remedy}, or '
                         'write it as .npy')
    return _concatenated([swap_red_and_blue(page) for page in pages], name)


def _samples(data: bytes) -> tuple[int, ...]:
    """Numbers of samples of a pixel that occur in the pages of a TIFF."""
    found = set()
    with Image.open(io.BytesIO(data)) as image:
        tiff = cast(TiffImageFile, image)
        for page in range(tiff.n_frames):
            tiff.seek(page)
            found.add(int(tiff.tag_v2.get(_SAMPLES_TAG, 1)))
    return tuple(found)


def _concatenated(pages: Sequence[np.ndarray], name: str) -> np.ndarray:
    if not pages:
        raise ImageError(f'{name} cannot be read as a TIFF: it has no page with an image')
    sizes = [page.shape[:2] for page in pages]
    other = next((k for k, size in enumerate(sizes) if size != sizes[0]), None)
    if other is not None:
        (height, width), (high, wide) = sizes[0], sizes[other]
        raise ImageError(
            f'{name}: its pages are its channels, and page 0 is {width}x{height}, page {other} '
            f'{wide}x{high}: write pages of one size, or a file for each image')
    kinds = {page.dtype for page in pages}
    if len(kinds) > 1:
        pages = [page.astype(np.float32) for page in pages]
    return np.concatenate([page.reshape(*page.shape[:2], -1) for page in pages], axis=2)
