"""Results in COCO's formats."""
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from mmpanseg.results.flat_map import flatten
from mmpanseg.structures.map_segments import find_segments
from mmpanseg.structures.panoptic_png import id2rgb

if TYPE_CHECKING:
    from mmpanseg.results.result import Result


def export_id(result: 'Result') -> int | str:
    """Choose the id of the image, see :meth:`Result.export_id`."""
    if result.image_id is not None:
        return result.image_id
    stem = _image_name(result).stem
    return int(stem) if stem.isdecimal() else stem or 0


def to_coco_panoptic(result: 'Result', image_id: int | str | None,
                     file_name: str | None) -> tuple[np.ndarray, dict]:
    """Convert to COCO's panoptic format, see :meth:`Result.to_coco_panoptic`."""
    ids, segments = flatten(result)
    found = find_segments(ids)
    # hidden parts of instances do not count
    place = {number: k for k, number in enumerate(found.ids.tolist())}
    infos = []
    for segment in segments:
        x1, y1, x2, y2 = found.boxes[place[segment.id]].tolist()
        info = dict(id=segment.id, category_id=result.category_ids[segment.label],
                    area=int(found.areas[place[segment.id]]), bbox=[x1, y1, x2 - x1, y2 - y1],
                    iscrowd=0)
        infos.append(info if segment.score is None else dict(info, score=segment.score))
    number = export_id(result) if image_id is None else image_id
    name = file_name or f'{_image_name(result).stem or number}.png'
    return id2rgb(ids), dict(image_id=number, file_name=name, segments_info=infos)


def to_coco_instances(result: 'Result', image_id: int | str | None) -> list[dict]:
    """Convert to COCO's result format, see :meth:`Result.to_coco_instances`."""
    segments = result.instances
    if segments is None:
        segments = [segment for segment in result.segments if segment.is_thing]
    number = export_id(result) if image_id is None else image_id
    # no bbox: pycocotools would take its area for that of the mask, and computes it itself
    return [dict(image_id=number, category_id=result.category_ids[segment.label],
                 score=1.0 if segment.score is None else segment.score,
                 segmentation=segment.rle()) for segment in segments]


def _image_name(result: 'Result') -> PurePosixPath:
    """File name of the image; an empty path without one."""
    name = result.file_name or result.path or ''
    if '://' in name:
        name = urlsplit(name).path
    return PurePosixPath(name.replace('\\', '/').rstrip('/').rpartition('/')[2])
