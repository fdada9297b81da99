"""Channels of a user's images, where loading them as colors of 8 bits would lose some."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, UnidentifiedImageError

from mmpanseg.engine.command_line import UsageError

if TYPE_CHECKING:
    import numpy as np

# Images whose pixels are read, spread evenly over the data.
READ = 16
# Those of `structures/image_file.py`, which would import torch.
ARRAY_SUFFIXES = ('.npy', '.npz')
_TIFF_SUFFIXES = ('.tif', '.tiff')
# Modes of Pillow with up to three channels of 8 bits, and transparency.
_EIGHT_BITS = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBX', 'CMYK', 'YCbCr')


class ChannelFacts(NamedTuple):
    """Channels of the images.

    Args:
        number: number of channels.
        kind: type of the values, e.g. 'uint16'.
        mean: mean of each channel over the images that were read.
        std: standard deviation of each channel; 1 for a channel that is constant.
    """

    number: int
    kind: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def channel_facts(paths: Sequence[Path]) -> ChannelFacts | None:
    """Read the channels of images.

    Args:
        paths: images.

    Returns:
        the facts; None if all of those that are read are colors or gray with 8 bits.

    Raises:
        UsageError: the images differ in the number of channels, or one cannot be read.
    """
    sampled = paths[::-(-len(paths) // READ)]
    if not any(map(_has_more, sampled)):
        return None
    import numpy as np

    counts: dict[int, Path] = {}
    sums, squares, pixels, kind = 0.0, 0.0, 0, ''
    for path in sampled:
        image = read_channels(path)
        counts.setdefault(image.shape[2], path)
        if len(counts) > 1:
            (one, first), (other, second) = counts.items()
            raise UsageError(f'{first} has {one} channels and {second} has {other}: convert the '
                             'images to one number of channels')
        flat = image.reshape(-1, image.shape[2]).astype(np.float64)
        sums, squares = sums + flat.sum(0), squares + (flat ** 2).sum(0)
        pixels, kind = pixels + len(flat), max(kind, str(image.dtype), key=_range)
    mean = np.asarray(sums) / pixels
    std = np.sqrt(np.maximum(np.asarray(squares) / pixels - mean ** 2, 0))
    std[std <= 1e-6 * np.maximum(np.abs(mean), 1e-6)] = 1
    return ChannelFacts(len(mean), kind, tuple(float(f'{x:.4g}') for x in mean),
                        tuple(float(f'{x:.4g}') for x in std))


def read_channels(path: Path) -> np.ndarray:
    """Read all channels of an image, [H, W, C].

    Raises:
        UsageError: it cannot be read; the text names the file.
    """
    from mmpanseg.structures.image_channels import decode_channels

    try:
        return decode_channels(path.read_bytes(), str(path)).pixels
    except (OSError, ValueError) as error:
        raise UsageError(f'{path} cannot be read: {" ".join(str(error).split())}') from error


def needs_decoding(path: Path) -> bool:
    """Return whether only decoding tells the size of an image: arrays, TIFFs of many channels."""
    return path.suffix.lower() in (*ARRAY_SUFFIXES, *_TIFF_SUFFIXES)


def _has_more(path: Path) -> bool:
    """Return whether an image has more than colors of 8 bits. Files that are damaged have not."""
    try:
        with Image.open(path) as image:
            several = image.format == 'TIFF' and getattr(image, 'n_frames', 1) > 1
            # Pillow reads 8 of the 16 bits of colors: only the coding of its tiles tells
            deep = any(';16' in str(tile[3]) for tile in image.tile)
            return several or deep or image.mode not in _EIGHT_BITS
    except UnidentifiedImageError:
        return needs_decoding(path)
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def _range(kind: str) -> tuple[bool, str]:
    return kind.startswith('float'), kind.removeprefix('u').removeprefix('int').zfill(2)
