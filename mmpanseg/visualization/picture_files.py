"""Writing of pictures."""
from pathlib import Path

import mmcv
import numpy as np

from mmpanseg.utils.atomic_files import result_file


def write_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write a picture; a full disk leaves no part of it.

    Args:
        path: of the file, whose ending selects the format; missing folders are created.
        picture: uint8 RGB [H, W, 3].

    Raises:
        OSError: the file cannot be written; it names the file.
    """
    with result_file(path) as part:
        mmcv.imwrite(picture[..., ::-1], str(part))
