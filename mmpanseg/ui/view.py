"""What the browser gets to draw a result: a map of segments, and a list of them."""
import base64
from typing import Any

import cv2
import numpy as np

from mmpanseg.results.flat_map import flatten
from mmpanseg.structures.segment_grids import resize_nearest
from mmpanseg.ui.session import Session
from mmpanseg.visualization.color import Color, generate_palette
from mmpanseg.visualization.panoptic import DrawnSegment, segment_colors

# longest side in pixels of what a browser draws; downloads have the size of the image
VIEW_SIDE = 1600
JPEG_QUALITY = 92


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """Encode a picture, no larger than a browser draws it.

    Args:
        pixels: uint8 RGB [H, W, 3].
    """
    size = view_size(pixels.shape[:2])
    if size != pixels.shape[:2]:
        pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    return cv2.imencode('.jpg', cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR),
                        (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()


def view_size(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) at which an image of a size is drawn.

    Args:
        size: (H, W) in pixels.
    """
    factor = min(1.0, VIEW_SIDE / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def frame_view(session: Session, number: int = 0) -> dict[str, Any]:
    """Describe a result for the browser.

    Args:
        session: of the page.
        number: of the frame in a video.

    Returns:
        ``size`` [H, W] of the image; ``image`` and ``files``, addresses of the image and of the
        files; ``map``, a PNG as data address whose red and green bytes are low and high byte of
        the position in ``segments`` plus 1, 0 for void; ``segments``, dict(id, label, score or
        None, area, color); ``classes``, dict(name, color, thing) of each label; ``frames``, the
        number of frames, ``frame`` and ``rate``.
    """
    frame = session.frames[number]
    result = frame.result
    ids, segments = flatten(result)
    size = view_size(result.size)
    if size != result.size:
        ids = resize_nearest(ids, size)
    palette = result.palette or generate_palette(len(result.classes))
    shaded = result.tasks[:1] != ('semantic', )
    colors: dict[int, Color] = frame.colors or segment_colors(ids, [
        DrawnSegment(one.id, one.label, one.is_thing and shaded, one.score)
        for one in segments], palette)
    table = np.zeros(max([0, *(one.id for one in segments), int(ids.max(initial=0))]) + 1,
                     np.uint16)
    for position, one in enumerate(segments):
        table[one.id] = position + 1
    place = f'app/page/{session.token}/{session.version}'
    return dict(
        size=list(result.size), image=f'{place}/image/{number}.jpg', files=f'{place}/files',
        views=f'{place}/frame', map=_encode_map(table[ids]), name=session.name,
        segments=[dict(id=one.id, label=one.label, area=one.area, color=_hex(colors[one.id]),
                       score=None if one.score is None else round(one.score, 4))
                  for one in segments],
        classes=[dict(name=name, color=_hex(color), thing=label < result.num_things)
                 for label, (name, color) in enumerate(zip(result.classes, palette))],
        frame=number, frames=len(session.frames), rate=session.rate)


def _encode_map(positions: np.ndarray) -> str:
    """PNG of a map uint16 [h, w] as data address."""
    channels = np.zeros((*positions.shape, 3), np.uint8)  # blue, green, red
    channels[..., 2], channels[..., 1] = positions & 255, positions >> 8
    png = cv2.imencode('.png', channels, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1]
    return f'data:image/png;base64,{base64.b64encode(png.tobytes()).decode()}'


def _hex(color: Color) -> str:
    return '#' + ''.join(f'{int(value):02x}' for value in color)
