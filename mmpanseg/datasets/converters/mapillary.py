"""Mapillary Vistas: 16-bit instance PNGs -> COCO panoptic and COCO instance format."""
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

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
from mmpanseg.datasets.mapillary import VistasLabel
from mmpanseg.datasets.mapillary import read_labels as read_classes
from mmpanseg.structures.label_image import distinct_values

VERSIONS = ('v1.2', 'v2.0')


def convert_mapillary(source: PathLike, target: PathLike, split: str, version: str = 'v1.2',
                      workers: int = 1) -> int:
    """Write one split in COCO panoptic and COCO instance format.

    Reads ``{split}/images`` and the PNGs in ``{split}/instances`` (the packages of version 1.2) or
    ``{split}/{version}/instances`` (those of 2.0, which hold both), and the classes from
    ``config.json`` or ``config_{version}.json``. Writes
    ``annotations/panoptic_{version}_{split}.json``, ``panoptic_{version}_{split}/*.png`` and
    ``instances_{version}_{split}.json`` to ``target``. Repeated runs write the same files.

    A value of an instance PNG is 256 * label + instance. Of a thing class (``instances`` in the
    config) each value is an object; of other classes all values form one segment. Classes that are
    not evaluated (Unlabeled, ...) are void. Category ids are label + 1, as in the panoptic
    annotation of the download. If that annotation is available, :class:`MapillaryPanopticDataset`
    reads it directly; unlike the instance PNGs it marks crowds.

    Args:
        source: the unpacked download.
        target: folder to write to, usually the same.
        split: training or validation.
        version: v1.2 or v2.0.
        workers: number of processes.

    Returns:
        number of images.

    Raises:
        FileNotFoundError: the config does not exist.
        ValueError: a folder, an image, an annotation or the config is missing, broken, of another
            size than its image, or contains an unknown value; the text names it.
    """
    if version not in VERSIONS:
        raise ValueError(f'version {version!r} must be one of {", ".join(VERSIONS)}')
    source, target = Path(source), Path(target)
    config = source / f'config_{version}.json'
    if version == 'v1.2' and not config.is_file():
        config = source / 'config.json'
    labels = read_classes(str(config))
    annotations = source / split / version / 'instances'
    if version == 'v1.2' and not annotations.is_dir():
        annotations = source / split / 'instances'
    folder = target / f'annotations/panoptic_{version}_{split}'
    folder.mkdir(parents=True, exist_ok=True)
    convert = partial(_convert_image, annotations=annotations, labels=labels, folder=folder)
    converted = run_all(convert, list_images(source / split / 'images'), workers)
    write_jsons(
        converted, [category(value + 1, label.name, label.is_thing, label.color)
                    for value, label in enumerate(labels) if label.evaluated],
        folder.with_name(f'{folder.name}.json'),
        folder.with_name(f'instances_{version}_{split}.json'))
    return len(converted)


def label_segments(values: np.ndarray, labels: Sequence[VistasLabel],
                   path: PathLike) -> tuple[np.ndarray, dict[int, Segment]]:
    """Return segment ids of the values of an instance PNG, and the segments.

    Args:
        values: distinct values.
        labels: the classes by label.
        path: path of the PNG, for error texts.

    Returns:
        the id of each value, and the segments by id. Ids are values + 1, because value 0, the first
        bird, would be void; a stuff segment has the id of its first value.

    Raises:
        ValueError: the config does not contain a label.
    """
    ids, segments = [], {}
    for value in values.tolist():
        number = value // 256
        if number >= len(labels):
            raise ValueError(f'{path}: value {value} is 256 * label {number} + {value % 256}, but '
                             f'the config has {len(labels)} labels; is it of another version?')
        thing = labels[number].is_thing
        ids.append((value if thing else number * 256) + 1)
        if labels[number].evaluated:
            segments[ids[-1]] = Segment(number + 1, thing)
    return np.array(ids), segments


def _convert_image(path: Path, annotations: Path, labels: Sequence[VistasLabel],
                   folder: Path) -> Converted:
    name = path.stem
    size = read_size(path)
    annotation = annotations / f'{name}.png'
    values = read_labels(annotation, size, path)
    present = distinct_values(values)
    ids, segments = label_segments(present, labels, annotation)
    table = np.zeros(present[-1] + 1, np.int32)
    table[present] = ids
    image = dict(id=name, file_name=path.name, height=size[0], width=size[1])
    return write_image(table[values], segments, image, folder / f'{name}.png')
