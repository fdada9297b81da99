"""YOLO segmentation: data.yaml, images/ and labels/ with one text file of polygons per image.

Coordinates are shares of the upright image's size. Without an order, smaller objects cover larger.
"""
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mmpanseg.importers.class_table import read_class_table
from mmpanseg.importers.image_folder import list_files
from mmpanseg.importers.reader import Reader, ReadOptions
from mmpanseg.importers.shapes import has_area
from mmpanseg.importers.source_files import (
    is_image,
    portable,
    read_lines,
    read_text,
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
from mmpanseg.importers.split import known_split

_SPLITS = ('train', 'val', 'valid', 'validation', 'test')
# shares beyond this range are no shares; polygons may leave the image a little
_RANGE = -0.5, 1.5


class YoloReader(Reader):
    """Reads the folder of a data set, or its YAML file.

    Names are those of the YAML, else of ``classes.txt`` or ``--classes``, one a line. The images
    are those of the YAML's train, val and test (folders, lists of files, or several of them), else
    all in folders named ``images``. The annotation of ``.../images/a.jpg`` is
    ``.../labels/a.txt``; without it the image shows no object.
    """

    options = ('classes', )
    upright = True

    def __init__(self, src: Path, options: ReadOptions) -> None:
        super().__init__(src, options)
        self.folder = src if src.is_dir() else src.parent
        self.yaml_file = _find_yaml(src)
        self.content = {} if self.yaml_file is None else _read_yaml(self.yaml_file)
        self.names = self._names()

    def list_images(self) -> list[SourceImage]:
        images: dict[Path, SourceImage] = {}
        label_files = _LabelFiles()
        for path, split in self._files():
            labels = label_files.find(path)
            images.setdefault(path, SourceImage(self._name(path), path, split=split, data=labels))
        if not images:
            raise SourceError(f'{self.yaml_file or self.src}: no images; the data set needs '
                              'folders "images" and "labels"')
        unlabeled = [image for image in images.values() if not image.data.is_file()]
        if len(unlabeled) == len(images):
            raise SourceError(f'{unlabeled[0].data} does not exist, and no image has its text '
                              'file; polygons are in "labels" beside "images"')
        if unlabeled:
            self.notes.append(f'{len(unlabeled)} images have no text file, so they show no object '
                              f'(first: {unlabeled[0].path})')
        return list(images.values())

    def list_classes(self) -> list[SourceClass]:
        return [SourceClass(name) for name in dict.fromkeys(self.names.values())]

    def read_image(self, image: SourceImage) -> ImageContent:
        result = ImageContent([], None, [])
        if not image.data.is_file():
            return result
        height, width = upright_size(image.path)
        for number, line in enumerate(read_text(image.data).splitlines(), 1):
            if not line.strip():
                continue
            where = f'{image.data}, line {number}'
            label, shares = self._parse(line, where)
            polygon = shares * (width, height)
            if has_area(polygon):
                result.objects.append(SourceObject(label, [polygon], name=f'line {number}'))
            else:
                result.left_out.append(LeftOut('polygon without area', where))
        return result

    def _parse(self, line: str, where: str) -> tuple[str, np.ndarray]:
        """Return class name and corners [n, 2] of a line."""
        first, *rest = line.split()
        try:
            number, values = float(first), np.array(rest, np.float64)
        except ValueError:
            raise SourceError(f'{where}: it must have numbers only: a class and x y x y ...'
                              ) from None
        if number not in self.names:
            raise SourceError(f'{where}: class {first} is none of the {len(self.names)} names of '
                              f'{self.names_file}')
        if len(values) in (4, 5):
            raise SourceError(f'{where}: {len(values)} numbers after the class are a box, not a '
                              'polygon; masks need data for segmentation, with 3 or more points')
        if len(values) < 6 or len(values) % 2:
            raise SourceError(f'{where}: {len(values)} numbers after the class are no polygon '
                              'x y x y ... of 3 or more points')
        # NaN is out of the range, too
        if not ((values >= _RANGE[0]) & (values <= _RANGE[1])).all():
            raise SourceError(f'{where}: coordinates must be shares of width and height, 0 .. 1')
        return self.names[int(number)], values.reshape(-1, 2)

    def _names(self) -> dict[int, str]:
        """Return the class names by number."""
        names = self.content.get('names')
        file = self.read_options.classes or self.folder / 'classes.txt'
        if self.read_options.classes or (names is None and file.is_file()):
            self.names_file: Path | None = file
            return {row.value: row.name for row in read_class_table(file)}
        self.names_file = self.yaml_file
        if names is None:
            raise SourceError(f'{self.src}: no YAML file with "names" and no classes.txt; give a '
                              'file with a class name in each line with --classes')
        where = f'{self.yaml_file}: names'
        if not isinstance(names, (list, dict)) or not names:
            raise SourceError(f'{where} must be a list, or numbers with names')
        items = names.items() if isinstance(names, dict) else enumerate(names)
        try:
            found = {int(number): str(name) for number, name in items}
        except (TypeError, ValueError):
            raise SourceError(f'{where} must have a number from 0 before each name') from None
        count = self.content.get('nc', len(found))
        if count != len(found):
            raise SourceError(f'{self.yaml_file}: nc is {count}, but there are {len(found)} names')
        return found

    def _files(self) -> list[tuple[Path, str]]:
        """List the images with their splits."""
        entries = [(name, self.content[name]) for name in _SPLITS if self.content.get(name)]
        if not entries:
            return [(path, _split_of(path, self.folder)) for path in list_files(self.folder)
                    if 'images' in [part.lower() for part in path.relative_to(
                        self.folder.parent).parts[:-1]]]
        files = []
        for split, entry in entries:
            for part in entry if isinstance(entry, list) else [entry]:
                files += [(path, split) for path in self._expand(part, split)]
        return files

    def _expand(self, part: Any, split: str) -> list[Path]:
        """List the images of one folder or list of files."""
        found = self._locate(str(part), self._roots())
        if found is None:
            raise SourceError(f'{self.yaml_file}: {split}: {part} is neither in '
                              f'{self._roots()[0]} nor in {self.folder}')
        if found.is_dir():
            return list_files(found)
        if is_image(found):
            return [found]
        files = []
        for line in read_lines(found):
            path = self._locate(line, [found.parent, *self._roots()])
            if path is None:
                raise SourceError(f'{found}: the image {line} does not exist')
            files.append(path)
        return files

    def _roots(self) -> list[Path]:
        """Folders that paths of the YAML may refer to, the likeliest first."""
        text = str(self.content.get('path') or '.').strip().replace('\\', '/')
        root = self._locate(text, [self.folder])
        # "path" often is that of the machine on which the data set was made
        return [root, self.folder] if root is not None and root.is_dir() else [self.folder]

    def _locate(self, text: str, roots: list[Path]) -> Path | None:
        """Find a path of a file of the data set, of any system."""
        text = text.strip().replace('\\', '/')
        options = [Path(text)] if Path(text).is_absolute() else [root / text for root in roots]
        options += [root / portable(text) for root in roots]
        found = next((path for path in options if path.exists()), None)
        return None if found is None else Path(str(found)).absolute()

    def _name(self, path: Path) -> str:
        """Return the name of an image below its folder ``images`` and that of its split."""
        folder = self.folder.absolute()
        parts = path.relative_to(folder).parts if path.is_relative_to(folder) else (path.name, )
        if 'images' in (lower := [part.lower() for part in parts[:-1]]):
            parts = parts[len(lower) - lower[::-1].index('images'):]
        return '/'.join(parts[1:] if len(parts) > 1 and known_split(parts[0]) else parts)


def _find_yaml(src: Path) -> Path | None:
    """Return the YAML file of a folder that has names."""
    if src.is_file():
        return src
    files = [path for path in sorted(src.iterdir()) if path.suffix.lower() in ('.yaml', '.yml')]
    files.sort(key=lambda path: path.stem.lower() not in ('data', 'dataset'))
    return next((path for path in files if 'names' in _read_yaml(path)), None)


def _read_yaml(path: Path) -> dict:
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        line = '' if mark is None else f' in line {mark.line + 1}'
        raise SourceError(f'{path} is no YAML: {getattr(error, "problem", "")}{line}') from None
    return content if isinstance(content, dict) else {}


class _LabelFiles:
    """Finds the text file of an image: in ``labels`` instead of the last ``images``."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, Path]] = {}

    def find(self, image: Path) -> Path:
        """Return the text file, which may not exist; the case of names is ignored."""
        parts = list(image.parent.parts)
        lower = [part.lower() for part in parts]
        if 'images' in lower:
            number = len(lower) - 1 - lower[::-1].index('images')
            # Labels beside Images
            kinds = [Path(*parts[:number], name, *parts[number + 1:])
                     for name in ('labels', 'Labels', 'LABELS')]
            folder = next((kind for kind in kinds if kind.is_dir()), kinds[0])
        else:
            folder = image.parent
        if folder not in self._folders:
            self._folders[folder] = {path.stem: path for path in sorted(folder.glob('*'))
                                     if path.suffix.lower() == '.txt'}
        return self._folders[folder].get(image.stem, folder / f'{image.stem}.txt')


def _split_of(path: Path, folder: Path) -> str:
    """Return the split that a folder's name tells, such as ``images/train2017``."""
    for part in path.relative_to(folder).parts[:-1]:
        if split := known_split(part):
            return split
    return ''


READER = YoloReader
