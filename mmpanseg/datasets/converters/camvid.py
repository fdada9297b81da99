"""CamVid: label maps -> COCO panoptic and COCO instance format."""
import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mmpanseg.datasets.camvid import RAW_CLASSES, UNLABELED
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

MIN_THING_PIXELS = 32


def convert_camvid(source: PathLike, target: PathLike, split: str, workers: int = 1) -> int:
    """Write one split for panoptic, instance and semantic segmentation.

    Reads ``source/{split}/`` and ``{split}annot/``; writes to ``target`` copies of the images
    (``{split}/``) and of the label maps (``semantic_{split}/``), ``panoptic_{split}/`` and
    ``annotations/{panoptic,instances}_{split}.json``. Repeated runs write the same files.

    Args:
        source: folder of the download.
        target: folder to write to.
        split: train, val or test.
        workers: number of processes.

    Returns:
        number of images.

    Raises:
        ValueError: a folder or annotation is missing, a file cannot be read, an annotation has
            another size than its image or a label outside 0..11; the text names the file.
    """
    source, target = Path(source), Path(target)
    for needed in (source / split, source / f'{split}annot'):
        if not needed.is_dir():
            raise ValueError(
                f'{needed}: no such folder; CamVid has {split}/ and {split}annot/')
    paths = list_images(source / split)
    for made in (split, f'semantic_{split}', f'panoptic_{split}'):
        (target / made).mkdir(parents=True, exist_ok=True)
    converted = run_all(partial(_convert_image, source=source, target=target, split=split),
                        list(enumerate(paths)), workers)
    categories = [category(raw + 1, *rest) for raw, rest in enumerate(RAW_CLASSES)]
    annotations = target / 'annotations'
    write_jsons(converted, categories, annotations / f'panoptic_{split}.json',
                annotations / f'instances_{split}.json')
    return len(converted)


def split_segments(labels: np.ndarray) -> tuple[np.ndarray, dict[int, Segment]]:
    """Split a raw label map into segments.

    Things are 8-connected components: objects of a class that touch become one segment. Components
    of fewer than 32 pixels become void.

    Args:
        labels: labels, uint8 [H, W], 0..11.

    Returns:
        segment ids int32 [H, W] (0 = void), and the segments by id.
    """
    ids = np.zeros(labels.shape, np.int32)
    segments: dict[int, Segment] = {}
    for raw, (_, is_thing, _) in enumerate(RAW_CLASSES):
        mask = labels == raw
        count, parts = (cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
                        if is_thing else (2, mask.astype(np.int32)))
        for part in range(1, count):
            where = parts == part
            if where.sum() < (MIN_THING_PIXELS if is_thing else 1):
                continue
            number = len(segments) + 1
            ids[where] = number
            segments[number] = Segment(raw + 1, is_thing)
    return ids, segments


def _convert_image(task: tuple[int, Path], source: Path, target: Path, split: str) -> Converted:
    number, path = task
    height, width = size = read_size(path)
    annotation = source / f'{split}annot' / f'{path.stem}.png'
    labels = read_labels(annotation, size, path)
    if labels.max() > UNLABELED:
        raise ValueError(f'{annotation}: label {labels.max()} lies outside 0..{UNLABELED}')
    shutil.copyfile(path, target / split / path.name)
    shutil.copyfile(annotation, target / f'semantic_{split}' / annotation.name)
    image = dict(id=number, file_name=path.name, height=height, width=width)
    return write_image(*split_segments(labels), image,
                       target / f'panoptic_{split}' / annotation.name)
