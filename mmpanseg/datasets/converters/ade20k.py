"""ADE20K: semantic and instance PNGs -> COCO panoptic and COCO instance format."""
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmpanseg.datasets.ade20k import THING_PLACES, ADE20KSemanticDataset
from mmpanseg.datasets.converters.common import (
    Converted,
    PathLike,
    Segment,
    category,
    check_size,
    list_images,
    read_labels,
    read_size,
    run_all,
    write_image,
    write_jsons,
)

FOLDERS = {'train': 'training', 'val': 'validation'}
NUM_CLASSES = 150
# ids of instances come after those of stuff, which are the semantic values 1 .. 150
FIRST_INSTANCE = 1000


def convert_ade20k(source: PathLike, target: PathLike, split: str, workers: int = 1) -> int:
    """Write one split in COCO panoptic and COCO instance format.

    Reads ``images``, ``annotations`` and ``annotations_instance`` of ``source``
    (ADEChallengeData2016); writes ``ade20k_panoptic_{split}.json``, ``ade20k_panoptic_{split}/``
    and ``ade20k_instance_{split}.json`` to ``target``. Repeated runs write the same files.

    As for the published panoptic results, stuff is read from the semantic annotation and the
    instances are drawn over it. Things without an instance and value 0 (other) are void. The
    red channel of an instance PNG is the class (1 .. 100), the green one the number of the
    instance. Category ids are the places 0 .. 149 of the classes in the semantic annotation.

    Args:
        source: the unpacked downloads.
        target: folder to write to, usually the same.
        split: train or val.
        workers: number of processes.

    Returns:
        number of images.

    Raises:
        ValueError: a folder, an image or an annotation is missing, broken, of another size than its
            image, or contains an unknown value; the text names it.
    """
    if split not in FOLDERS:
        raise ValueError(f'split {split!r} must be one of {", ".join(FOLDERS)}')
    source, target = Path(source), Path(target)
    images = source / 'images' / FOLDERS[split]
    folder = target / f'ade20k_panoptic_{split}'
    folder.mkdir(parents=True, exist_ok=True)
    convert = partial(
        _convert_image, images=images, folder=folder,
        semantic=source / 'annotations' / FOLDERS[split],
        instance=source / 'annotations_instance' / FOLDERS[split])
    converted = run_all(convert, list_images(images), workers)
    meta = ADE20KSemanticDataset.METAINFO
    write_jsons(
        converted, [category(place, name, place in THING_PLACES, color) for place, (name, color)
                    in enumerate(zip(meta['classes'], meta['palette']))],
        folder.with_suffix('.json'), target / f'ade20k_instance_{split}.json')
    return len(converted)


def _convert_image(path: Path, images: Path, folder: Path, semantic: Path,
                   instance: Path) -> Converted:
    size = read_size(path)
    inside = path.relative_to(images)
    png = inside.with_suffix('.png')
    ids = read_labels(semantic / png, size, path)
    if ids.max() > NUM_CLASSES:
        raise ValueError(f'{semantic / png}: value {ids.max()} is none of the {NUM_CLASSES} '
                         'classes and not 0 (other)')
    classes, numbers = _read_instances(instance / png, size, path)
    drawn = numbers > 0
    segments = {place + 1: Segment(place, False) for place in range(NUM_CLASSES)
                if place not in THING_PLACES}
    ids = np.where(drawn, FIRST_INSTANCE + 256 * classes + numbers, ids)
    for value in np.unique(ids[drawn]).tolist():
        place = (value - FIRST_INSTANCE) // 256
        if not 1 <= place <= len(THING_PLACES):
            raise ValueError(f'{instance / png}: red value {place} of an instance is none of the '
                             f'classes 1 .. {len(THING_PLACES)}')
        segments[value] = Segment(THING_PLACES[place - 1], True)
    name = inside.with_suffix('').as_posix()
    image = dict(id=name, file_name=inside.as_posix(), height=size[0], width=size[1])
    (folder / png).parent.mkdir(parents=True, exist_ok=True)
    return write_image(ids, segments, image, folder / png, png.as_posix())


def _read_instances(path: Path, size: tuple[int, int],
                    image_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read class and number of the instance of each pixel, int64 [H, W]."""
    try:
        pixels = np.asarray(Image.open(path))
    except FileNotFoundError:
        raise ValueError(f'{path} does not exist, the instance annotation of {image_path}; it is a '
                         'download of its own, annotations_instance.tar') from None
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f'{path}: not a readable image ({error})') from error
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise ValueError(f'{path}: has shape {pixels.shape} and type {pixels.dtype}; an instance '
                         'annotation has 8-bit channels red (class) and green (instance)')
    check_size(path, pixels.shape, size, image_path)
    return pixels[..., 0].astype(np.int64), pixels[..., 1].astype(np.int64)
