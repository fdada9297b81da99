"""Damaged annotations of labeling tools: a wrong value is an error of one line, or is read."""
import copy
import json
import shutil
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpanseg.importers.reader import ReadOptions
from mmpanseg.importers.write_panoptic import flatten, map_segments, object_layers

from ..fuzz import cases
from . import (
    test_cvat,
    test_labelme,
    test_labelstudio,
    test_roboflow,
    test_supervisely,
    test_voc,
    test_yolo,
)
from .labeled import SIZE, box, photo, write

WRONG = [None, True, 0, -1, 7, 1e300, float('nan'), '', 'x', [], {}, [1], [[1, 2]], [[1, 2], [3]],
         {'a': 1}, [None], [[None, 1]], [{}], '../../../etc/passwd', 'a\0b', 'e\u0301\ud800']


def labelme(src):
    photo(src / 'a.jpg')
    return src / 'a.json', test_labelme.annotation([
        test_labelme.rectangle('cat', 1, 1, 5, 5),
        test_labelme.shape('dog', 'polygon', [[2, 3], [8, 3], [8, 7]]),
        test_labelme.shape('disc', 'circle', [[5, 5], [8, 8]]),
        test_labelme.shape('spot', 'mask', [[1, 20], [3, 22]], mask=test_labelme.png(
            np.ones((3, 3), bool)))])


def labelstudio(src):
    photo(src / 'a.jpg')
    return src / 'export.json', [test_labelstudio.task([
        test_labelstudio.rectangle('cat', 2, 2, 8, 8),
        test_labelstudio.result('polygonlabels', 'dog', points=[[1, 2], [9, 2], [9, 9]]),
        test_labelstudio.result('ellipselabels', 'egg', x=5, y=6, radiusX=3, radiusY=3),
        test_labelstudio.result('brushlabels', 'spot', rle=test_labelstudio.GOOD)])]


def supervisely(src):
    test_supervisely.source(src, [])
    return src / 'ds0/ann/a.jpg.json', test_supervisely.annotation([
        test_supervisely.figure('cat', 'polygon', [[2, 3], [9, 3], [9, 9]], [[[4, 4], [5, 4]]]),
        test_supervisely.figure('frame', 'rectangle', [[3, 2], [8, 1]]),
        test_supervisely.bitmap('spot', box(0, 0, 2, 2, (2, 2)), (1, 1))])


def supervisely_meta(src):
    test_supervisely.source(src, [test_supervisely.figure('frame', 'rectangle', [[3, 2], [8, 1]])])
    return src / 'meta.json', test_supervisely.META


def roboflow(src):
    test_roboflow.part(src / 'train', ['a.jpg'], [test_roboflow.rectangle(0, 0, 1, 2, 3, 8, 7)])
    file = src / 'train/_annotations.coco.json'
    return file, json.loads(file.read_text())


def cvat_coco(src):
    photo(src / 'images/a.jpg')
    return src / 'annotations/instances_default.json', test_cvat.coco([
        dict(category_id=1, segmentation=[[0, 0, 30, 0, 30, 20, 0, 20]]),
        dict(category_id=2, segmentation=dict(size=[30, 40], counts=[100, 200, 900]))])


def places(content, path=()):
    """Yield the path of each value in a JSON."""
    items = content.items() if isinstance(content, dict) else (
        enumerate(content) if isinstance(content, list) and len(content) < 20 else ())
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def survives(form, src):
    """Read all masks; anything but a ValueError of one line fails the test."""
    try:
        reader = import_module(f'mmpanseg.importers.formats.{form}').READER(src, ReadOptions())
        reader.scratch = src.parent / 'scratch'
        images = reader.list_images()
        names = {item.name: item.name for item in reader.list_classes()}
        for image in images:
            if image.size in (None, SIZE):
                content = reader.read_image(image)
                layers, _ = object_layers(content, SIZE, names, '')
                base = map_segments(content, SIZE, names, '')
                flatten(layers, base, SIZE, frozenset(names), reader.ordered)
    except ValueError as error:
        assert '\n' not in str(error).strip()


@pytest.mark.parametrize('source, form', [
    (labelme, 'labelme'), (labelstudio, 'labelstudio'), (supervisely, 'supervisely'),
    (supervisely_meta, 'supervisely'), (roboflow, 'roboflow'), (cvat_coco, 'cvat')])
@cases(10)
@given(data=st.data())
def test_wrong_values(tmp_path, source, form, data):
    src = tmp_path / 'src'
    shutil.rmtree(src, ignore_errors=True)
    file, content = source(src)
    content = copy.deepcopy(content)
    *path, key = data.draw(st.sampled_from(list(places(content))))
    place = content
    for step in path:
        place = place[step]
    value = data.draw(st.sampled_from([*WRONG, 'removed']))
    if value == 'removed':
        del place[key]
    else:
        place[key] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    survives(form, src)


@cases(20)
@given(data=st.data())
def test_damaged_texts(tmp_path, data):
    src = tmp_path / 'src'
    shutil.rmtree(src, ignore_errors=True)
    form = data.draw(st.sampled_from(['cvat', 'yolo', 'voc']))
    if form == 'cvat':
        photo(src / 'images/a.jpg')
        files = [write(src / 'annotations.xml', test_cvat.xml(test_cvat.image(
            test_cvat.polygon('road', '2,3', '8,3', '8,7') + test_cvat.rect('car', 1, 2, 5, 6)
            + '<mask label="car" rle="1, 3" left="0" top="0" width="2" height="2"></mask>'
            + '<ellipse label="egg" cx="20" cy="15" rx="5" ry="12.5" rotation="90"></ellipse>')))]
    elif form == 'yolo':
        test_yolo.data_set(src)
        files = [src / 'data.yaml', src / 'labels/train/train.txt']
    else:
        test_voc.source(src)
        files = [write(src / 'class_names.txt', 'background\ncat\ndog\n'),
                 write(src / 'ImageSets/Segmentation/train.txt', 'a\n'),
                 src / 'SegmentationObject/a.png']
    file = data.draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    stop = data.draw(st.integers(start, min(start + 12, len(content))))
    content[start:stop] = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from(
        [b'"', b'-1', b'nan', b'1e999', b'9' * 30, b'\xff', b'\0', b'../..', b'<', b'[', b'\r\n'])))
    file.write_bytes(content)
    survives(form, src)
