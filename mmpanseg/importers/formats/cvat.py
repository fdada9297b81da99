"""CVAT: exports "CVAT for images 1.1" (XML) and "COCO 1.0", of tasks and of projects.

Shapes with a larger z_order cover others. CVAT annotates images after their EXIF orientation.
"""
from pathlib import Path

from mmpanseg.importers.coco_json import coco_objects, read_coco_json
from mmpanseg.importers.formats._cvat_xml import XmlImage, read_shapes, read_xml
from mmpanseg.importers.image_folder import list_files
from mmpanseg.importers.reader import Reader, ReadOptions
from mmpanseg.importers.source_files import ImageFinder, portable
from mmpanseg.importers.source_image import (
    ImageContent,
    SourceClass,
    SourceError,
    SourceImage,
)
from mmpanseg.importers.split import known_split


class CvatReader(Reader):
    """Reads the unpacked folder of an export, or its XML file.

    Shapes with one ``group_id`` and one label are one object; a shape whose attribute ``is_crowd``
    is true is a group of objects. Subsets of a project are splits.
    """

    options = ('images', )
    ordered = True
    upright = True

    def __init__(self, src: Path, options: ReadOptions) -> None:
        super().__init__(src, options)
        self.folder = src if src.is_dir() else src.parent
        self._classes: dict[str, SourceClass] = {}

    def list_images(self) -> list[SourceImage]:
        files = [self.src] if self.src.is_file() else list_files(self.src, ('.xml', ))
        finder = ImageFinder(filter(None, (self.read_options.images, self.folder)))
        images: dict[tuple[str, str], SourceImage] = {}
        found = False
        for file in files:
            content = read_xml(file)
            if content is None:
                continue
            found = True
            for item in content[1]:
                self._classes.setdefault(item.name, item)
            for entry in content[0]:
                image = self._image(entry, finder)
                other = images.setdefault((image.split, image.name), image)
                if other is not image:
                    raise SourceError(f'{file} and {other.data.file} both annotate the image '
                                      f'{image.name}; import them one by one')
                for shape in entry.shapes:
                    label = shape.values.get('label')
                    if label and shape.tag not in ('tag', 'skeleton'):
                        self._classes.setdefault(label, SourceClass(label))
        if not found:
            return self._list_coco()
        return list(images.values())

    def _list_coco(self) -> list[SourceImage]:
        """List the images of an export "COCO 1.0", ``annotations/instances_{subset}.json``."""
        files = [path for path in list_files(self.folder, ('.json', ))
                 if path.name.lower().startswith('instances')]
        if not files:
            raise SourceError(f'{self.src}: no XML file of "CVAT for images 1.1", and no '
                              'annotations/instances_*.json of "COCO 1.0"')
        # COCO's JSON has no z_order
        self.ordered = False
        images = []
        crowds = 0
        for file in files:
            subset = file.stem.partition('_')[2]
            folders = (self.read_options.images, self.folder / 'images' / subset,
                       self.folder / 'images', self.folder)
            finder = ImageFinder([next(path for path in folders if path and path.is_dir())])
            classes, found = read_coco_json(file, finder, known_split(subset))
            for item in classes:
                self._classes.setdefault(item.name, item)
            images += [image._replace(name=_name(subset, image.name)) for image in found]
            crowds += sum(bool(item.get('iscrowd')) for image in found for item in image.data[1])
        if crowds:
            self.notes.append(f'{crowds} annotations have iscrowd 1 (the attribute is_crowd), so '
                              'training ignores them; if they are single objects, export "CVAT for '
                              'images 1.1"')
        return images

    def list_classes(self) -> list[SourceClass]:
        return list(self._classes.values())

    def read_image(self, image: SourceImage) -> ImageContent:
        if isinstance(image.data, XmlImage):
            return read_shapes(image.data)
        return ImageContent(coco_objects(image))

    def _image(self, entry: XmlImage, finder: ImageFinder) -> SourceImage:
        where = f'{entry.file}: image {entry.name}'
        path = finder.locate('/'.join(filter(None, ('images', entry.subset, entry.name))), where)
        return SourceImage(_name(entry.subset, entry.name), path, entry.size,
                           known_split(entry.subset), data=entry)


def _name(subset: str, name: str) -> str:
    """Return the name of an image; in a project, images of two subsets may have one name."""
    return portable(name if subset.lower() in ('', 'default') or known_split(subset) else
                    f'{subset}/{name}')


READER = CvatReader
