"""Inputs of an inferencer: paths, arrays, PIL images and encoded images."""
import glob
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from PIL import Image, ImageOps

from mmpanseg.datasets.transforms.loading_images import ARRAYS, check_array
from mmpanseg.structures.image_channels import CHANNELS, channels_of_picture, decode_channels
from mmpanseg.structures.image_file import (
    ARRAY_SUFFIXES,
    IMAGE_SUFFIXES,
    ImageError,
    decode_image,
)

ACCEPTED = (f'image files, folders, glob patterns and URLs (str or Path), {ARRAYS}, PIL images, '
            'bytes and open files of encoded images, and lists of these')

ImageInput = str | np.ndarray | Image.Image | bytes


def list_images(inputs: object, color_type: str = 'color') -> list[ImageInput]:
    """List the single images of any kind of input, in order.

    Args:
        inputs: a value of a type that :data:`ACCEPTED` lists; lists and generators are expanded.
        color_type: color type of the pipeline's loader, for the check of arrays.

    Raises:
        FileNotFoundError: no image exists at a path or matches a pattern.
        TypeError: an input has another type.
        ValueError: an array is no image.
    """
    if isinstance(inputs, (str, Path)):
        return list(find_files(str(inputs), IMAGE_SUFFIXES + ARRAY_SUFFIXES * (
            color_type == CHANNELS)))
    if isinstance(inputs, np.ndarray):
        return [check_array(inputs, color_type)]
    if isinstance(inputs, Image.Image):
        return [inputs]
    if isinstance(inputs, (bytes, bytearray, memoryview)):
        return [bytes(inputs)]
    if hasattr(inputs, 'read'):
        data = inputs.read()
        if not isinstance(data, bytes):
            raise TypeError('an open file must be in binary mode: open(path, "rb")')
        return [data]
    if type(inputs).__module__.split('.')[0] == 'torch':
        raise TypeError(f'torch tensors are not accepted; give {ARRAYS}. An RGB tensor [3, H, W] '
                        'in 0..1 is converted by '
                        '(255 * tensor.flip(0)).byte().permute(1, 2, 0).numpy()')
    if isinstance(inputs, (list, tuple, Iterator)) or (
            isinstance(inputs, Iterable) and not isinstance(inputs, dict)):
        return [image for part in inputs for image in list_images(part, color_type)]
    raise TypeError(f'{type(inputs).__name__} is not accepted; give {ACCEPTED}')


def to_array(image: Image.Image | bytes, color_type: str = 'color',
             backend: str | None = None) -> np.ndarray:
    """Convert an image to an array, equal to reading it from a file.

    Args:
        image: a PIL image, or the bytes of an encoded one.
        color_type: color type of the pipeline's loader.
        backend: decoder of the bytes, see :func:`mmcv.imfrombytes` (default: mmcv's).

    Returns:
        [H, W] or [H, W, C], channels in the order BGR or BGRA.

    Raises:
        ImageError: the image cannot be decoded.
        TypeError: the PIL image has values of another type.
    """
    if color_type == CHANNELS:
        name = 'the given image' + (f' of {len(image)} bytes' if isinstance(image, bytes) else '')
        return (decode_channels(image, name).pixels if isinstance(image, bytes)
                else channels_of_picture(image, name))
    if isinstance(image, bytes):
        return decode_image(image, f'the given image of {len(image)} bytes', color_type,
                            backend).pixels
    try:
        if color_type in ('color', 'grayscale'):
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith('I;16') and color_type != 'unchanged':
            print_log(f'a PIL image of mode {image.mode} is reduced to its upper 8 bits',
                      logger='current', level=logging.WARNING)
            return check_array((np.asarray(image) >> 8).astype(np.uint8), color_type)
        if image.mode not in ('L', 'F', 'I') and not image.mode.startswith('I;16'):
            image = image.convert('RGBA' if image.mode == 'RGBA' else 'RGB')
        pixels = np.asarray(image)
    except OSError as error:
        raise ImageError(f'the given PIL image cannot be read ({error})') from error
    if pixels.ndim == 3:
        # RGB to BGR, alpha stays
        pixels = np.ascontiguousarray(pixels[..., [2, 1, 0, 3][:pixels.shape[2]]])
    return check_array(pixels, color_type)


def find_files(path: str, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[str]:
    """List the files and URLs of a path or pattern.

    Args:
        path: file, folder, glob pattern or URL.
        suffixes: lower-case endings of the files of a folder.

    Raises:
        FileNotFoundError: no image exists there.
    """
    if '://' in path or Path(path).is_file():
        return [path]
    if Path(path).is_dir():
        return _files_of_folder(Path(path), suffixes)
    found = sorted(name for name in glob.glob(path, recursive=True) if Path(name).is_file())
    if not found:
        raise FileNotFoundError(f'no image found at {path}: give an image file, a folder '
                                'with images, or a glob pattern that matches some')
    return found


def _files_of_folder(folder: Path, suffixes: Sequence[str]) -> list[str]:
    """Images directly in a folder; logs how many other files it has."""
    files = sorted(path for path in folder.iterdir()
                   if path.is_file() and not path.name.startswith('.'))
    found = [str(path) for path in files if path.suffix.lower() in suffixes]
    others = [path.name for path in files if path.suffix.lower() not in suffixes]
    if not found:
        deeper = sum(path.suffix.lower() in suffixes and not path.name.startswith('.')
                     for path in folder.rglob('*'))
        hint = (f'; its subfolders have {deeper}: give the pattern \'{folder}/**/*\''
                if deeper else '')
        raise FileNotFoundError(
            f'no image found at {folder}: none of its {len(files)} files has a suffix of images '
            f'({" ".join(suffixes)}){hint}')
    if others:
        print_log(f'{folder}: {len(others)} of {len(files)} files have no suffix of images and are '
                  f'left out: {", ".join(others[:5])}{", ..." if len(others) > 5 else ""}',
                  logger='current', level=logging.WARNING)
    return found
