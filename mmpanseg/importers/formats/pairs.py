"""Pairs of a label map and an instance map as PNGs, or one PNG that codes both."""
import re
from pathlib import Path

import numpy as np

from mmpanseg.importers.class_table import TableClass, thing_names
from mmpanseg.importers.image_folder import INSTANCE_FOLDERS, LABEL_FOLDERS, find_pairs
from mmpanseg.importers.label_maps import class_table, label_names, read_values
from mmpanseg.importers.reader import Reader, ReadOptions
from mmpanseg.importers.source_image import (
    ImageContent,
    MapSegment,
    SourceClass,
    SourceError,
    SourceImage,
    SourceMap,
)
from mmpanseg.structures.label_image import distinct_values
from mmpanseg.structures.panoptic_png import read_panoptic_png

CODINGS = ('per-class', 'global', 'channels')


class PairsReader(Reader):
    """Images with the class and the number of the object of each pixel.

    ``per-class``: pixels with one class and one number are an object. ``global``: pixels with one
    number are an object, of the class that most of them have. ``channels``: red is the class, green
    + 256 blue the number. A divisor D: the value is class * D + number. Number 0 of a thing class
    is a crowd: objects that nobody separated. Numbers of stuff have no meaning.
    """

    options = ('images', 'annotations', 'classes', 'ignore', 'label_suffix', 'instances',
               'instance_ids')

    def __init__(self, src: Path, options: ReadOptions) -> None:
        super().__init__(src, options)
        coding = options.instance_ids
        if coding not in CODINGS and not re.fullmatch(r'[1-9]\d*', coding):
            raise SourceError(f'--instance-ids {coding} is none of {", ".join(CODINGS)} and no '
                              'divisor such as 1000')
        self._two_maps = coding in CODINGS[:2]

    def list_images(self) -> list[SourceImage]:
        options = self.read_options
        kinds: list[tuple[str, tuple[str, ...], Path | None]] = [
            ('instance maps', INSTANCE_FOLDERS, options.instances)]
        if self._two_maps:
            kinds.insert(0, ('label maps', LABEL_FOLDERS, options.annotations))
        elif options.instances is None:
            kinds = [('instance maps', (*INSTANCE_FOLDERS, *LABEL_FOLDERS), options.annotations)]
        pairs = find_pairs(self.src, kinds, options.images, options.label_suffix)
        labels = (pair.maps[0] for pair in pairs) if self._two_maps else ()
        self._table = class_table(self.src, options.classes, labels)
        kinds_known = any(row.is_thing is not None for row in self._table)
        if not options.things and not kinds_known:
            raise SourceError(f'{self.src}: which classes are things? Give --things NAME,NAME, or '
                              '"isthing" for each class in the file of classes')
        self._things = thing_names(self._table, options.things)
        return [SourceImage(pair.name, pair.image, None, pair.split, data=list(pair.maps))
                for pair in pairs]

    def list_classes(self) -> list[SourceClass]:
        return [SourceClass(row.name, row.name in self._things, row.color) for row in self._table]

    def read_image(self, image: SourceImage) -> ImageContent:
        path: Path = image.data[0]
        if self._two_maps:
            labels = read_values(path, self._table).astype(np.int64)
            numbers = _read_numbers(image.data[1])
            if numbers.shape != labels.shape:
                raise SourceError(f'{image.data[1]} is {numbers.shape[1]}x{numbers.shape[0]}, '
                                  f'{path} is {labels.shape[1]}x{labels.shape[0]}: both must have '
                                  'the same size')
        elif self.read_options.instance_ids == 'channels':
            values = read_panoptic_png(path)
            labels, numbers = values & 255, values >> 8
        else:
            labels, numbers = np.divmod(read_values(path).astype(np.int64),
                                        int(self.read_options.instance_ids))
        return ImageContent(base=merge_maps(
            labels, numbers, self._table, self._things, self.read_options.ignore, path,
            self.read_options.instance_ids == 'global'))


READER = PairsReader


def merge_maps(labels: np.ndarray, numbers: np.ndarray, table: list[TableClass],
               things: frozenset[str], ignore: tuple[int, ...], path: Path,
               is_global: bool = False) -> SourceMap:
    """Make one map of classes and numbers of objects.

    Args:
        labels: value of the class of each pixel, integer [H, W].
        numbers: number of the object of each pixel, integer [H, W]; 0 = none.
        table: the classes.
        things: names of thing classes.
        ignore: values of unlabeled pixels.
        path: the map, for error texts.
        is_global: each number is one object, of the class of most of its pixels.
    """
    names = label_names(distinct_values(labels), table, ignore, path)
    is_thing = np.zeros(int(labels.max(initial=0)) + 1, bool)
    is_thing[[value for value, name in names.items() if name in things]] = True
    numbers = np.where(is_thing[labels], numbers, 0)
    if is_global:
        labels = _majority(labels, numbers)
    base = int(numbers.max(initial=0)) + 1
    codes = labels.astype(np.int64) * base + numbers
    segments = {}
    for code in distinct_values(codes).tolist():
        value, number = divmod(code, base)
        if value in names:
            segments[code] = MapSegment(names[value], names[value] in things and not number)
    return SourceMap(codes, segments)


def _majority(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Give all pixels of an object the class that most of its pixels have, the lowest of equals."""
    count = int(labels.max(initial=0)) + 1
    present = distinct_values(numbers)
    place = np.searchsorted(present, numbers)
    table = np.bincount((place * count + labels).ravel(), minlength=len(present) * count)
    best = table.reshape(len(present), count).argmax(1)
    return np.where(numbers > 0, best[place], labels)


def _read_numbers(path: Path) -> np.ndarray:
    """Read the numbers of objects; three channels code one number, as in panoptic PNGs."""
    try:
        return read_values(path).astype(np.int64)
    except SourceError as error:
        if 'color-coded' not in str(error):
            raise
        return read_panoptic_png(path).astype(np.int64)
