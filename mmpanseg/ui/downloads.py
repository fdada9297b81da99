"""Files that a page offers, made in memory when they are asked for."""
import io
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np

from mmpanseg.results import Result
from mmpanseg.results.labelme import to_labelme
from mmpanseg.ui.session import Frame, Session
from mmpanseg.utils import strict_json
from mmpanseg.video import video_file

# kind of a file -> its type; the ending is that of the kind's name
KINDS = {'picture.png': 'image/png', 'coco.zip': 'application/zip',
         'polygons.json': 'application/json', 'video.mp4': 'video/mp4'}


def make_file(session: Session, kind: str, number: int = 0, hidden: Collection[int] = (),
              alpha: float = 0.55, names: bool = True) -> bytes:
    """Make a file of what a page shows.

    Args:
        session: of the page.
        kind: one of :data:`KINDS`.
        number: of the frame.
        hidden: labels of classes that are switched off.
        alpha: opacity of the colors, 0..1.
        names: write class names on pictures.

    Returns:
        content of the file.

    Raises:
        KeyError: there is no such kind, or no such frame.
    """
    if kind not in KINDS or not 0 <= number < len(session.frames):
        raise KeyError(kind)
    if kind == 'video.mp4':
        return _video(session, hidden, alpha, names)
    frame = session.frames[number]
    result = _shown(frame.result, hidden)
    if kind == 'picture.png':
        return encode_png(_picture(frame, result, alpha, names))
    result.file_name = result.file_name or session.name
    if kind == 'coco.zip':
        return _coco(result)
    return strict_json.dumps(to_labelme(result, session.name)).encode()


def file_name(session: Session, kind: str, number: int = 0) -> str:
    """Name under which a browser saves a file.

    Args:
        session: of the page.
        kind: one of :data:`KINDS`.
        number: of the frame.
    """
    frame = f'_{number:04d}' if len(session.frames) > 1 and kind != 'video.mp4' else ''
    return f'{Path(session.name).stem or "image"}{frame}_{kind}'


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode a picture uint8 RGB [H, W, 3]."""
    return cv2.imencode('.png', cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def _shown(result: Result, hidden: Collection[int]) -> Result:
    """The result without the classes that are switched off."""
    return result.filter(classes=[
        label for label in range(len(result.classes)) if label not in hidden])


def _picture(frame: Frame, result: Result, alpha: float, names: bool,
             min_side: int = 800) -> np.ndarray:
    if result.image is None:
        result.image = frame.pixels()
    return result.plot(alpha=alpha, with_labels=names, min_score=0, colors=frame.colors,
                       min_side=min_side)


def _coco(result: Result) -> bytes:
    """Archive with COCO's panoptic format (JSON and PNG), and its format of instances."""
    png, annotation = result.to_coco_panoptic()
    image = dict(id=annotation['image_id'], file_name=result.file_name or '',
                 height=result.size[0], width=result.size[1])
    files = {
        'panoptic.json': strict_json.dumps(dict(
            images=[image], categories=result.categories, annotations=[annotation])).encode(),
        f'panoptic/{annotation["file_name"]}': encode_png(png),
        'instances.json': strict_json.dumps(result.to_coco_instances()).encode()}
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def _video(session: Session, hidden: Collection[int], alpha: float, names: bool) -> bytes:
    # OpenCV writes files only; the folder is inside that of the server, and is removed at once
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'video.mp4')
        with video_file(path, session.rate) as video:
            for frame in session.frames:
                video.write(_picture(frame, _shown(frame.result, hidden), alpha, names, 0))
        return path.read_bytes()
