"""Files of a page: those of the result, without the classes that are off."""
import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from mmpanseg.structures.panoptic_png import rgb2id
from mmpanseg.ui import examples
from mmpanseg.ui.downloads import KINDS, file_name, make_file
from mmpanseg.ui.session import Session
from mmpanseg.ui.view import encode_jpeg, frame_view

from .test_workbench import make_video


def read_png(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_picture(shown):
    session, _ = shown
    result = session.frames[0].result
    np.testing.assert_array_equal(
        read_png(make_file(session, 'picture.png', alpha=0.8, names=False)),
        result.plot(alpha=0.8, with_labels=False, min_score=0))
    label = result.segments[0].label
    rest = [k for k in range(4) if k != label]
    np.testing.assert_array_equal(read_png(make_file(session, 'picture.png', hidden=[label])),
                                  result.filter(classes=rest).plot(min_score=0))


@pytest.mark.parametrize('hide', [False, True])
def test_coco(shown, hide):
    session, _ = shown
    result = session.frames[0].result
    hidden = [result.segments[0].label] if hide else []
    result = result.filter(classes=[k for k in range(4) if k not in hidden])
    with zipfile.ZipFile(io.BytesIO(make_file(session, 'coco.zip', hidden=hidden))) as archive:
        assert sorted(archive.namelist()) == [
            'instances.json', 'panoptic.json', 'panoptic/a cat.png']
        panoptic = json.loads(archive.read('panoptic.json'))
        png = read_png(archive.read('panoptic/a cat.png'))
        instances = json.loads(archive.read('instances.json'))
    expected, annotation = result.to_coco_panoptic(file_name='a cat.png')
    np.testing.assert_array_equal(png, expected)
    assert panoptic['annotations'] == [json.loads(json.dumps(annotation))]
    assert panoptic['images'] == [dict(id='a cat', file_name='a cat.png', height=120, width=160)]
    assert panoptic['categories'] == result.categories
    assert instances == json.loads(json.dumps(result.to_coco_instances()))
    assert set(np.unique(rgb2id(png))) - {0} == {
        one['id'] for one in panoptic['annotations'][0]['segments_info']}


def test_polygons(shown):
    session, _ = shown
    result = session.frames[0].result
    content = json.loads(make_file(session, 'polygons.json'))
    assert (content['imagePath'], content['imageHeight']) == ('a cat.png', 120)
    assert [(one['label'], one['group_id']) for one in content['shapes']] == [
        (one.name, one.id) for one in result for _ in one.polygons()]
    # the polygons cover their segments
    ids = np.zeros((120, 160), np.uint8)
    for shape in content['shapes']:
        points = (np.array(shape['points']) - 0.5).round(3)
        cv2.fillPoly(ids, [(points * 16).round().astype(np.int32)], shape['group_id'], shift=4)
    assert np.mean(ids == result.panoptic_map) > 0.9


def test_video(bench, settings, tmp_path):
    session = Session()
    path = make_video(tmp_path / 'clip.mp4')
    list(bench.predict_video(session, settings, path, 'clip.mp4'))
    target = tmp_path / 'out.mp4'
    target.write_bytes(make_file(session, 'video.mp4', alpha=1, names=False))
    capture = cv2.VideoCapture(str(target))
    found, frame = capture.read()
    assert found and capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5 and frame.shape == (96, 128, 3)
    capture.release()
    third = read_png(make_file(session, 'picture.png', 2, names=False))
    assert third.shape == (600, 800, 3)  # enlarged
    # a segment keeps its color from frame to frame
    views = [frame_view(session, number) for number in range(5)]
    colors = [{one['color'] for one in view['segments']} for view in views]
    assert colors[0] & colors[1] & colors[4]
    assert file_name(session, 'picture.png', 2) == 'clip_0002_picture.png'
    assert file_name(session, 'video.mp4', 2) == 'clip_video.mp4'


def test_kinds_and_frames_that_are_not_there(shown):
    session, _ = shown
    for kind, number in (('secrets.txt', 0), ('picture.png', 1), ('picture.png', -1)):
        with pytest.raises(KeyError):
            make_file(session, kind, number)
    assert all(file_name(session, kind) == f'a cat_{kind}' for kind in KINDS)


def test_large_images_are_drawn_smaller():
    content = encode_jpeg(np.zeros((2000, 3200, 3), np.uint8))
    assert Image.open(io.BytesIO(content)).size == (1600, 1000)


def test_examples():
    assert len({examples.example(number) for number in range(examples.COUNT)}) == examples.COUNT
    assert read_png(examples.example(0)).shape == (480, 640, 3)
    assert Image.open(io.BytesIO(examples.thumbnail(0))).size == (213, 160)
    with pytest.raises(IndexError):
        examples.example(examples.COUNT)
