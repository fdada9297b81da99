"""Example images, drawn by the generator of the demo scenes."""
from functools import cache

import cv2
import numpy as np

from mmpanseg.datasets.scenes.generator import make_scene
from mmpanseg.ui.view import encode_jpeg

# seeds of scenes with things of several classes that overlap
_SEEDS = (16, 8, 22, 11)
SIZE = (480, 640)
COUNT = len(_SEEDS)


@cache
def example(number: int) -> bytes:
    """Draw an example image, as PNG.

    Args:
        number: 0 .. COUNT - 1.

    Raises:
        IndexError: there is no such example.
    """
    if not 0 <= number < COUNT:
        raise IndexError(f'there is no example {number}')
    image, _, _ = make_scene(np.random.default_rng(_SEEDS[number]), SIZE)
    return cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


@cache
def thumbnail(number: int) -> bytes:
    """Draw an example image in small, as JPEG.

    Args:
        number: see :func:`example`.
    """
    pixels = cv2.imdecode(np.frombuffer(example(number), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    small = cv2.resize(pixels, (SIZE[1] // 3, SIZE[0] // 3), interpolation=cv2.INTER_AREA)
    return encode_jpeg(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
