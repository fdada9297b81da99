"""Scenes as labeling tools leave them: the same segments as in the panoptic data."""
import json
import sys

import cv2
import numpy as np
import pytest

from mmpanseg.datasets.scenes import __main__ as program
from mmpanseg.datasets.scenes import make_scene
from mmpanseg.datasets.scenes.generator import CLASSES, THING_CLASSES

SIZE = (96, 128)


@pytest.fixture
def scenes():
    """What the generator draws for two training scenes and one of validation."""
    found = []
    for split, count in (('train', 2), ('val', 1)):
        for number in range(count):
            rng = np.random.default_rng([0, *split.encode(), number])
            found.append(make_scene(rng, SIZE))
    return found


@pytest.fixture
def draw(tmp_path, monkeypatch, capsys):
    def run(form):
        monkeypatch.setattr(sys, 'argv', ['scenes', str(tmp_path), form, '--train', '2', '--val',
                                          '1', '--size', *map(str, SIZE)])
        program.main()
        assert capsys.readouterr().out == f'3 scenes written to {tmp_path}\n'
        return tmp_path
    return run


def classes_of(index, names, void=255):
    return np.array([*map(CLASSES.index, names), void])[index]


def fill(image, points, value):
    cv2.fillPoly(image, [np.floor(points).astype(np.int32)], value)


def test_labelme(draw, scenes):
    folder = draw('--labelme')
    for number, (_, index, names) in enumerate(scenes):
        content = json.loads((folder / f'photo_{number:04d}.json').read_text())
        assert (content['imageHeight'], content['imageWidth']) == SIZE
        assert (folder / content['imagePath']).is_file() and content['imageData'] is None
        drawn = np.full(SIZE, 255, np.uint8)
        for shape in content['shapes']:
            fill(drawn, np.array(shape['points']), CLASSES.index(shape['label']))
        known = index >= 0
        # borders are within a pixel, slivers are left out
        assert (drawn == classes_of(index, names))[known].mean() > 0.95
        kinds = [shape['label'] in THING_CLASSES for shape in content['shapes']]
        assert kinds == sorted(kinds)  # things in front of stuff
        objects = {(shape['label'], shape['group_id'] or number)
                   for number, shape in enumerate(content['shapes'], 1000)}
        assert len(objects) <= len(names)


def test_yolo(draw, scenes):
    folder = draw('--yolo')
    for name, (_, index, names) in zip(('train/photo_0000', 'train/photo_0001', 'val/photo_0000'),
                                       scenes):
        assert (folder / f'images/{name}.jpg').is_file()
        lines = (folder / f'labels/{name}.txt').read_text().splitlines()
        things = [k for k, label in enumerate(names) if label in THING_CLASSES]
        assert len(lines) == len(things)
        for line, k in zip(lines, things):
            label, *numbers = line.split()
            assert THING_CLASSES[int(label)] == names[k]
            drawn = np.zeros(SIZE, np.uint8)
            fill(drawn, np.array(numbers, float).reshape(-1, 2) * SIZE[::-1], 1)
            # one polygon per object: its largest part, if others cover its middle
            _, parts, stats, _ = cv2.connectedComponentsWithStats((index == k).astype(np.uint8))
            mask = parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
            drawn = drawn.astype(bool)
            assert (drawn & mask).sum() > 0.75 * (drawn | mask).sum()
    text = (folder / 'data.yaml').read_text()
    assert text.startswith('train: images/train\nval: images/val\nnames:\n  0: ball\n')


def test_label_maps(draw, scenes):
    folder = draw('--label-maps')
    assert (folder / 'classes.txt').read_text().split() == list(CLASSES)
    for number, (image, index, names) in enumerate(scenes):
        stem = f'photo_{number:04d}'
        found = cv2.imread(str(folder / f'labels/{stem}.png'), cv2.IMREAD_UNCHANGED)
        assert (found == classes_of(index, names)).all()
        photo = cv2.imread(str(folder / f'images/{stem}.jpg'))[..., ::-1]
        assert np.abs(photo.astype(int) - image).mean() < 5
