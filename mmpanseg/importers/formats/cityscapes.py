"""Cityscapes and folders like it: leftImg8bit, gtFine with instanceIds PNGs, own classes."""
import re
from pathlib import Path

import numpy as np

from mmpanseg.datasets.cityscapes import LABELS
from mmpanseg.datasets.converters.cityscapes import LARGEST_ID, MINUS_ONE
from mmpanseg.importers.class_table import (
    TableClass,
    find_class_table,
    read_class_table,
    thing_names,
)
from mmpanseg.importers.image_folder import list_files
from mmpanseg.importers.label_maps import label_names, read_values
from mmpanseg.importers.reader import Reader
from mmpanseg.importers.source_image import (
    ImageContent,
    MapSegment,
    SourceClass,
    SourceError,
    SourceImage,
    SourceMap,
)
from mmpanseg.structures.label_image import distinct_values

IMAGES, ANNOTATIONS = 'leftImg8bit', ('gtFine', 'gtCoarse')
_ENDING = re.compile(r'_gt\w*_instanceIds\.png')


class CityscapesReader(Reader):
    """``leftImg8bit/{split}/{city}/{name}_leftImg8bit.png`` and ``gtFine/...instanceIds.png``.

    A value below 1000 is a class: stuff, or a crowd of a thing class. A larger value is object
    ``value % 1000`` of class ``value // 1000``. Without a file of classes, the 19 evaluated classes
    of Cityscapes are taken and all others are unlabeled. A city is not divided between splits.
    """

    options = ('images', 'annotations', 'classes', 'ignore')

    def list_images(self) -> list[SourceImage]:
        options = self.read_options
        images = options.images or self.src / IMAGES
        annotations = options.annotations or next(
            (self.src / name for name in ANNOTATIONS if (self.src / name).is_dir()),
            self.src / ANNOTATIONS[0])
        for folder in (images, annotations):
            if not folder.is_dir():
                raise SourceError(f'{folder}: no such folder; data like Cityscapes have {IMAGES}/ '
                                  f'and {ANNOTATIONS[0]}/, or name them with --images and '
                                  '--annotations')
        self._read_classes()
        maps: dict[Path, Path] = {}
        for path in list_files(annotations, ('_instanceids.png', )):
            match = _ENDING.search(path.name)
            if match:
                stem = path.relative_to(annotations).parent / path.name[:match.start()]
                if maps.setdefault(stem, path) != path:
                    raise SourceError(f'{maps[stem]} and {path} both annotate one image; remove '
                                      'one of them')
        found, without = [], []
        for path in list_files(images):
            relative = path.relative_to(images)
            stem = relative.parent / path.stem.removesuffix(f'_{IMAGES}')
            if stem not in maps:
                without.append(path)
                continue
            split = relative.parts[0] if len(relative.parts) > 1 else ''
            name = '/'.join(relative.parts[1:]) or relative.name
            city = relative.parts[1] if len(relative.parts) > 2 else ''
            found.append(SourceImage(name, path, None, split, city, maps[stem]))
        if not found:
            raise SourceError(f'{annotations} has no *_instanceIds.png of an image in {images}; '
                              'for labelIds alone use the format semantic')
        if without:
            self.notes.append(f'{len(without)} images have no instanceIds PNG and are left out, '
                              f'the first is {without[0]}')
        return found

    def list_classes(self) -> list[SourceClass]:
        return [SourceClass(row.name, row.name in self._things, row.color) for row in self._table]

    def read_image(self, image: SourceImage) -> ImageContent:
        path: Path = image.data
        values = read_values(path).astype(np.int64)
        present = distinct_values(values)
        classes = np.where(present < 1000, present, present // 1000)
        names = label_names(np.unique(classes[~np.isin(present, self._void)]), self._table,
                            self._ignore, path)
        segments = {}
        for value, number in zip(present.tolist(), classes.tolist()):
            if number in names and value not in self._void:
                crowd = names[number] in self._things and value < 1000
                segments[value] = MapSegment(names[number], crowd)
        return ImageContent(base=SourceMap(values, segments))

    def _read_classes(self) -> None:
        options = self.read_options
        file = options.classes or find_class_table(self.src)
        self._ignore: tuple[int, ...] = options.ignore
        self._void: tuple[int, ...] = ()
        if file is None:
            self._table = [TableClass(label.name, label.id, label.color, label.is_thing)
                           for label in LABELS]
            # ids without an evaluated class, and -1 in 8 or 16 bits
            self._ignore += tuple(range(LARGEST_ID + 1))
            self._void = MINUS_ONE
        else:
            self._table = read_class_table(file)
            if not options.things and all(row.is_thing is None for row in self._table):
                raise SourceError(f'{file}: which classes are things? Give --things NAME,NAME, or '
                                  '"hasInstances" for each class')
        self._things = thing_names(self._table, options.things)


READER = CityscapesReader
