"""labelme: one JSON beside each image, with polygons, rectangles, circles and masks.

Later shapes cover earlier ones. labelme shows and annotates images after their EXIF orientation.
"""
from pathlib import Path
from typing import Any

import numpy as np

from mmpanseg.importers.reader import Reader, ReadOptions
from mmpanseg.importers.shapes import box_polygon, ellipse_polygon, keep_area, to_number, to_points
from mmpanseg.importers.source_files import (
    EmbeddedImages,
    ImageFinder,
    decode_base64,
    decode_mask_png,
    paste_mask,
    read_json,
    read_lines,
    upright_size,
)
from mmpanseg.importers.source_image import (
    ImageContent,
    LeftOut,
    SourceClass,
    SourceError,
    SourceImage,
    SourceObject,
)

# labels of labelme's own examples for pixels that are not labeled
VOID_LABELS = ('__ignore__', '_background_')
# flags of a shape that mark a group of objects
CROWD_FLAGS = ('iscrowd', 'is_crowd', 'crowd')


class LabelmeReader(Reader):
    """Reads a folder of labelme's JSON files; ``labels.txt`` in it defines the order of classes.

    Shapes with one ``group_id`` and one label are one object. A shape with the flag ``crowd`` or
    ``iscrowd`` is a group of objects. An image that is not found is taken from ``imageData``.
    """

    options = ('images', )
    ordered = True
    upright = True

    def __init__(self, src: Path, options: ReadOptions) -> None:
        super().__init__(src, options)
        if not src.is_dir():
            raise SourceError(f'{src} is no folder; give the folder with the JSON files of labelme')
        self._labels: set[str] = set()

    def list_images(self) -> list[SourceImage]:
        files = [path for path in sorted(self.src.rglob('*'))
                 if path.suffix.lower() == '.json' and not path.name.startswith('.')]
        finder = ImageFinder(filter(None, (self.read_options.images, self.src)))
        embedded = EmbeddedImages(self.scratch)
        images: dict[str, SourceImage] = {}
        others: list[Path] = []
        for path in files:
            content = read_json(path)
            if not _is_labelme(content):
                others.append(path)
                continue
            image = self._image(path, content, finder, embedded)
            other = images.setdefault(image.name, image)
            if other is not image:
                raise SourceError(f'{path} and {other.data} both annotate the image {image.name}; '
                                  'remove one of them')
            self._labels.update(
                shape['label'] for shape in content['shapes']
                if isinstance(shape, dict) and isinstance(shape.get('label'), str))
        if not images:
            raise SourceError(f'{self.src}: no JSON file of labelme (with "shapes" and '
                              '"imagePath") in it or in its subfolders')
        if others:
            self.notes.append(f'left out {len(others)} JSON files that are not labelme\'s (first: '
                              f'{others[0]})')
        annotated = {image.path for image in images.values()}
        without = sum(path not in annotated for path in finder.paths())
        if without:
            self.notes.append(f'{without} images have no JSON file and are left out; save a file '
                              'without shapes for images that show no object')
        return list(images.values())

    def list_classes(self) -> list[SourceClass]:
        file = self.src / 'labels.txt'
        order = read_lines(file) if file.is_file() else []
        names = dict.fromkeys([*order, *sorted(self._labels)])
        return [SourceClass(name) for name in names if name not in VOID_LABELS]

    def read_image(self, image: SourceImage) -> ImageContent:
        content = read_json(image.data)
        result = ImageContent([], None, [])
        for number, shape in enumerate(content['shapes'], 1):
            where = f'{image.data}, shape {number}'
            if not isinstance(shape, dict) or not isinstance(shape.get('label'), str) or not (
                    shape['label']):
                raise SourceError(f'{where}: it has no label; give it one in labelme')
            where += f' ({shape["label"]})'
            if shape['label'] in VOID_LABELS:
                result.left_out.append(LeftOut(f'shape with the label {shape["label"]}', where))
                continue
            group = shape.get('group_id')
            if not isinstance(group, (int, str, type(None))):
                raise SourceError(f'{where}: its group_id must be a number, got {group!r}')
            mask = _mask_of(shape, image, where, result.left_out)
            if mask is not None:
                flags = shape.get('flags')
                result.objects.append(SourceObject(
                    shape['label'], **mask, name=f'shape {number}',
                    instance=group,
                    is_crowd=isinstance(flags, dict) and any(flags.get(name) is True
                                                             for name in CROWD_FLAGS)))
        return result

    def _image(self, path: Path, content: dict, finder: ImageFinder,
               embedded: EmbeddedImages) -> SourceImage:
        name = content.get('imagePath')
        relative = path.relative_to(self.src)
        size = _size(content, path)
        found = None
        if isinstance(name, str) and name:
            # the folder of the JSON is where the image usually lies
            found = finder.find(f'{relative.parent.as_posix()}/{name}')
        found = found or finder.find(relative.as_posix())
        if found is not None:
            return SourceImage(finder.relative(found), found, size, data=path)
        if not content.get('imageData'):
            raise SourceError(f'{path}: its image {name or path.stem} is not in {self.src}; give '
                              'the folder of the images with --images')
        where = f'{path}: imageData'
        file = embedded.write(decode_base64(content['imageData'], where), where)
        return SourceImage(relative.with_suffix(file.suffix).as_posix(), file, size, data=path)


