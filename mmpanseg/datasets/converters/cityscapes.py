"""Cityscapes: instanceIds PNGs -> COCO panoptic and COCO instance format."""
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mmpanseg.datasets.cityscapes import LABELS
from mmpanseg.datasets.converters.common import (
    Converted,
    PathLike,
    Segment,
    category,
    list_images,
    read_labels,
    read_size,
    run_all,
    write_image,
    write_jsons,
)
from mmpanseg.structures.label_image import distinct_values

# Ids are 0 .. 33 and -1 (license plate), which is 255 in 8 bits and 65535 in 16 bits. Ids without
# an evaluated class become void, among them caravan, trailer and groups of poles.
LARGEST_ID = 33
MINUS_ONE = (255, 65535)
IMAGE_SUFFIX, ANNOTATION_SUFFIX = '_leftImg8bit.png', '_gtFine_instanceIds.png'


def convert_cityscapes(source: PathLike, target: PathLike, split: str, workers: int = 1,
                       train_ids: bool = False) -> int:
    """Write one split in COCO panoptic and COCO instance format.

    Reads ``source/leftImg8bit/{split}`` and ``source/gtFine/{split}``; writes
    ``target/annotations/panoptic_{split}.json``, ``panoptic_{split}/*.png`` and
    ``instances_{split}.json``. Repeated runs write the same files.

    A value of 1000 or more is an instance of class value // 1000. A smaller value is a class: all
    pixels of a stuff class, or a group of objects of a thing class (cargroup, ...), a crowd.
    Category ids are those of Cityscapes (7 = road, ...).

    Args:
        source: folder of the unpacked downloads.
        target: folder to write to, usually the same.
        split: train or val (the annotation of test has no classes).
        workers: number of processes.
        train_ids: also write ``*_gtFine_labelTrainIds.png`` beside ``*_labelIds.png``, for other
            software.

    Returns:
        number of images.

    Raises:
        ValueError: a folder, an image or an annotation is missing, broken, of another size than its
            image, or contains an unknown value; the text names it.
    """
    source, target = Path(source), Path(target)
    annotations = source / 'gtFine' / split
    images = list_images(source / 'leftImg8bit' / split, IMAGE_SUFFIX)
    folder = target / f'annotations/panoptic_{split}'
    folder.mkdir(parents=True, exist_ok=True)
    convert = partial(_convert_image, images=source / 'leftImg8bit' / split,
                      annotations=annotations, folder=folder, train_ids=train_ids)
    converted = run_all(convert, images, workers)
    write_jsons(
        converted, [category(label.id, label.name, label.is_thing, label.color)
                    for label in LABELS],
        folder.with_suffix('.json'), folder.with_name(f'instances_{split}.json'))
    return len(converted)


def label_segments(values: np.ndarray, path: PathLike) -> dict[int, Segment]:
    """Return the segments of the evaluated values of an instanceIds map, by value.

    Args:
        values: distinct values of the map.
        path: path of the map, for error texts.

    Raises:
        ValueError: a value belongs to no class.
    """
    labels = {label.id: label for label in LABELS}
    segments = {}
    for value in values.tolist():
        number = value if value < 1000 else value // 1000
        if value in MINUS_ONE:
            continue
        if number > LARGEST_ID:
            raise ValueError(f'{path}: value {value} is no id of Cityscapes (0 .. {LARGEST_ID}) '
                             'and no instance of one; is this an instanceIds PNG?')
        if number in labels:
            thing = labels[number].is_thing
            segments[value] = Segment(number, thing, is_crowd=thing and value < 1000)
    return segments


def _convert_image(path: Path, images: Path, annotations: Path, folder: Path,
                   train_ids: bool) -> Converted:
    inside = path.relative_to(images)
    name = path.name[:-len(IMAGE_SUFFIX)]
    annotation = annotations / inside.parent / (name + ANNOTATION_SUFFIX)
    size = read_size(path)
    ids = read_labels(annotation, size, path)
    segments = label_segments(distinct_values(ids), annotation)
    if train_ids:
        _write_train_ids(annotation, size, path)
    image = dict(id=name, file_name=inside.as_posix(), height=size[0], width=size[1])
    return write_image(ids, segments, image, folder / f'{name}_gtFine_panoptic.png')


def _write_train_ids(annotation: Path, size: tuple[int, int], image_path: Path) -> None:
    base = str(annotation)[:-len('instanceIds.png')]
    ids = read_labels(Path(base + 'labelIds.png'), size, image_path)
    table = np.full(max(int(ids.max()), 255) + 1, 255, np.uint8)
    table[[label.id for label in LABELS]] = np.arange(len(LABELS))
    Image.fromarray(table[ids]).save(base + 'labelTrainIds.png')
