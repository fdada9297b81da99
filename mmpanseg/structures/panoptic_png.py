"""Reading and writing of colour-coded panoptic PNGs."""
from pathlib import Path
from typing import Optional, Union

import cv2
import numpy as np
from mmengine import fileio

from .panoptic_coding import id2rgb

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_COLOR_8_BIT, _PALETTE = (b'\x08\x02', b'\x08\x06'), b'\x03'

# OpenCV's usual BGR order costs it a pass over the image; before 4.11 there is no other.
if hasattr(cv2, 'IMREAD_COLOR_RGB'):
    _READ_FLAGS, _TO_RGBA = cv2.IMREAD_COLOR_RGB, cv2.COLOR_RGB2RGBA
else:
    _READ_FLAGS, _TO_RGBA = cv2.IMREAD_COLOR, cv2.COLOR_BGR2RGBA
_READ_FLAGS |= cv2.IMREAD_IGNORE_ORIENTATION

# Rows of equal colours compress best unfiltered: half the size of OpenCV's default, and read more
# than twice as fast.
_PNG_SETTINGS = [cv2.IMWRITE_PNG_COMPRESSION, 6,
                 cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
if hasattr(cv2, 'IMWRITE_PNG_FILTER'):  # OpenCV < 4.12 cannot choose the filter
    _PNG_SETTINGS += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]


def read_panoptic_png(path: Union[str, Path], backend_args: Optional[dict] = None) -> np.ndarray:
    """Segment ids of a panoptic PNG file, coded as in :func:`rgb2id`.

    Transparency does not count, as in the official evaluation; the colors of a palette do.

    Args:
        path: file name, or an address that mmengine's file backends understand.
        backend_args: arguments of the file backend, as everywhere in mmengine.

    Returns:
        int32 array [H, W], ids in 0 .. 2**24 - 1.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when it is empty, damaged, no image, or has no colors of 8 bits.
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
        raise ValueError(f'panoptic PNG {path} is no PNG file; write or download it again')
    # IHDR, the first chunk, has the bit depth at byte 24 and the colour type at byte 25.
    if data[24:26] not in _COLOR_8_BIT and data[25:26] != _PALETTE:
        raise ValueError(
            f'panoptic PNG {path} is not an 8-bit RGB image, but grey or 16-bit; colour-code its '
            'segment ids (id = R + 256 G + 65536 B)')
    image = cv2.imdecode(np.frombuffer(data, np.uint8), _READ_FLAGS)
    if image is None:
        raise ValueError(f'panoptic PNG {path} is damaged; write or download it again')
    # One 32-bit word per pixel whose bytes are R, G, B, alpha is the id once alpha is masked out:
    # four times faster than arithmetic on the channels.
    ids = cv2.cvtColor(image, _TO_RGBA).view('<i4')[..., 0]
    ids &= 0xFFFFFF
    return ids.astype(np.int32, copy=False)


def write_panoptic_png(path: Union[str, Path], ids: np.ndarray) -> None:
    """Write segment ids [H, W], 0 .. 2**24 - 1, as a panoptic PNG; makes missing folders."""
    image = np.ascontiguousarray(id2rgb(ids)[..., ::-1])
    _, data = cv2.imencode('.png', image, _PNG_SETTINGS)
    fileio.put(data.tobytes(), path)
