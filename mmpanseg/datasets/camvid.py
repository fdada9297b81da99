"""CamVid (Brostow et al. 2009): street photographs with 11 classes, in COCO panoptic format."""
import json
import shutil
from pathlib import Path

import cv2
import numpy as np

from mmpanseg.registry import DATASETS
from mmpanseg.structures.panoptic_png import write_panoptic_png
from .panoptic import PanopticDataset

# label id in the raw files -> (name, is a thing, colour); the id after the last is void
RAW_CLASSES = (
    ('Sky', False, (128, 180, 230)), ('Building', False, (150, 80, 80)),
    ('Pole', False, (190, 190, 130)), ('Road', False, (128, 64, 128)),
    ('Pavement', False, (220, 120, 200)), ('Tree', False, (90, 140, 40)),
    ('SignSymbol', True, (220, 200, 40)), ('Fence', False, (110, 90, 160)),
    ('Car', True, (40, 60, 190)), ('Pedestrian', True, (220, 40, 70)),
    ('Bicyclist', True, (20, 150, 160)))
UNLABELLED = len(RAW_CLASSES)
MIN_THING_PIXELS = 32


@DATASETS.register_module()
class CamVidPanopticDataset(PanopticDataset):
    """CamVid as written by ``tools/dataset_converters/camvid.py``: 4 thing, 7 stuff classes."""

    METAINFO = dict(
        thing_classes=tuple(name for name, thing, _ in RAW_CLASSES if thing),
        stuff_classes=tuple(name for name, thing, _ in RAW_CLASSES if not thing),
        palette=[color for _, thing, color in sorted(RAW_CLASSES, key=lambda c: not c[1])])


def split_segments(labels: np.ndarray) -> tuple[np.ndarray, list[dict]]:
    """Segments of a raw label map.

    Things are 8-connected components: objects of a class that touch become one segment. Components
    of fewer than 32 pixels become void.

    Args:
        labels: uint8 [H, W], 0..11.

    Returns:
        int32 [H, W] of segment ids (0 = void), and their ``segments_info``.
    """
    ids = np.zeros(labels.shape, np.int32)
    segments: list[dict] = []
    for raw, (_, is_thing, _) in enumerate(RAW_CLASSES):
        mask = labels == raw
        count, parts = (cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
                        if is_thing else (2, mask.astype(np.int32)))
        for part in range(1, count):
            where = parts == part
            area = int(where.sum())
            if area < (MIN_THING_PIXELS if is_thing else 1):
                continue
            ids[where] = len(segments) + 1
            x, y, width, height = cv2.boundingRect(where.astype(np.uint8))
            segments.append(dict(id=len(segments) + 1, category_id=raw + 1, iscrowd=0, area=area,
                                 bbox=[x, y, width, height]))
    return ids, segments


def convert_split(source: str, target: str, split: str) -> int:
    """Write one split (``source/{split}``, ``source/{split}annot``) in COCO panoptic format.

    Returns:
        number of images.

    Raises:
        ValueError: for a missing folder or annotation, a file that cannot be read, an annotation of
            another size than its image, a label outside 0..11; the text names the file.
    """
    source, target = Path(source), Path(target)
    folder, annotated = source / split, source / f'{split}annot'
    for needed in (folder, annotated):
        if not needed.is_dir():
            raise ValueError(f'{needed}: no such folder; CamVid has {split}/ and {split}annot/')
    for made in (split, f'panoptic_{split}', 'annotations'):
        (target / made).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, path in enumerate(sorted([*folder.glob('*.jpg'), *folder.glob('*.png')])):
        labels = _read_labels(path, annotated / f'{path.stem}.png')
        ids, segments = split_segments(labels)
        shutil.copyfile(path, target / split / path.name)
        write_panoptic_png(target / f'panoptic_{split}' / f'{path.stem}.png', ids)
        height, width = labels.shape
        images.append(dict(id=number, file_name=path.name, height=height, width=width))
        annotations.append(dict(
            image_id=number, file_name=f'{path.stem}.png', segments_info=segments))
    if not images:
        raise ValueError(f'{folder}: no .jpg or .png image in it')
    categories = [dict(id=raw + 1, name=name, isthing=int(thing), color=list(color))
                  for raw, (name, thing, color) in enumerate(RAW_CLASSES)]
    (target / f'annotations/panoptic_{split}.json').write_text(json.dumps(
        dict(images=images, annotations=annotations, categories=categories)))
    return len(images)


def _read_labels(image_path: Path, path: Path) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f'{image_path}: has no annotation {path}')
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    image = cv2.imread(str(image_path))
    for file, content in ((path, labels), (image_path, image)):
        if content is None:
            raise ValueError(f'{file}: not a readable image')
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ValueError(f'{path}: a label map has one 8-bit channel, this has {labels.shape}')
    if labels.shape != image.shape[:2]:
        raise ValueError(f'{path}: is {labels.shape}, its image {image_path} {image.shape[:2]}')
    if labels.max() > UNLABELLED:
        raise ValueError(f'{path}: label {labels.max()} lies outside 0..{UNLABELLED}')
    return labels
