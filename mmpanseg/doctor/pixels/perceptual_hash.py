"""A hash of images that look-alikes share nearly all bits of (pHash, Zauner 2010)."""
from functools import cache

import numpy as np
from scipy.fft import dct

SIDE = 32
_BITS = 64
# least standard deviation in gray levels of an image with a hash
_CONTRAST = 3.


def perceptual_hash(gray: np.ndarray) -> int | None:
    """Hash an image by the signs of its lowest frequencies against their median.

    Args:
        gray: upright gray image, reduced to [SIDE, SIDE], values in 0 .. 255.

    Returns:
        64 bits; None for an image with too little contrast, whose frequencies are noise.
    """
    gray = np.asarray(gray, np.float64)
    if gray.std() < _CONTRAST:
        return None
    transform, rows, columns = _frequencies()
    low = (transform @ gray @ transform.T)[rows, columns]
    bits = np.packbits(low > np.median(low))
    return int.from_bytes(bits.tobytes(), 'big')


@cache
def _frequencies() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrix of the cosine transform, rows and columns of the lowest frequencies but the mean."""
    transform = dct(np.eye(SIDE), axis=0, norm='ortho')
    row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
    order = np.lexsort((row, row + column))[1:_BITS + 1]
    return transform, row[order], column[order]
