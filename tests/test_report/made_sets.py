"""Small panoptic sets with predictions that have every kind of error, as files."""
import json
from pathlib import Path

import cv2
import numpy as np

from mmpanseg.structures.panoptic_png import write_panoptic_png

SIZE = (96, 128)
THINGS, STUFF = ('ball', 'box'), ('sky', 'ground')
NAMES = (*THINGS, *STUFF)
# other order and ids than the labels
CATEGORIES = [dict(id=7, name='sky', isthing=0), dict(id=3, name='box', isthing=1),
              dict(id=5, name='ball', isthing=1), dict(id=9, name='ground', isthing=0)]
CATEGORY = {entry['name']: entry['id'] for entry in CATEGORIES}


def maps(rng, size=SIZE):
    """Ground truth and predicted map of ids, and the (id, name, iscrowd) of their segments."""
    height, width = size
    truth = np.full(size, 1)
    truth[height // 2:] = 2
    segments = [(1, 'sky', 0), (2, 'ground', 0)]
    pred, predicted = truth.copy(), list(segments[:2])
    for number in range(int(rng.integers(3, 8))):
        x, y = int(rng.integers(8, width - 24)), int(rng.integers(8, height - 24))
        side = int(rng.integers(4, 20))
        name = NAMES[int(rng.integers(2))]
        place = np.s_[y:y + side, x:x + side]
        truth[place] = 10 + number
        segments.append((10 + number, name, int(rng.random() < 0.1)))
        if rng.random() < 0.2:
            continue  # missed
        shift = int(rng.integers(0, 1 + side // 2))
        pred[y:y + side, x + shift:x + shift + side] = 300 + number
        predicted.append((300 + number, NAMES[int(rng.integers(2))] if rng.random() < 0.3
                          else name, 0))
    if rng.random() < 0.5:
        pred[2:12, 2:14] = 999
        predicted.append((999, 'box', 0))
    truth[:3] = 0
    pred[-4:, :20] = 0

    def present(ids, listed):
        return [entry for entry in listed if (ids == entry[0]).any()]
    return truth, present(truth, segments), pred, present(pred, predicted)


def write_set(folder: Path, count: int = 6, seed: int = 0, size=SIZE, images: bool = True) -> None:
    """Write images/, truth.json with truth/, pred.json with pred/, and config.py."""
    rng = np.random.default_rng(seed)
    for name in ('images', 'truth', 'pred'):
        (folder / name).mkdir(parents=True)
    listed, sides = [], dict(truth=[], pred=[])
    for number in range(count):
        truth, segments, pred, predicted = maps(rng, size)
        name = f'{number:04d}'
        if images:
            cv2.imwrite(str(folder / f'images/{name}.jpg'),
                        rng.integers(40, 200, (*size, 3)).astype(np.uint8))
        listed.append(dict(id=100 + number, file_name=f'{name}.jpg', height=size[0],
                           width=size[1]))
        for side, ids, entries in (('truth', truth, segments), ('pred', pred, predicted)):
            write_panoptic_png(folder / side / f'{name}.png', ids)
            infos = [dict(id=segment, category_id=CATEGORY[label], iscrowd=crowd,
                          area=int((ids == segment).sum())) for segment, label, crowd in entries]
            if side == 'pred':
                for info in infos:
                    info['score'] = round(float(rng.uniform(0.3, 1)), 3)
            sides[side].append(dict(image_id=100 + number, file_name=f'{name}.png',
                                    segments_info=infos))
    for side, annotations in sides.items():
        content = dict(annotations=annotations)
        if side == 'truth':
            content.update(images=listed, categories=CATEGORIES)
        (folder / f'{side}.json').write_text(json.dumps(content))
    (folder / 'config.py').write_text(f"""
default_scope = 'mmdet'
test_dataloader = dict(batch_size=1, num_workers=0, dataset=dict(
    type='mmpanseg.PanopticDataset', data_root={str(folder)!r}, ann_file='truth.json',
    data_prefix=dict(img='images', seg='truth'), test_mode=True,
    metainfo=dict(thing_classes={THINGS}, stuff_classes={STUFF},
                  palette=[(200, 60, 60), (220, 160, 60), (90, 150, 220), (90, 160, 70)]),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap'),
              dict(type='mmpanseg.PackPanopticInputs')]))
test_evaluator = dict(type='mmpanseg.PanopticMetric')
""")
