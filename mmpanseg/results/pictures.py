"""Pictures of results: drawing, windows, files, thumbnails."""
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from mmpanseg.results.flat_map import flatten
from mmpanseg.results.segment import Segment
from mmpanseg.structures.panoptic_png import write_panoptic_png
from mmpanseg.structures.result_file_names import PICTURE_ENDINGS
from mmpanseg.structures.segment_grids import resize_nearest
from mmpanseg.utils.atomic_files import result_file
from mmpanseg.visualization.color import Color
from mmpanseg.visualization.palettes import PaletteLike
from mmpanseg.visualization.panoptic import DrawnSegment, draw_panoptic
from mmpanseg.visualization.panoptic_visualizer import require_display
from mmpanseg.visualization.picture_files import write_picture
from mmpanseg.visualization.styles import MASK, TRANSPARENT

if TYPE_CHECKING:
    from mmpanseg.results.result import Result

# longer side in pixels of the picture in a notebook
_THUMBNAIL = 800
_CONTENTS = ('picture', 'json', 'panoptic', 'semantic')


def draw(result: 'Result', min_score: float = 0.3, max_side: int | None = None,
         colors: Mapping[int, Color] | None = None, palette: PaletteLike | None = None,
         **options: Any) -> np.ndarray:
    """Draw a result.

    Args:
        result: with an image.
        min_score: things with a lower score are left out.
        max_side: pictures with a longer side of more pixels are drawn smaller.
        colors: id of a segment -> its RGB color.
        palette: in place of the result's.
        options: of :func:`draw_panoptic`.

    Returns:
        uint8 RGB [H', W', 3], or RGBA for a transparent picture.

    Raises:
        ValueError: there is no image, or one of another size; or an option is invalid.
    """
    # colors without an image need none
    image = (np.zeros((*result.size, 3), np.uint8)
             if options.get('style') in (MASK, TRANSPARENT) else result._picture.need())
    ids, segments = flatten(result, min_score)
    if max_side is not None and max_side < max(result.size):
        height, width = (max(1, round(side * max_side / max(result.size))) for side in result.size)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        ids = resize_nearest(ids, (height, width))
    if result.panoptic_map is not None:
        ids, codes = _drawing_order(ids, segments)
    else:
        codes = [segment.id for segment in segments]
    # classes of a semantic map are drawn without shades of instances
    shaded = result.tasks[:1] != ('semantic', )
    drawn = [DrawnSegment(code, segment.label, segment.is_thing and shaded, segment.score)
             for code, segment in zip(codes, segments)
             if not segment.is_thing or segment.score is None or segment.score >= min_score]
    chosen = {code: colors[segment.id] for code, segment in zip(codes, segments)
              if segment.id in colors} if colors else None
    return draw_panoptic(image, ids, drawn, result.classes, palette, colors=chosen,
                         base_palette=result.palette, **options)


def show(result: 'Result', **options: Any) -> None:
    """Show a picture in a window, see :meth:`Result.show`."""
    require_display()
    from matplotlib import pyplot
    picture = _plot(result, options)
    figure = pyplot.figure(result.file_name or result.path or 'result')
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture)
    axes.axis('off')
    pyplot.show()


def save(result: 'Result', path: Path, content: str | None, **options: Any) -> None:
    """Write a result to a file, see :meth:`Result.save`."""
    ending = path.suffix.lower()
    if content is None:
        content = 'json' if ending == '.json' else 'picture'
    if content not in _CONTENTS:
        raise ValueError(f'content is one of {", ".join(_CONTENTS)}, not {content!r}')
    endings = {'json': ('.json', ), 'picture': PICTURE_ENDINGS}.get(content, ('.png', ))
    if ending not in endings:
        raise ValueError(f'{path}: a file of content {content!r} ends in {", ".join(endings)}'
                         + (', or .json for a result' if content == 'picture' else ''))
    if options and content != 'picture':
        raise ValueError(f'{", ".join(options)}: options of drawings have no effect on content '
                         f'{content!r}; leave them out')
    if content == 'picture':
        write_picture(path, _plot(result, options))
    elif content == 'json':
        text = result.to_json()
        with result_file(path) as part:
            part.write_text(text, encoding='utf-8')
    elif content == 'panoptic':
        write_panoptic_png(path, flatten(result)[0])
    else:
        labels = result.semantic_map
        if labels is None:
            raise ValueError(f'{path}: the result has no semantic map; predict one, or save the '
                             "content 'panoptic'")
        kind = np.uint8 if len(result.classes) <= 255 else np.uint16
        values = np.where(labels < 0, np.iinfo(kind).max, labels).astype(kind)
        with result_file(path) as part:
            Image.fromarray(values).save(part)


def _plot(result: 'Result', options: dict[str, Any]) -> np.ndarray:
    """Draw a result, with ``truth`` among the options beside its ground truth."""
    return result.compare(**options) if 'truth' in options else result.plot(**options)


def thumbnail(result: 'Result') -> bytes | None:
    """Draw a small picture, as PNG; None if the image is missing or cannot be read."""
    try:
        result._picture.need()
    except (OSError, ValueError):
        return None
    picture = draw(result, max_side=_THUMBNAIL, min_side=0)
    return cv2.imencode('.png', np.ascontiguousarray(picture[..., ::-1]))[1].tobytes()


def _drawing_order(ids: np.ndarray, segments: list[Segment]) -> tuple[np.ndarray, list[int]]:
    """Number the segments of a panoptic map in the order of mmdet's coding.

    Stuff by label, void, things: where a picture is enlarged, of two segments with equal shares of
    a pixel the first one gets it.

    Returns:
        the map, and the number of each segment.
    """
    rank = sorted(range(len(segments)), key=lambda k: (
        segments[k].is_thing, k if segments[k].is_thing else segments[k].label))
    void = sum(not segment.is_thing for segment in segments)
    codes = [0] * len(segments)
    table = np.full(max([0, int(ids.max(initial=0))]) + 1, void, np.int32)
    for number, k in enumerate(rank):
        codes[k] = number + (number >= void)
        table[segments[k].id] = codes[k]
    return table[ids], codes
