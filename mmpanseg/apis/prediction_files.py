"""Predictions of an inferencer as files in COCO's formats."""
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmpanseg.structures.panoptic_png import write_panoptic_png


class PredictionFiles:
    """Writes predictions image by image; the JSON files list all written to the same folder.

    - panoptic: a PNG of `panoptic_seg` in COCO's colour coding, {name of the image}.png, and
      panoptic.json that describes the PNGs;
    - instances: instances.json, a list of results in COCO's format, masks as run lengths;
    - semantic: a PNG of the labels, {name of the image}_semantic.png, 16 bit from 257 classes on.

    Category ids are the contiguous labels; image ids count the images of the folder from 0.

    Args:
        classes: names by label.
        num_things: labels below are things.
    """

    def __init__(self, classes: Sequence[str], num_things: int) -> None:
        self.classes = classes
        self.num_things = num_things
        self._folders: dict[Path, dict] = {}
        self._unnamed = 0

    def write(self, folder: Path, source: str | None, size: tuple[int, int],
              prediction: dict) -> None:
        """Write one prediction.

        Args:
            folder: where to.
            source: path of the image; None for an array.
            size: (H, W) of the image.
            prediction: dict as the inferencer gives it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        here = self._folders.setdefault(
            folder, dict(names=[], images=[], annotations=[], instances=[]))
        stem = self._stem(source, here['names'])
        image_id = len(here['names'])
        here['names'].append(stem)
        here['images'].append(dict(id=image_id, file_name=str(source or f'{stem}.png'),
                                   height=size[0], width=size[1]))
        if 'panoptic_seg' in prediction:
            self._write_panoptic(folder, here, stem, prediction)
        if 'instances' in prediction:
            here['instances'] += [_coco_result(image_id, found)
                                  for found in prediction['instances']]
            (folder / 'instances.json').write_text(json.dumps(here['instances']))
        if 'sem_seg' in prediction:
            kind = np.uint8 if len(self.classes) <= 256 else np.uint16
            Image.fromarray(prediction['sem_seg'].astype(kind)).save(
                folder / f'{stem}_semantic.png')

    def _stem(self, source: str | None, taken: list[str]) -> str:
        """File name without suffix that is still free."""
        if source:
            stem = Path(source).stem
        else:
            stem = f'{self._unnamed:08d}'
            self._unnamed += 1
        name, repeat = stem, 1
        while name in taken:
            name, repeat = f'{stem}_{repeat}', repeat + 1
        return name

    def _write_panoptic(self, folder: Path, here: dict, stem: str, prediction: dict) -> None:
        segments, panoptic_seg = prediction['segments_info'], prediction['panoptic_seg']
        write_panoptic_png(folder / f'{stem}.png', panoptic_seg)
        areas = np.bincount(panoptic_seg.ravel(), minlength=len(segments) + 1)
        here['annotations'].append(dict(
            image_id=here['images'][-1]['id'], file_name=f'{stem}.png', segments_info=[
                dict(id=s['id'], category_id=s['label'], iscrowd=0, area=int(areas[s['id']]),
                     score=s['score']) for s in segments]))
        categories = [dict(id=label, name=name, isthing=int(label < self.num_things))
                      for label, name in enumerate(self.classes)]
        (folder / 'panoptic.json').write_text(json.dumps(dict(
            images=here['images'], annotations=here['annotations'], categories=categories)))


def _coco_result(image_id: int, found: dict) -> dict:
    x1, y1, x2, y2 = found['bbox']
    return dict(image_id=image_id, category_id=found['label'], score=found['score'],
                bbox=[x1, y1, x2 - x1, y2 - y1], segmentation=found['mask'])
