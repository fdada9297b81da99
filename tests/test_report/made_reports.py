"""Reports of predictions with planted errors, as files."""
import numpy as np

from mmpanseg.evaluation.panoptic_quality import PanopticMap
from mmpanseg.pages.picture_files import write_jpeg
from mmpanseg.report.prediction import Prediction
from mmpanseg.report.records import (
    IMAGES,
    ClassRecord,
    ImageRecord,
    Summary,
    record_line,
    write_summary,
)
from mmpanseg.report.scoring import score_image

CLASSES = [ClassRecord('car', True, (200, 0, 0)), ClassRecord('bus', True, (0, 200, 0)),
           ClassRecord('road', False, (90, 90, 90))]
NAMES = [entry.name for entry in CLASSES]


def truth(rng: np.random.Generator) -> PanopticMap:
    """A road with two cars and a bus; a strip of void, and a crowd."""
    grid = np.full((30, 60), 9)
    grid[:2] = 0
    for number in range(3):
        top, width = rng.integers(4, 10), rng.integers(8, 16)
        grid[top:top + 12, 20 * number:20 * number + width] = number + 1
    grid[24:, 50:] = 4
    return PanopticMap(grid, [1, 2, 3, 4, 9], [0, 0, 1, 0, 2],
                       [False, False, False, True, False])


def write_report(folder, preds, numbers=range(12), title='model', classes=CLASSES, order=1,
                 pictures=True, boundary=False, **summary):
    """A report of predictions, which change a copy of the ground truth."""
    folder.mkdir()
    lines = []
    for number in list(numbers)[::order]:
        gt = truth(np.random.default_rng(number))
        grid, labels = gt.map.copy(), {1: 0, 2: 0, 3: 1, 4: 0, 9: 2}
        preds(number, grid, labels)
        ids = np.setdiff1d(grid, 0).tolist()
        record = ImageRecord(len(lines), 100 + number, f'{number:04d}', f'{number:04d}.jpg',
                             (30, 60))
        pred = PanopticMap(grid, ids, [labels[i] for i in ids])
        scored = score_image(record, gt, Prediction(pred, [None] * len(ids), [None] * len(ids)),
                             NAMES, 0.02 if boundary else None)
        if pictures:
            for kind in ('image', 'prediction', 'truth', 'errors'):
                for suffix, size in (('', 60), ('_small', 30)):
                    name = f'pictures/{record.number:06d}_{kind}{suffix}.jpg'
                    (folder / 'pictures').mkdir(exist_ok=True)
                    write_jpeg(folder / name, np.zeros((size // 2, size, 3), np.uint8))
                    scored.record.pictures[kind + suffix] = name
        lines.append(record_line(scored.record))
    (folder / IMAGES).write_text(''.join(f'{line}\n' for line in lines))
    variants = dict.fromkeys(('all', *(['boundary'] if boundary else []), 'small'), {})
    write_summary(folder, Summary(title, True, classes=list(classes), quality=variants, **summary))
    return folder


def right(number, grid, labels):
    pass


def misses_some(number, grid, labels):
    """In every third image a car is missed, and in one the bus is a car."""
    if number % 3 == 0:
        grid[grid == 1] = 9
    if number == 5:
        labels[3] = 0
