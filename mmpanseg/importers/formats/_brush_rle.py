"""The run lengths of Label Studio's brush: a stream of bits, the highest bit of a byte first.

A header has the number of values (32 bits), the bits of a value - 1 (5 bits), and four widths - 1
(4 bits each). Packets follow until all values are there: a flag for repetition (1 bit), the index
of a width (2 bits), a count - 1 (as many bits as that width), and one value to be repeated or as
many values as the count. Values are red, green, blue, alpha of each pixel along the rows.
"""
from collections.abc import Sequence

import numpy as np

_HEADER_BITS = 32 + 5 + 4 * 4


def decode_brush(data: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Decode a brush mask.

    Args:
        data: bytes, 0 .. 255.
        size: (H, W) of the image in pixels.

    Returns:
        bool [H, W]: pixels whose alpha is more than half of the largest one; a stroke has soft
        borders.

    Raises:
        ValueError: the data end early or are of another size.
    """
    bits = np.unpackbits(np.asarray(data, np.uint8))
    text = (bits + ord('0')).tobytes().decode()
    if len(text) < _HEADER_BITS:
        raise ValueError('the run lengths are empty')
    total, value_bits = int(text[:32], 2), int(text[32:37], 2) + 1
    widths = [int(text[37 + 4 * k:41 + 4 * k], 2) + 1 for k in range(4)]
    if total != size[0] * size[1] * 4:
        raise ValueError(f'the run lengths have {total} values, {size[1]}x{size[0]} pixels have '
                         f'{size[0] * size[1] * 4}')
    values = np.zeros(total, np.uint32)
    powers = 1 << np.arange(value_bits - 1, -1, -1, dtype=np.uint32)
    place, done = _HEADER_BITS, 0
    while done < total:
        repeated, width = text[place:place + 1] == '1', text[place + 1:place + 3]
        if len(width) < 2:
            raise ValueError(f'the run lengths end after {done} of {total} values')
        start = place + 3 + widths[int(width, 2)]
        number = text[place + 3:start]
        count = (int(number, 2) if number else 0) + 1
        place = start + value_bits * (1 if repeated else count)
        if place > len(text) or done + count > total:
            raise ValueError(f'the run lengths end after {done} of {total} values')
        read = bits[start:place].reshape(-1, value_bits) @ powers
        values[done:done + count] = read
        done += count
    alpha = values[3::4].reshape(size)
    return alpha * 2 > alpha.max(initial=0)
