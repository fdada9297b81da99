"""Pictures beside a page."""
from pathlib import Path

import cv2
import numpy as np

from mmpanseg.utils.atomic_files import result_file

# longest side in pixels of the pictures on cards
SMALL_SIDE = 480
_QUALITY = 88


def write_jpeg(path: Path, picture: np.ndarray) -> None:
    """Write a picture in a quality for screens, in a quarter of the size of :func:`imwrite`'s.

    Args:
        path: of the file.
        picture: uint8 RGB [H, W, 3].

    Raises:
        FileWriteError: the file cannot be written.
    """
    _, data = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    with result_file(path) as part:
        part.write_bytes(data.tobytes())
