"""COCO: panoptic annotation -> maps of semantic labels."""
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mmpanseg.datasets.coco import CocoPanopticDataset
from mmpanseg.datasets.converters.common import PathLike, run_all
from mmpanseg.datasets.transforms.loading_panoptic import index_segments
from mmpanseg.structures.label_image import IGNORE_INDEX
from mmpanseg.structures.panoptic_png import read_panoptic_png


def convert_coco_semantic(source: PathLike, target: PathLike, split: str,
                          workers: int = 1) -> int:
    """Write a label map for each image of a split: 133 labels, things first, 255 = void.

    Reads ``source/annotations/panoptic_{split}.json`` and ``panoptic_{split}/``; writes
    ``target/annotations/panoptic_semseg_{split}/``. All segments of a class have its label, crowds
    too, since the class of their pixels is known. Repeated runs write the same files.

    Args:
        source: folder of the annotations, usually data/coco.
        target: folder to write to, usually the same.
        split: train2017 or val2017.
        workers: number of processes.

    Returns:
        number of images.

    Raises:
        FileNotFoundError: a PNG does not exist.
        ValueError: a file is missing, broken, or does not agree with the JSON; the text names it.
    """
    file = Path(source) / f'annotations/panoptic_{split}.json'
    if not file.is_file():
        raise ValueError(f'{file} does not exist; it is in COCO\'s panoptic annotations, to be '
                         'unpacked together with the archives of PNGs inside')
    folder = Path(target) / f'annotations/panoptic_semseg_{split}'
    folder.mkdir(parents=True, exist_ok=True)
    data = CocoPanopticDataset(
        ann_file=str(file), data_prefix=dict(img='', seg=str(file.with_suffix(''))),
        test_mode=True, serialize_data=False)
    tasks = [info for info in data.data_list if info['seg_map_path'] is not None]
    run_all(partial(_convert_image, folder=folder), tasks, workers)
    return len(tasks)


def _convert_image(info: dict, folder: Path) -> None:
    path = info['seg_map_path']
    segments = [dict(id=segment['id']) for segment in info['segments_info']]
    index = index_segments(read_panoptic_png(path), segments, path)
    labels = np.array([*(segment['category'] for segment in info['segments_info']), IGNORE_INDEX],
                      np.uint8)
    Image.fromarray(labels[index]).save(folder / Path(path).name)
