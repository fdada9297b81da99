"""Roboflow: exports "COCO Segmentation", with _annotations.coco.json in train, valid and test.

Without an order, smaller objects cover larger ones.
"""
from pathlib import Path

from mmpanseg.importers.coco_json import coco_objects, merge_classes, read_coco_json
from mmpanseg.importers.image_folder import list_files
from mmpanseg.importers.reader import Reader, ReadOptions
from mmpanseg.importers.source_files import ImageFinder
from mmpanseg.importers.source_image import ImageContent, SourceClass, SourceError, SourceImage
from mmpanseg.importers.split import known_split

ANNOTATIONS = '_annotations.coco.json'


class RoboflowReader(Reader):
    """Reads the unpacked folder of an export.

    The category with the id 0 that only is the supercategory of the others is removed. Versions of
    one photo, whose names differ in the hash after ``.rf.``, stay in one split.
    """

    upright = True

    def __init__(self, src: Path, options: ReadOptions) -> None:
        super().__init__(src, options)
        self._files = [path for path in list_files(src, ('.json', ))
                       if path.name.lower() == ANNOTATIONS]
        if not self._files:
            raise SourceError(f'{src}: no {ANNOTATIONS} in it or in train, valid and test; export '
                              'the project as "COCO Segmentation" and give the unpacked folder')
        self._classes: list[list[SourceClass]] = []
        self._removed: dict[str, None] = {}

    def list_images(self) -> list[SourceImage]:
        images = []
        for file in self._files:
            folder = file.parent
            classes, found = read_coco_json(file, ImageFinder([folder]), known_split(folder.name),
                                            prepare=self._remove_supercategory)
            self._classes.append(classes)
            # the split has the name of the folder already
            place = folder.relative_to(self.src)
            place = place.parent if known_split(folder.name) else place
            images += [image._replace(name=(place / image.name).as_posix(),
                                      group=image.name.partition('.rf.')[0]) for image in found]
        for name in self._removed:
            self.notes.append(f'the category {name} (id 0) is left out: it is the supercategory of '
                              'the others, and no object has it')
        return images

    def list_classes(self) -> list[SourceClass]:
        return merge_classes(self._classes)

    def read_image(self, image: SourceImage) -> ImageContent:
        return ImageContent(coco_objects(image))

    def _remove_supercategory(self, content: dict) -> None:
        categories = content['categories']
        used = {item.get('category_id') for item in content['annotations']}
        for item in categories:
            others = [other for other in categories if other is not item]
            if item.get('id') == 0 and 0 not in used and any(
                    other.get('supercategory') == item.get('name') for other in others):
                content['categories'] = others
                self._removed[str(item.get('name'))] = None
                return


READER = RoboflowReader
