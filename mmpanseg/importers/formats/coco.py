"""COCO instance JSON, with optional stuff: isthing 0, label maps or a stuff JSON."""
from pathlib import Path

from mmpanseg.importers.class_table import TableClass, find_class_table, read_class_table
from mmpanseg.importers.coco_json import (
    coco_objects,
    find_image,
    merge_classes,
    read_coco_json,
    split_of_name,
)
from mmpanseg.importers.label_maps import label_names, read_values
from mmpanseg.importers.reader import Reader
from mmpanseg.importers.source_files import ImageFinder
from mmpanseg.importers.source_image import (
    ImageContent,
    MapSegment,
    SourceClass,
    SourceError,
    SourceImage,
    SourceMap,
)
from mmpanseg.structures.label_image import distinct_values

# other annotation files of COCO
_OTHERS = ('captions', 'person_keypoints', 'image_info', 'panoptic', 'stuff')


class CocoReader(Reader):
    """A JSON, or a folder with ``annotations/instances_{split}.json``.

    ``--stuff-maps`` adds stuff below all objects: a folder of label maps, whose pixels of thing
    classes are unlabeled (the objects tell where things are), or a JSON of stuff annotations.
    """

    options = ('images', 'annotations', 'classes', 'ignore', 'stuff_maps')

    def list_images(self) -> list[SourceImage]:
        files = find_jsons(self.src, self.read_options.annotations, _OTHERS)
        classes, images = [], []
        for file in files:
            split = split_of_name(file.stem) if len(files) > 1 else ''
            found = read_coco_json(file, ImageFinder(image_folders(
                file, self.src, self.read_options.images, split)), split)
            classes.append(found[0])
            images += found[1]
        self._classes = merge_classes(classes)
        self._table: list[TableClass] = []
        stuff = self.read_options.stuff_maps
        if stuff is None:
            return [image._replace(data=(image.data, None)) for image in images]
        if not stuff.exists():
            raise SourceError(f'--stuff-maps {stuff} does not exist')
        add = self._with_json if stuff.is_file() else self._with_maps
        return add(images, stuff)

    def list_classes(self) -> list[SourceClass]:
        return self._classes

    def read_image(self, image: SourceImage) -> ImageContent:
        annotations, stuff = image.data
        objects = coco_objects(image._replace(data=annotations))
        if stuff is None:
            return ImageContent(objects)
        if not isinstance(stuff, Path):
            return ImageContent(objects + coco_objects(image._replace(data=stuff)))
        values = read_values(stuff, self._table)
        names = label_names(distinct_values(values), self._table, self.read_options.ignore, stuff)
        return ImageContent(objects, SourceMap(values, {
            value: MapSegment(name) for value, name in names.items() if name in self._stuff}))

    def _with_maps(self, images: list[SourceImage], folder: Path) -> list[SourceImage]:
        file = self.read_options.classes or find_class_table(folder) or find_class_table(self.src)
        if file is None:
            raise SourceError(f'{folder} has no file of class names; give the names of the values '
                              'in the stuff maps with --classes FILE')
        self._table = read_class_table(file)
        things = {item.name for item in self._classes if item.is_thing is not False}
        self._stuff = frozenset(row.name for row in self._table if row.name not in things)
        self._classes = merge_classes([self._classes, [
            SourceClass(row.name, False, row.color) for row in self._table
            if row.name in self._stuff]])
        finder = ImageFinder([folder])
        return [image._replace(data=(image.data, find_image(
            finder, image.name, f'stuff map of {image.path}'))) for image in images]

    def _with_json(self, images: list[SourceImage], file: Path) -> list[SourceImage]:
        by_path = {image.path: image for image in images}
        roots = ImageFinder({image.path.parent for image in images})
        classes, found = read_coco_json(file, roots, kind=lambda category: False)
        things = {item.name for item in self._classes if item.is_thing is not False}
        names = {item.name for item in classes} - things
        self._classes = merge_classes([self._classes, [
            item._replace(is_thing=False) for item in classes if item.name in names]])
        stuff = {image.path: (file, [item for item in image.data[1] if item['category'] in names])
                 for image in found if image.path in by_path}
        return [image._replace(data=(image.data, stuff.get(path, (file, []))))
                for path, image in by_path.items()]


READER = CocoReader


def find_jsons(src: Path, given: Path | None, others: tuple[str, ...]) -> list[Path]:
    """Return the annotation files of a source.

    Args:
        src: a JSON, or a folder with JSONs in it or in ``annotations/``.
        given: file or folder that the user gave, or None.
        others: beginnings of names of files that are of other kinds.
    """
    where = given or src
    if where.is_file():
        return [where]
    for folder in (where / 'annotations', where):
        files = [path for path in sorted(folder.glob('*.json'))
                 if not path.name.lower().startswith((*others, 'classes', '.'))]
        if files:
            return [path for path in files if path.name.startswith('instances')] or files
    raise SourceError(f'{where} has no JSON in it or in {where / "annotations"}; name the file '
                      'with --annotations')


def image_folders(file: Path, src: Path, given: Path | None, split: str) -> list[Path]:
    """Return where the images of a JSON may be: the first folder that exists is searched."""
    if given is not None:
        if not given.is_dir():
            raise SourceError(f'--images {given}: no such folder')
        # one folder for each split, or one for all
        inner = [path for path in sorted(given.iterdir())
                 if path.is_dir() and split and split_of_name(path.name) == split]
        return inner or [given]
    root = src if src.is_dir() else file.parent.parent if (
        file.parent.name.lower() == 'annotations') else file.parent
    inner = [path for parent in (root, root / 'images') if parent.is_dir()
             for path in sorted(parent.iterdir())
             if path.is_dir() and split and split_of_name(path.name) == split]
    return inner or [root]
