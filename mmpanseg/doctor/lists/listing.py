"""Everything that a source lists, with the problems that need no pixels."""
from collections import Counter
from dataclasses import dataclass, field

from mmpanseg.doctor.lists.annotations import AnnotationReader
from mmpanseg.doctor.lists.categories import Categories, read_categories
from mmpanseg.doctor.lists.files import Folders, check_files
from mmpanseg.doctor.lists.findings import Findings
from mmpanseg.doctor.lists.images import read_images
from mmpanseg.doctor.lists.json_file import read_json
from mmpanseg.doctor.lists.semantic_folders import read_folders
from mmpanseg.doctor.problem import Problem
from mmpanseg.doctor.source import ImageRecord, Source


@dataclass
class Listing:
    """Content of a source.

    Attributes:
        source: the source.
        problems: what is wrong with JSON, names and files.
        records: images whose file exists.
        num_images: number of images that it lists.
        classes: names by label; those of the JSON if the source has none.
        names: name of a class by category id, for semantic data by label.
        segments: name of a class -> number of segments, without crowds; empty for semantic data.
        images_with: name of a class -> number of images with such a segment.
        usable: whether the lists could be read at all.
    """

    source: Source
    problems: list[Problem]
    records: list[ImageRecord] = field(default_factory=list)
    num_images: int = 0
    classes: tuple[str, ...] = ()
    names: dict[int, str] = field(default_factory=dict)
    segments: Counter[str] = field(default_factory=Counter)
    images_with: Counter[str] = field(default_factory=Counter)
    usable: bool = True


def read_source(source: Source, folders: Folders | None = None) -> Listing:
    """Read and check the lists of a source; never raises for any content of its files.

    Args:
        source: the source.
        folders: names of files, shared by several sources.
    """
    folders = Folders() if folders is None else folders
    found = Findings(source)
    if source.kind == 'semantic':
        records = read_folders(found, folders)
        listing = Listing(source, found.problems, records, len(records), source.classes,
                          dict(enumerate(source.classes)))
    else:
        listing = _read_json_source(source, folders, found)
    if not listing.num_images and listing.usable:
        found.add('PAN035', 'the data set lists no image',
                  file=source.ann_file or source.img_prefix)
    if not source.test_mode:
        _check_filters(listing, found)
    return listing


def _read_json_source(source: Source, folders: Folders, found: Findings) -> Listing:
    content, problems = read_json(source)
    found.problems += problems
    if content is None:
        return Listing(source, found.problems, usable=False)
    images, ids = read_images(content, found)
    categories: Categories = read_categories(content, found)
    reader = AnnotationReader(images, ids, categories, found)
    annotations = content.get('annotations')
    if annotations is None:
        annotations = []
        if source.role != 'test':
            found.add('PAN005', 'the file has no "annotations"', file=source.ann_file)
    other = _other_kind(annotations, source.kind)
    if other:
        found.add('PAN005', f'this is a COCO {other} JSON, and a {source.kind} one is expected',
                  mend='use the data set of its kind (PanopticDataset for "segments_info", '
                  'InstanceDataset for "segmentation")', file=source.ann_file)
    if other or content.get('annotations') is None:
        records = reader.images_alone()
    else:
        read = reader.panoptic if source.kind == 'panoptic' else reader.instance
        records = read(annotations)
    records = check_files(records, folders, found)
    return Listing(source, found.problems, records, len(images), categories.classes,
                   categories.names, reader.segments, reader.images_with)


def _other_kind(annotations: list[dict], kind: str) -> str:
    """Return 'panoptic' or 'instance' if all annotations are of that kind and not of the given."""
    keys = dict(panoptic='segments_info', instance='segmentation')
    for other, key in keys.items():
        if other != kind and annotations and all(
                key in entry and keys[kind] not in entry for entry in annotations):
            return other
    return ''


def _check_filters(listing: Listing, found: Findings) -> None:
    """Count the images that ``filter_cfg`` leaves out of training."""
    source = listing.source
    if source.kind == 'semantic' or not listing.records:
        return
    small = [record for record in listing.records if source.min_size and record.height
             and record.width and min(record.height, record.width) < source.min_size]
    empty = [record for record in listing.records if source.filter_empty and not any(
        info.get('iscrowd') not in (1, True) for info in record.segments or record.annotations)]
    for records, why in ((small, f'have a side shorter than min_size={source.min_size}'),
                         (empty, 'have no segment (filter_empty_gt)')):
        if records:
            names = ', '.join(record.file_name for record in records[:5])
            more = ', ...' if len(records) > 5 else ''
            found.add('PAN051', f'{len(records)} of {listing.num_images} images {why}: '
                      f'{names}{more}', file=source.ann_file)
    left = {record.path for record in listing.records} - {
        record.path for record in small + empty}
    if not left:
        found.add('PAN035', 'no image to train on: filter_cfg leaves none', file=source.ann_file)
