"""Small data sets of each kind, whose every pixel is known."""
import json
from pathlib import Path

import cv2
import numpy as np

SIZE = (48, 64)
# a name that a page must not run, and a file name with quotes, marks and another alphabet
EVIL = '<script>alert(1)</script>'
NAMES = ['a.png', 'b "quoted" & <b>.png', 'ключ 図.png', 'd.png', 'e.png', 'f.png']


def panoptic_maps() -> list[tuple[np.ndarray, list[dict]]]:
    """Maps of ids, 0 = void, and their segments: 1 = ball, 2 = evil (things), 3 = sky (stuff)."""
    made = []
    for number in range(len(NAMES)):
        ids = np.full(SIZE, 30)
        ids[:6 + number] = 0
        ids[40:] = 31  # crowd
        segments = [dict(id=30, category_id=3, iscrowd=0), dict(id=31, category_id=1, iscrowd=1)]
        for ball in range(1 + number % 4):
            ids[20:26 + ball, 4 + 14 * ball:10 + 14 * ball] = 1 + ball
            segments.append(dict(id=1 + ball, category_id=1 + ball % 2, iscrowd=0))
        if number == 2:
            ids[30:32, 50:53] = 9
            segments.append(dict(id=9, category_id=2, iscrowd=0))
        made.append((ids, segments))
    return made


def write_panoptic(folder: Path) -> None:
    """Write the images, the panoptic annotation, and label maps of three classes."""
    for name in ('images', 'panoptic', 'labels'):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number, (ids, segments) in enumerate(panoptic_maps()):
        name = NAMES[number]
        pixels = rng.integers(40, 216, (*SIZE, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / 'images' / name), pixels)
        cv2.imwrite(str(folder / 'panoptic' / f'{number}.png'),
                    np.dstack([0 * ids, 0 * ids, ids]).astype(np.uint8))
        label_of = {segment['id']: segment['category_id'] - 1 for segment in segments}
        labels = np.vectorize(lambda i, known=label_of: known.get(i, 255))(ids).astype(np.uint8)
        cv2.imwrite(str(folder / 'labels' / name), labels)
        images.append(dict(id=100 + number, file_name=name, height=SIZE[0], width=SIZE[1]))
        annotations.append(dict(image_id=100 + number, file_name=f'{number}.png',
                                segments_info=segments))
    categories = [dict(id=1, name='ball', isthing=1), dict(id=2, name=EVIL, isthing=1),
                  dict(id=3, name='sky', isthing=0)]
    (folder / 'panoptic.json').write_text(json.dumps(
        dict(images=images, annotations=annotations, categories=categories)))


def write_instances(folder: Path) -> None:
    """Add two overlapping squares and a crowd to each image, in COCO instance format."""
    content = json.loads((folder / 'panoptic.json').read_text())
    annotations = []
    for image in content['images']:
        for (left, top, side), crowd in (((4, 4, 20), 0), ((14, 10, 20), 0), ((40, 30, 10), 1)):
            corners = [left, top, left + side, top, left + side, top + side, left, top + side]
            segmentation = [corners]
            if crowd:
                mask = np.zeros(SIZE, np.uint8)
                mask[top:top + side, left:left + side] = 1
                flat = mask.T.reshape(-1)
                starts = np.flatnonzero(np.diff(flat, prepend=0))
                segmentation = dict(size=list(SIZE), counts=np.diff(
                    [0, *starts, flat.size]).tolist())
            annotations.append(dict(
                id=len(annotations) + 1, image_id=image['id'], category_id=1, iscrowd=crowd,
                segmentation=segmentation, bbox=[left, top, side, side], area=side * side))
    (folder / 'instances.json').write_text(json.dumps(dict(
        content, annotations=annotations, categories=content['categories'][:2])))


PIPELINE = [
    dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap'),
    dict(type='RandomCrop', crop_size=(40, 32), crop_type='absolute', allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5), dict(type='mmpanseg.PackPanopticInputs')]


def dataset_of(folder: Path, kind: str = 'panoptic', pipeline: list | None = None) -> dict:
    """Config of a data set of a kind."""
    steps = [dict(step) for step in pipeline or PIPELINE]
    if kind == 'panoptic':
        return dict(type='mmpanseg.PanopticDataset', data_root=str(folder),
                    ann_file='panoptic.json', data_prefix=dict(img='images', seg='panoptic'),
                    pipeline=steps)
    if kind == 'semantic':
        steps[1] = dict(type='mmpanseg.LoadSemanticMap')
        return dict(type='mmpanseg.SemanticDataset', data_root=str(folder),
                    data_prefix=dict(img='images', seg='labels'), pipeline=steps,
                    metainfo=dict(classes=('ball', EVIL, 'sky')))
    steps[1] = dict(type='mmpanseg.LoadInstanceMasks')
    return dict(type='mmpanseg.InstanceDataset', data_root=str(folder), ann_file='instances.json',
                data_prefix=dict(img='images'), pipeline=steps)
