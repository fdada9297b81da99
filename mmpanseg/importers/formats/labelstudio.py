"""Label Studio: the export "JSON", with polygons, rectangles, ellipses and brush masks.

Coordinates are percent of the upright image. Without an order, smaller objects cover larger ones.
"""
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from mmpanseg.importers.formats._brush_rle import decode_brush
from mmpanseg.importers.image_folder import list_files
from mmpanseg.importers.reader import Reader, ReadOptions
from mmpanseg.importers.shapes import (
    box_polygon,
    ellipse_polygon,
    keep_area,
    rotate,
    to_number,
    to_points,
)
from mmpanseg.importers.source_files import EmbeddedImages, ImageFinder, decode_base64, read_json
from mmpanseg.importers.source_image import (
    ImageContent,
    LeftOut,
    SourceClass,
    SourceError,
    SourceImage,
    SourceObject,
)
from mmpanseg.structures.image_file import IMAGE_SUFFIXES

_AREAS = ('polygon', 'rectangle', 'ellipse', 'brush')
# results about the whole image
_ABOUT_IMAGE = ('choices', 'textarea', 'rating', 'number', 'datetime', 'taxonomy', 'pairwise',
                'ranker', 'relation')
# an uploaded file gets eight digits before its name
_UPLOAD_PREFIX = re.compile(r'^[0-9a-f]{8}-')


class LabelStudioReader(Reader):
    """Reads the file of an export, or a folder that contains it.

    Of several annotations of a task the last one counts that is not cancelled; tasks without any
    are left out. Images are found by the ends of their URLs, with or without the prefix of an
    upload.
    """

    options = ('images', )
    upright = True

    def __init__(self, src: Path, options: ReadOptions) -> None:
        super().__init__(src, options)
        self._labels: set[str] = set()

    def list_images(self) -> list[SourceImage]:
        folder = self.src if self.src.is_dir() else self.src.parent
        files = [self.src] if self.src.is_file() else list_files(self.src, ('.json', ))
        finder = ImageFinder(filter(None, (self.read_options.images, folder / 'images', folder)))
        embedded = EmbeddedImages(self.scratch)
        images: dict[str, SourceImage] = {}
        unlabeled, several, tasks = 0, 0, 0
        for file in files:
            for task in _tasks(read_json(file), file):
                tasks += 1
                where = f'{file}, task {task.get("id", tasks)}'
                annotations = _finished(task, where)
                several += len(annotations) > 1
                if not annotations:
                    unlabeled += 1
                    continue
                image = self._image(task, annotations[-1], where, finder, embedded)
                if images.setdefault(image.name, image) is not image:
                    raise SourceError(f'{where}: another task has the image {image.name}, too; '
                                      'export the project without one of them')
                self._labels.update(label for item in annotations[-1]
                                    if (label := _label(item)))
        if not tasks:
            raise SourceError(f'{self.src}: no export "JSON" of Label Studio in it')
        if unlabeled:
            self.notes.append(f'{unlabeled} of {tasks} tasks have no annotation or a cancelled '
                              'one, and are left out')
        if several:
            self.notes.append(f'{several} tasks have several annotations, of which the last one is '
                              'used')
        if not images:
            raise SourceError(f'{self.src}: none of its {tasks} tasks has an annotation')
        return list(images.values())

    def list_classes(self) -> list[SourceClass]:
        return [SourceClass(name) for name in sorted(self._labels)]

    def read_image(self, image: SourceImage) -> ImageContent:
        where, results = image.data
        content = ImageContent([], None, [])
        for number, item in enumerate(results, 1):
            what = f'{where}, result {item.get("id", number)}'
            kind = _kind(item)
            if kind is None:
                continue
            label = _label(item)
            if kind not in _AREAS:
                content.left_out.append(LeftOut(f'result of type {item.get("type")}, which has no '
                                                'area here', what))
            elif label is None:
                # the same region with its label is a result of its own
                if not any(other is not item and other.get('id') == item.get('id')
                           and _label(other) for other in results):
                    content.left_out.append(LeftOut('region without a label', what))
            else:
                mask = _mask_of(kind, item, image.size, f'{what} ({label})', content.left_out)
                if mask is not None:
                    content.objects.append(SourceObject(
                        label, **mask, name=f'result {item.get("id", number)}'))
        return content

    def _image(self, task: dict, results: list[dict], where: str, finder: ImageFinder,
               embedded: EmbeddedImages) -> SourceImage:
        address = _address(task, where)
        if address.startswith('data:'):
            path = embedded.write(decode_base64(address.partition(',')[2], f'{where}: its image'),
                                  f'{where}: its image')
            name = f'task_{task.get("id", "")}{path.suffix}'
        else:
            names = list(_file_names(address, task))
            found = next((file for name in names if (file := finder.find(name))), None)
            if found is None:
                raise SourceError(f'{where}: its image {names[0]} is in none of the folders '
                                  f'{", ".join(map(str, finder.roots))}; give the folder of the '
                                  'images with --images')
            path, name = found, finder.relative(found)
        return SourceImage(name, path, _size(results, where), data=(where, results))


