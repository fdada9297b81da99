"""Panoptic PNGs in COCO's color coding: segment id = R + 256 G + 65536 B."""
from pathlib import Path

import cv2
import numpy as np
from mmengine import fileio

from mmpanseg.utils.atomic_files import result_file

# largest id that three bytes encode
MAX_SEGMENT_ID = (1 << 24) - 1


def rgb2id(color: np.ndarray) -> np.ndarray:
    """Decode the segment ids of a color-coded panoptic image.

    Args:
        color: uint8 array [..., 3], channels in RGB order.

    Returns:
        int32 array [...], ids in 0 .. 2**24 - 1.

    Raises:
        ValueError: the last dimension is not 3.
    """
    color = np.asarray(color)
    if color.shape[-1] != 3:
        raise ValueError(f'a color-coded panoptic image needs 3 channels, got shape {color.shape}')
    ids = color[..., 2].astype(np.int32)
    ids <<= 8
    ids += color[..., 1]
    ids <<= 8
    ids += color[..., 0]
    return ids


def id2rgb(ids: np.ndarray) -> np.ndarray:
    """Encode segment ids as colors, the inverse of :func:`rgb2id`.

    Args:
        ids: integer array [...], values in 0 .. 2**24 - 1.

    Returns:
        uint8 array [..., 3], channels in RGB order.

    Raises:
        ValueError: an id is out of range.
    """
    ids = np.asarray(ids)
    if ids.size and (ids.min() < 0 or ids.max() > MAX_SEGMENT_ID):
        raise ValueError(
            f'segment ids must be in 0 .. {MAX_SEGMENT_ID}, got {ids.min()} .. {ids.max()}')
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)


_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_COLOR_8_BIT, _PALETTE = (b'\x08\x02', b'\x08\x06'), b'\x03'

# RGB order avoids a pass over the image; OpenCV before 4.11 supports BGR only.
if hasattr(cv2, 'IMREAD_COLOR_RGB'):
    _READ_FLAGS, _TO_RGBA = cv2.IMREAD_COLOR_RGB, cv2.COLOR_RGB2RGBA
else:
    _READ_FLAGS, _TO_RGBA = cv2.IMREAD_COLOR, cv2.COLOR_BGR2RGBA
_READ_FLAGS |= cv2.IMREAD_IGNORE_ORIENTATION

# Runs of equal colors compress best without filters: half the file size of OpenCV's default and
# less than half of its decoding time.
_PNG_SETTINGS = [cv2.IMWRITE_PNG_COMPRESSION, 6,
                 cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
if hasattr(cv2, 'IMWRITE_PNG_FILTER'):  # OpenCV 4.12 and later
    _PNG_SETTINGS += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]


def read_panoptic_png(path: str | Path, backend_args: dict | None = None) -> np.ndarray:
    """Read the segment ids of a panoptic PNG file, encoded as in :func:`rgb2id`.

    Transparency is ignored, as in the official evaluation. Palette images are converted to RGB.

    Args:
        path: file path, or a URL that mmengine's file backends support.
        backend_args: arguments of mmengine's file backend.

    Returns:
        int32 array [H, W], ids in 0 .. 2**24 - 1.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is empty, damaged, no PNG, or not an 8-bit color image.
    """
    try:
        data = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'panoptic PNG {path} does not exist; check the folder of the segmentation maps and '
            'the file_name in the annotation JSON') from error
    if not data:
        raise ValueError(f'panoptic PNG {path} is an empty file; write or download it again')
    if data[:8] != _PNG_SIGNATURE:
        raise ValueError(f'panoptic PNG {path} is not a PNG file; write or download it again')
    # IHDR, the first chunk, stores the bit depth at byte 24 and the color type at byte 25.
    if data[24:26] not in _COLOR_8_BIT and data[25:26] != _PALETTE:
        raise ValueError(
            f'panoptic PNG {path} is not an 8-bit RGB image, but gray or 16-bit; encode its '
            'segment ids as colors (id = R + 256 G + 65536 B)')
    image = cv2.imdecode(np.frombuffer(data, np.uint8), _READ_FLAGS)
    if image is None:
        raise ValueError(f'panoptic PNG {path} is damaged; write or download it again')
    # A 32-bit word with the bytes R, G, B, alpha is the id after alpha is masked out; this is four
    # times faster than arithmetic on the channels.
    ids = cv2.cvtColor(image, _TO_RGBA).view('<i4')[..., 0]
    ids &= 0xFFFFFF
    return ids.astype(np.int32, copy=False)


def write_panoptic_png(path: str | Path, ids: np.ndarray) -> None:
    """Write segment ids as a panoptic PNG, encoded as in :func:`id2rgb`.

    Args:
        path: file path; missing folders are created.
        ids: integer [H, W], values in 0 .. 2**24 - 1.
    """
    image = np.ascontiguousarray(id2rgb(ids)[..., ::-1])
    _, data = cv2.imencode('.png', image, _PNG_SETTINGS)
    if '://' in str(path):
        fileio.put(data.tobytes(), path)
        return
    with result_file(path) as part:
        part.write_bytes(data.tobytes())
