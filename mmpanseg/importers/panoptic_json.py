"""COCO panoptic JSONs with their PNGs as a source."""
from pathlib import Path

from mmpanseg.datasets.annotation_file import (
    check_listed,
    read_annotation_file,
    read_categories,
    read_images,
    read_panoptic_annotations,
)
from mmpanseg.importers.coco_json import find_image, merge_classes
from mmpanseg.importers.reader import Reader
from mmpanseg.importers.source_files import ImageFinder, portable
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


class PanopticJsonReader(Reader):
    """Base of readers of panoptic JSONs; :meth:`list_jsons` tells where they are."""

    def list_jsons(self) -> list[tuple[Path, Path, list[Path], str]]:
        """Return JSON, folder of PNGs, folders of images and split of each file."""
        raise NotImplementedError

    def list_images(self) -> list[SourceImage]:
        classes, images = [], []
        for file, pngs, folders, split in self.list_jsons():
            found = read_panoptic_json(file, pngs, ImageFinder(folders), split)
            classes.append(found[0])
            images += found[1]
        self._classes = merge_classes(classes)
        return images

    def list_classes(self) -> list[SourceClass]:
        return self._classes

    def read_image(self, image: SourceImage) -> ImageContent:
        path, segments = image.data
        ids = read_panoptic_png(path)
        unknown = [number for number in distinct_values(ids).tolist()
                   if number and number not in segments]
        if unknown:
            raise SourceError(f'{path} has the segment id {unknown[0]}, which its annotation in '
                              'the JSON does not list; add it there, or set its pixels to 0')
        return ImageContent(base=SourceMap(ids, segments))


def read_panoptic_json(path: Path, pngs: Path, finder: ImageFinder, split: str,
                       ) -> tuple[list[SourceClass], list[SourceImage]]:
    """Read a panoptic JSON.

    Args:
        path: the file.
        pngs: folder of its PNGs.
        finder: finds images by their ``file_name``.
        split: split of its images.

    Returns:
        classes in the order of the file; images that have an annotation, whose ``data`` is the PNG
        and the segments by id.

    Raises:
        ValueError: the file is broken, or an entry is wrong; the text names file and entry.
    """
    name = str(path)
    content = read_annotation_file(name, ['images', 'annotations', 'categories'], 'panoptic')
    images = read_images(name, content['images'])
    names = read_categories(name, content['categories'])
    check_listed(name, content['annotations'], 'image_id', images, 'images')
    annotations = read_panoptic_annotations(name, content['annotations'])
    classes = []
    for item in content['categories']:
        color, thing = item.get('color'), item.get('isthing')
        classes.append(SourceClass(
            item['name'], None if thing is None else bool(thing),
            tuple(color) if isinstance(color, list) and len(color) == 3 else None))
    found = []
    for number, annotation in annotations.items():
        segments = {}
        for segment in annotation['segments_info']:
            if segment['category_id'] not in names:
                raise SourceError(f'{path}: segment {segment["id"]} of {annotation["file_name"]} '
                                  f'has category_id {segment["category_id"]}, which "categories" '
                                  'does not list')
            segments[segment['id']] = MapSegment(names[segment['category_id']],
                                                 bool(segment.get('iscrowd', 0)))
        image = images[number]
        found.append(SourceImage(
            image['file_name'], find_image(finder, image['file_name'], f'{path}, image {number!r}'),
            (image['height'], image['width']), split,
            data=(pngs / portable(annotation['file_name']), segments)))
    return classes, found