def _tasks(content: Any, path: Path) -> list[dict]:
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise SourceError(f'{path}: no export of Label Studio, which is a list of tasks')
    for item in content:
        if 'data' not in item or not any(key in item for key in ('annotations', 'completions')):
            raise SourceError(f'{path}: its tasks have no "data" and "annotations"; export the '
                              'project as "JSON", not as "JSON-MIN"')
    return content


def _finished(task: dict, where: str) -> list[list[dict]]:
    """Return the results of each annotation that is not cancelled, the last one last."""
    found = task['annotations'] if 'annotations' in task else task['completions']
    if not isinstance(found, list) or not all(
            isinstance(item, dict) and isinstance(item.get('result'), list)
            and all(isinstance(part, dict) for part in item['result']) for item in found):
        raise SourceError(f'{where}: its annotations must be a list with a list "result" in each')
    kept = [item for item in found if not item.get('was_cancelled') and not item.get('skipped')]
    # dates of one form can be compared as text
    kept.sort(key=lambda item: str(item.get('updated_at') or item.get('created_at') or ''))
    return [item['result'] for item in kept]


def _kind(item: dict) -> str | None:
    """Return the kind of a region, e.g. ``polygon``; None for what is about the whole image."""
    kind = str(item.get('type', ''))
    value = item.get('value')
    if kind in _ABOUT_IMAGE or not isinstance(value, dict):
        return None
    if kind in ('labels', 'choices'):
        # labels of a region, with its shape
        return next((name for name, key in (('polygon', 'points'), ('brush', 'rle'),
                                            ('ellipse', 'radiusX'), ('rectangle', 'width'))
                     if key in value), None)
    return kind.removesuffix('labels')


def _label(item: dict) -> str | None:
    """Return the first label of a region."""
    value = item.get('value')
    if not isinstance(value, dict) or _kind(item) not in _AREAS:
        return None
    labels = value.get(str(item.get('type'))) or value.get('labels')
    return labels[0] if isinstance(labels, list) and labels and isinstance(labels[0], str) else None


def _address(task: dict, where: str) -> str:
    """Return path or URL of the image of a task."""
    data = task['data']
    if isinstance(data, str):
        return data
    values = [value for value in data.values() if isinstance(value, str)] if isinstance(
        data, dict) else []
    for value in values:
        if value.startswith('data:image/') or any(
                name.lower().endswith(IMAGE_SUFFIXES) for name in _file_names(value, {})):
            return value
    if isinstance(data, dict) and any(isinstance(value, list) for value in data.values()):
        raise SourceError(f'{where}: it has several images; each task must have one')
    if values:
        return str(data.get('image') or values[0])
    raise SourceError(f'{where}: its "data" names no image')


def _file_names(address: str, task: dict) -> Iterator[str]:
    """Yield the names that the file of an address may have, the likeliest first."""
    parts = urlsplit(address.replace('\\', '/'))
    # /data/local-files/?d=folder/a.jpg
    local = parse_qs(parts.query).get('d')
    name = local[0] if local else unquote(parts.path)
    folder, _, last = name.rpartition('/')
    yield name
    if _UPLOAD_PREFIX.match(last):
        yield f'{folder}/{_UPLOAD_PREFIX.sub("", last)}'
    upload = task.get('file_upload')
    if isinstance(upload, str) and upload:
        yield upload
        yield _UPLOAD_PREFIX.sub('', upload.rpartition('/')[2])


def _size(results: list[dict], where: str) -> tuple[int, int] | None:
    """Return (H, W) of the annotated image."""
    for item in results:
        if item.get('image_rotation'):
            raise SourceError(f'{where}: its image was rotated by {item["image_rotation"]} degrees '
                              'in Label Studio; rotate the file and label it again')
        height, width = item.get('original_height'), item.get('original_width')
        if height is not None and width is not None:
            return (int(to_number(height, f'{where}: original_height')),
                    int(to_number(width, f'{where}: original_width')))
    return None


def _mask_of(kind: str, item: dict, size: tuple[int, int] | None, where: str,
             left_out: list[LeftOut]) -> dict[str, Any] | None:
    """Return the mask of a region as an argument of :class:`SourceObject`; None if it has none."""
    if size is None:
        raise SourceError(f'{where}: original_width and original_height are missing')
    scale = np.array([size[1], size[0]]) / 100
    value = item['value']

    def number(key: str, default: float | None = None) -> float:
        return to_number(value.get(key, default), f'{where}: {key}')

    if kind == 'brush':
        try:
            return dict(mask=decode_brush(value.get('rle') or (), size))
        except (TypeError, ValueError, OverflowError) as error:
            raise SourceError(f'{where}: its brush mask is damaged: {error}; export it again'
                              ) from None
    if kind == 'polygon':
        points = to_points(value.get('points'), where) * scale
    elif kind == 'ellipse':
        points = ellipse_polygon(number('x') * scale[0], number('y') * scale[1],
                                 abs(number('radiusX')) * scale[0],
                                 abs(number('radiusY')) * scale[1], number('rotation', 0))
    else:
        left, top = number('x') * scale[0], number('y') * scale[1]
        points = box_polygon(left, top, left + number('width') * scale[0],
                             top + number('height') * scale[1])
        # the upper left corner stays where it is
        points = rotate(points, number('rotation', 0), (left, top))
    return dict(polygons=[points]) if keep_area(points, where, left_out.append) else None


READER = LabelStudioReader
