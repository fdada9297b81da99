"""VOC: JPEGImages, SegmentationClass and SegmentationObject, with palettes or colors.

255 (or white) is unlabeled, and so is 0, the background.
"""
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmpanseg.importers.class_table import find_class_table, read_class_table
from mmpanseg.importers.image_folder import list_files
from mmpanseg.importers.reader import Reader, ReadOptions
from mmpanseg.importers.source_files import ImageFinder, portable, read_lines
from mmpanseg.importers.source_image import (
    ImageContent,
    LeftOut,
    MapSegment,
    SourceClass,
    SourceError,
    SourceImage,
    SourceMap,
)
from mmpanseg.importers.split import known_split

VOC_CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
               'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant',
               'sheep', 'sofa', 'train', 'tvmonitor')
BACKGROUND, VOID = 0, 255
_VOID_NAMES = ('background', '_background_', '__ignore__', 'void')


class VocReader(Reader):
    """Reads a folder with ``SegmentationClass``, also one level below (VOCdevkit).

    Images are those of ``ImageSets/Segmentation``, else all that have a PNG in
    ``SegmentationClass``. Names are those of ``--classes``, ``labelmap.txt`` or
    ``class_names.txt``, and in folders named VOC2007 to VOC2012 the 20 of VOC. An object is a value
    of ``SegmentationObject`` within a class. Pixels of a class without an object are a crowd if the
    image has objects of that class, else one segment.
    """

    options = ('images', 'classes')
    upright = True

    def __init__(self, src: Path, options: ReadOptions) -> None:
        super().__init__(src, options)
        self.folder = _find_folder(src)
        # SegmentationClassPNG is the name in exports of labelme
        self.class_maps = next(self.folder / name for name in _CLASS_FOLDERS
                               if (self.folder / name).is_dir())
        self.object_maps = self.folder / self.class_maps.name.replace('Class', 'Object')
        self.names, self.colors = self._names()

    def list_images(self) -> list[SourceImage]:
        finder = ImageFinder(filter(None, (
            self.read_options.images, self.folder / 'JPEGImages'
            if (self.folder / 'JPEGImages').is_dir() else self.folder / 'images')))
        if not finder.roots:
            raise SourceError(f'{self.folder}: no folder JPEGImages; name the folder of the images '
                              'with --images')
        images = []
        for name, split, file in self._listed():
            path = finder.locate(name, str(file))
            png = self.class_maps / f'{name}.png'
            if not png.is_file():
                raise SourceError(f'{png} does not exist; {file} lists {name}')
            images.append(SourceImage(f'{name}{path.suffix}', path, split=split, data=png))
        if not images:
            raise SourceError(f'{self.class_maps}: no PNG in it, and no list in ImageSets')
        if not self.object_maps.is_dir():
            self.notes.append(f'{self.object_maps} does not exist: each class of an image is one '
                              'segment')
        return images

    def list_classes(self) -> list[SourceClass]:
        colors = {value: color for color, value in self.colors.items()}
        return [SourceClass(name, color=colors.get(value)) for value, name in self.names.items()]

    def read_image(self, image: SourceImage) -> ImageContent:
        classes = self._class_values(image.data)
        objects = np.zeros_like(classes)
        has_objects = (self.object_maps / image.data.relative_to(self.class_maps)).is_file()
        if has_objects:
            file = self.object_maps / image.data.relative_to(self.class_maps)
            objects = _object_values(file)
            if objects.shape != classes.shape:
                raise SourceError(f'{file} is {objects.shape[1]}x{objects.shape[0]}, {image.data} '
                                  f'is {classes.shape[1]}x{classes.shape[0]}: both must have the '
                                  'same size')
        # one id for each pair of class and object
        pairs, ids = np.unique(classes.astype(np.int64) << 32 | objects, return_inverse=True)
        labels, numbers = (pairs >> 32).tolist(), (pairs & 0xffffffff).tolist()
        with_objects = {label for label, number in zip(labels, numbers) if number}
        segments = {}
        for place, (label, number) in enumerate(zip(labels, numbers)):
            if label in (BACKGROUND, VOID) and label not in self.names:
                continue
            if label not in self.names:
                raise SourceError(f'{image.data} has the value {label}, which is none of the '
                                  f'{len(self.names)} classes; give the names with --classes')
            segments[place] = MapSegment(self.names[label],
                                         is_crowd=not number and label in with_objects)
        return ImageContent([], SourceMap(ids.reshape(classes.shape), segments),
                            _mixed(labels, numbers, self.names, image.data))

    def _names(self) -> tuple[dict[int, str], dict[tuple[int, int, int], int]]:
        """Return names by value, and values by color where the maps have colors."""
        file = self.read_options.classes or find_class_table(self.folder)
        if file is None:
            if not self.folder.name.upper().startswith('VOC20'):
                raise SourceError(f'{self.folder}: no labelmap.txt and no class_names.txt; give a '
                                  'file of class names with --classes, "background" first')
            return dict(enumerate(VOC_CLASSES, 1)), {}
        names, colors = {}, {}
        rows = read_class_table(file)
        # lists of labelme begin with __ignore__, whose value is not a label
        first = int(bool(rows) and rows[0].name.lower() == '__ignore__')
        # without "background" the first name is that of the value 1
        if not first and all(row.name.lower() not in _VOID_NAMES for row in rows) and (
                rows[0].value == 0):
            first = -1
        for row in rows:
            value = row.value - first
            if row.name.lower() not in _VOID_NAMES:
                names[value] = row.name
                if row.color is not None:
                    colors[row.color] = value
            elif row.color is not None:
                colors[row.color] = BACKGROUND
        return names, colors

    def _listed(self) -> list[tuple[str, str, Path]]:
        """Return name, split and list of each image."""
        sets = self.folder / 'ImageSets' / 'Segmentation'
        files = sorted(sets.glob('*.txt')) if sets.is_dir() else []
        # trainval is train and val
        known = [file for file in files if known_split(file.stem)] or files[:1]
        if not known:
            return [(png.relative_to(self.class_maps).with_suffix('').as_posix(), '', png)
                    for png in list_files(self.class_maps, ('.png', ))]
        found: dict[str, tuple[str, str, Path]] = {}
        for file in known:
            for line in read_lines(file):
                name = portable(line.split('\t')[0])
                other = found.setdefault(name, (name, known_split(file.stem), file))
                if other[2] != file:
                    raise SourceError(f'{name} is in {other[2]} and in {file}; an image belongs '
                                      'to one split')
        return list(found.values())

    def _class_values(self, path: Path) -> np.ndarray:
        """Return the class of each pixel, integer [H, W]."""
        values = _read_png(path)
        if values.ndim == 2:
            return values.astype(np.int64)
        if not self.colors:
            raise SourceError(f'{path} has colors; give a file with names and colors (labelmap.txt)'
                              ' with --classes')
        codes = _color_codes(values)
        known, places = np.unique(codes, return_inverse=True)
        table = np.zeros(len(known), np.int64)
        for place, code in enumerate(known.tolist()):
            color = code >> 16, code >> 8 & 255, code & 255
            value = self.colors.get(color, VOID if color in _VOID_COLORS else None)
            if value is None:
                raise SourceError(f'{path} has the color {color}, which the file of classes lacks')
            table[place] = value
        return table[places].reshape(codes.shape)


