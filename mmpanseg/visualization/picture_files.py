"""Writing of pictures."""
from pathlib import Path

import mmcv
import numpy as np

from mmpanseg.utils.atomic_files import result_file

# formats with an alpha channel
_TRANSPARENT = ('.png', '.webp', '.tif', '.tiff')


def write_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write a picture; a full disk leaves no part of it.

    Args:
        path: of the file, whose ending selects the format; missing folders are created.
        picture: uint8 RGB [H, W, 3], or RGBA [H, W, 4] for PNG, WebP and TIFF.

    Raises:
        ValueError: the format has no transparency.
        OSError: the file cannot be written; it names the file.
    """
    if picture.shape[2] == 4:
        if Path(path).suffix.lower() not in _TRANSPARENT:
            raise ValueError(f'{path}: a transparent picture ends in {", ".join(_TRANSPARENT)}')
        # channels in OpenCV's order
        picture = np.dstack([picture[..., 2::-1], picture[..., 3]])
    else:
        picture = picture[..., ::-1]
    with result_file(path) as part:
        mmcv.imwrite(picture, str(part))