def _is_labelme(content: Any) -> bool:
    return (isinstance(content, dict) and isinstance(content.get('shapes'), list)
            and ('imagePath' in content or 'imageData' in content))


def _size(content: dict, path: Path) -> tuple[int, int] | None:
    height, width = content.get('imageHeight'), content.get('imageWidth')
    if height is None or width is None:
        return None
    return (int(to_number(height, f'{path}: imageHeight')),
            int(to_number(width, f'{path}: imageWidth')))


def _mask_of(shape: dict, image: SourceImage, where: str,
             left_out: list[LeftOut]) -> dict[str, Any] | None:
    """Return the mask of a shape as an argument of :class:`SourceObject`; None if it has none."""
    kind = shape.get('shape_type') or 'polygon'
    if kind not in ('polygon', 'rectangle', 'circle', 'mask', 'oriented_rectangle', 'rotation'):
        left_out.append(LeftOut(f'shape of type {kind}, which has no area here', where))
        return None
    points = to_points(shape.get('points'), where)
    if kind == 'mask':
        return dict(mask=_bitmap(shape, points, image, where))
    if kind == 'circle':
        if len(points) != 2:
            raise SourceError(f'{where}: a circle has 2 points, its center and one on its border, '
                              f'not {len(points)}')
        radius = float(np.hypot(*(points[1] - points[0])))
        x, y = points[0].tolist()
        points = ellipse_polygon(x, y, radius, radius)
    elif kind == 'rectangle' and len(points) != 4:
        if len(points) != 2:
            raise SourceError(f'{where}: a rectangle has 2 points, two opposite corners, not '
                              f'{len(points)}')
        points = box_polygon(*points[0], *points[1])
    return dict(polygons=[points]) if keep_area(points, where, left_out.append) else None


def _bitmap(shape: dict, points: np.ndarray, image: SourceImage, where: str) -> np.ndarray:
    """Return the mask of a shape of type mask: an image within a box of whole pixels."""
    if len(points) != 2 or not shape.get('mask'):
        raise SourceError(f'{where}: a mask has 2 points and an image "mask"')
    mask = decode_mask_png(decode_base64(shape['mask'], f'{where}: its mask'), f'{where}: its mask')
    left, top = np.floor(points.min(0)).astype(int).tolist()
    # both corners are pixels of the mask
    width, height = (np.floor(points.max(0)).astype(int) + 1 - (left, top)).tolist()
    if abs(mask.shape[0] - height) > 1 or abs(mask.shape[1] - width) > 1:
        raise SourceError(f'{where}: its mask is {mask.shape[1]}x{mask.shape[0]} pixels, its box '
                          f'{width}x{height}')
    return paste_mask(mask, left, top, image.size or upright_size(image.path))


READER = LabelmeReader