_CLASS_FOLDERS = ('SegmentationClass', 'SegmentationClassPNG')
# white, and the color of 255 in the palette of VOC
_VOID_COLORS = ((255, 255, 255), (224, 224, 192))


def _find_folder(src: Path) -> Path:
    folders = [src, *sorted(src.glob('*')), *sorted(src.glob('*/*'))] if src.is_dir() else []
    found = [folder for folder in folders
             if any((folder / name).is_dir() for name in _CLASS_FOLDERS)]
    if not found:
        raise SourceError(f'{src}: no folder SegmentationClass in it; give the folder that has '
                          'JPEGImages and SegmentationClass')
    return found[0]


def _read_png(path: Path) -> np.ndarray:
    """Read values or palette indices [H, W], or colors [H, W, 3]."""
    try:
        with Image.open(path) as image:
            if image.mode in ('RGBA', 'RGB'):
                return np.asarray(image.convert('RGB'))
            return np.asarray(image)
    except FileNotFoundError:
        raise SourceError(f'{path} does not exist') from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise SourceError(f'{path} is no readable image: {error}') from None


def _color_codes(colors: np.ndarray) -> np.ndarray:
    """Return one number for each color, int64 [H, W]."""
    parts = colors.astype(np.int64)
    return parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2]


def _object_values(path: Path) -> np.ndarray:
    """Return the object of each pixel, int64 [H, W]; 0 = none."""
    values = _read_png(path)
    if values.ndim == 3:
        values = _color_codes(values)
        for color in _VOID_COLORS:
            values[values == (color[0] << 16 | color[1] << 8 | color[2])] = 0
        return values
    return np.where(values == VOID, 0, values).astype(np.int64)


def _mixed(labels: list[int], numbers: list[int], names: dict[int, str],
           path: Path) -> list[LeftOut]:
    """Report objects with pixels of several classes, which become an object for each class."""
    found: dict[int, list[str]] = {}
    for label, number in zip(labels, numbers):
        if number and label in names:
            found.setdefault(number, []).append(names[label])
    return [LeftOut('connection of an object whose pixels have several classes',
                    f'{path}, object {number} ({", ".join(items)})')
            for number, items in found.items() if len(items) > 1]


READER = VocReader
