"""Checks of polygons and run lengths, against masks drawn one by one."""
import cv2
import numpy as np
import pytest
from pycocotools import mask as rle_tools

from mmpanseg.doctor.pixels.inspect_image import inspect_image
from mmpanseg.doctor.pixels.object_geometry import crosses_itself, is_wrong, polygon_area
from mmpanseg.doctor.problem import Severity
from mmpanseg.doctor.source import ImageRecord, Options, Source

from ..planted_mistakes import jpg, photo

HEIGHT, WIDTH = 80, 120
SOURCE = Source('train', 'instance', 'a.json', 'images')
SQUARE = [10, 10, 40, 10, 40, 30, 10, 30]
TRIANGLE = [50.25, 10.5, 90.75, 20.5, 60.5, 70.25]


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp('images') / 'a.jpg'
    file.write_bytes(jpg(photo(np.random.default_rng(1), HEIGHT, WIDTH)))
    return file


def runs_of(mask, compressed=True):
    rle = rle_tools.encode(np.asfortranarray(mask, np.uint8))
    if compressed:
        return dict(size=[HEIGHT, WIDTH], counts=rle['counts'].decode())
    flat = np.asarray(mask).ravel('F').astype(int)
    changes = np.flatnonzero(np.diff(flat, prepend=0))
    return dict(size=[HEIGHT, WIDTH],
                counts=np.diff(changes, prepend=0, append=flat.size).tolist())


def box_mask(x1, y1, x2, y2):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def inspect(path, *annotations):
    annotations = tuple(dict(id=k, image_id=7, category_id=3, iscrowd=0) | entry
                        for k, entry in enumerate(annotations, 1))
    record = ImageRecord(7, 'a.jpg', str(path), HEIGHT, WIDTH, annotations=annotations)
    return inspect_image(record, SOURCE, Options())


def test_clean_objects(path):
    mask = box_mask(20, 40, 50, 60)
    corners = np.array(TRIANGLE).reshape(-1, 2)
    low, high = corners.min(0), corners.max(0)
    findings = inspect(
        path, dict(segmentation=[SQUARE], area=600, bbox=[10, 10, 30, 20]),
        dict(segmentation=[TRIANGLE], area=polygon_area(corners),
             bbox=[*low.tolist(), *(high - low).tolist()]),
        dict(segmentation=runs_of(mask), area=600, bbox=[20, 40, 29, 19]),
        dict(segmentation=runs_of(~mask, False), iscrowd=0, category_id=4),
        dict(segmentation=runs_of(box_mask(0, 0, 9, 9)), iscrowd=1, area=81, bbox=[0, 0, 9, 9]))
    assert findings.problems == []
    statistics = findings.statistics
    assert statistics.segments == {3: 3, 4: 1} and statistics.num_segments == 4
    drawn = int(rle_tools.area(rle_tools.frPyObjects([TRIANGLE], HEIGHT, WIDTH))[0])
    assert statistics.pixels == {3: 600 + 600 + 81 + drawn, 4: HEIGHT * WIDTH - 600}
    assert statistics.void_share is None


NAN = float('nan')
FAR = box_mask(5, 5, 12, 12) | box_mask(90, 60, 97, 67)
BOW = [10, 10, 50, 50, 50, 10, 10, 50]


@pytest.mark.parametrize(('entry', 'check', 'severity', 'text'), [
    (dict(segmentation=[]), 'PAN301', 3, 'no segmentation'), ({}, 'PAN301', 3, 'no segmentation'),
    (dict(segmentation='mask.png'), 'PAN301', 3, 'mask.png'),
    (dict(segmentation=SQUARE), 'PAN301', 3, '[10, 10'),
    (dict(segmentation=[SQUARE, [1, 2, 3, 4]]), 'PAN302', 2, '1 of 2'),
    (dict(segmentation=[[1, 2, 3, 4]]), 'PAN302', 3, '1 of 1'),
    (dict(segmentation=[[*SQUARE, 5]]), 'PAN303', 3, 'odd'),
    (dict(segmentation=[[*SQUARE[:-1], NAN]]), 'PAN303', 3, 'nan'),
    (dict(segmentation=[[*SQUARE[:-1], '30']]), 'PAN303', 3, "'30'"),
    (dict(segmentation=[[*SQUARE[:-1], 1e300]]), 'PAN303', 3, '1e+300'),
    (dict(segmentation=[[100, 10, 140, 10, 140, 40, 100, 40]]), 'PAN304', 2, '120x80'),
    (dict(segmentation=[[100, 10, 14e7, 10, 14e7, 40, 100, 40]]), 'PAN304', 2, '120x80'),
    (dict(segmentation=[[130, 10, 140, 10, 140, 40]]), 'PAN305', 3, 'outside'),
    (dict(segmentation=dict(runs_of(FAR), size=[WIDTH, HEIGHT])), 'PAN306', 3, '[120, 80]'),
    (dict(segmentation=dict(counts='abc')), 'PAN306', 3, 'None'),
    (dict(segmentation=dict(size=[HEIGHT, WIDTH], counts=[5, 6])), 'PAN307', 3, '11 pixels'),
    (dict(segmentation=dict(size=[HEIGHT, WIDTH], counts=[-5, 9605])), 'PAN307', 3, 'integers'),
    (dict(segmentation=dict(size=[HEIGHT, WIDTH], counts='\u20ac')), 'PAN307', 3, 'run lengths'),
    (dict(segmentation=dict(size=[HEIGHT, WIDTH])), 'PAN307', 3, 'text'),
    (dict(segmentation=runs_of(box_mask(0, 0, 0, 0))), 'PAN308', 3, 'no pixel'),
    (dict(segmentation=[[10, 10, 40, 40, 10, 10]]), 'PAN308', 2, 'no pixel'),
    (dict(segmentation=[SQUARE], area=620), 'PAN309', 2, 'its mask 600'),
    (dict(segmentation=runs_of(box_mask(20, 40, 50, 60)), area=601), 'PAN309', 2, 'its mask 600'),
    (dict(segmentation=[TRIANGLE], area=40.5 * 59.75, bbox=[50.25, 10.5, 40.5, 59.75]),
     'PAN309', 2, 'its box'),
    (dict(segmentation=[SQUARE], bbox=[10, 10, 40, 30]), 'PAN310', 2, 'x2, y2'),
    (dict(segmentation=[SQUARE], bbox=[12, 10, 28, 20]), 'PAN310', 2, 'its mask'),
    (dict(segmentation=[[10, 10, 40, 10, 40, 10.5, 10, 10.5]]), 'PAN311', 2, 'narrower'),
    (dict(segmentation=[[.1, .1, .5, .1, .5, .6]]), 'PAN312', 3, '0 .. 1'),
    (dict(segmentation=[SQUARE], iscrowd=1), 'PAN314', 2, '1 polygons'),
    (dict(segmentation=runs_of(FAR)), 'PAN315', 2, '2 parts'),
    (dict(segmentation=[[5, 5, 12, 5, 12, 12, 5, 12], [90, 60, 97, 60, 97, 67, 90, 67]]),
     'PAN315', 2, '2 parts'),
    (dict(segmentation=[[10, 10, 13, 10, 13, 13, 10, 13]]), 'PAN316', 1, '9 pixels'),
    (dict(segmentation=[SQUARE], ignore=1), 'PAN317', 1, 'ignore'),
    (dict(segmentation=[BOW]), 'PAN318', 2, 'crosses'),
    (dict(segmentation=runs_of(box_mask(0, 0, 60, 80)), iscrowd=1), 'PAN319', 1, '50%')])
def test_one_mistake(path, entry, check, severity, text):
    other = dict(segmentation=[[70, 40, 110, 45, 90, 75]])
    problem, = inspect(path, other, entry).problems
    assert (problem.check, problem.severity) == (check, Severity(severity))
    assert problem.segment_id == (None if check == 'PAN319' else 2)
    assert (problem.file, problem.image_id) == ('a.jpg', 7) and text in problem.text


def test_copies_of_an_object(path):
    findings = inspect(path, dict(segmentation=[SQUARE]), dict(segmentation=[SQUARE]),
                       dict(segmentation=runs_of(box_mask(10, 10, 40, 30))),
                       dict(segmentation=[SQUARE], category_id=4))
    assert [(p.check, p.segment_id) for p in findings.problems] == [('PAN313', 2), ('PAN313', 3)]


@pytest.mark.parametrize('seed', range(8))
def test_areas_of_polygons_may_be_those_of_pixels_or_corners(seed):
    generator = np.random.default_rng(seed)
    angles = np.sort(generator.random(12)) * 2 * np.pi
    radius = generator.uniform(10, 30, 12)[:, None]
    corners = np.stack([np.cos(angles), np.sin(angles)], 1) * radius + (60, 40)
    polygon = corners.ravel().tolist()
    rle, = rle_tools.frPyObjects([polygon], HEIGHT, WIDTH)
    pixels, box = int(rle_tools.area(rle)), [int(v) for v in rle_tools.toBbox(rle)]
    exact = cv2.contourArea(corners.astype(np.float32))
    assert polygon_area(corners) == pytest.approx(exact, rel=1e-4)
    for value in (pixels, exact):
        assert not is_wrong('area', value, pixels, [polygon])
    assert is_wrong('area', 1.1 * max(pixels, exact), pixels, [polygon])
    low, high = corners.min(0), corners.max(0)
    for value in (box, [*low, *(high - low)], [*np.floor(low), *(np.floor(high) - np.floor(low))]):
        assert not is_wrong('bbox', list(map(float, value)), box, [polygon])
    assert is_wrong('bbox', [box[0] + 3, *box[1:]], box, [polygon])
    assert not crosses_itself(corners, pixels)


def test_outlines_joined_by_an_edge_do_not_cross():
    # two squares of opposite direction, and the edge between them there and back
    joined = np.array([(10, 10), (30, 10), (30, 30), (10, 30), (10, 10), (50, 10), (50, 30),
                       (70, 30), (70, 10), (50, 10), (10, 10)], float)
    rle, = rle_tools.frPyObjects([joined.ravel().tolist()], HEIGHT, WIDTH)
    assert polygon_area(joined) == 0 and rle_tools.area(rle) == 800
    assert not crosses_itself(joined, 800)
    bow = np.array(BOW, float).reshape(-1, 2)
    assert crosses_itself(bow, 800)


def test_values_of_any_type(path):
    """Whatever a JSON has, an image is checked to its end."""
    values = (None, True, -1, 0, 1.5, NAN, 1e999, 2 ** 70, '', 'a', [], [[]], [None], [[None]], {},
              [[[1, 2]]], [1, 2], [SQUARE, 3], dict(counts=[1]),
              dict(size=[HEIGHT, WIDTH], counts=''),
              dict(size=[HEIGHT, WIDTH], counts=[True, 9599]), dict(size='80', counts=[9600]))
    entries = [{key: value} for key in ('id', 'category_id', 'iscrowd', 'segmentation', 'area',
                                        'bbox', 'ignore') for value in values]
    entries += [dict(segmentation=[SQUARE], area=value, bbox=[value] * 4) for value in values]
    findings = inspect(path, *entries)
    assert {p.check for p in findings.problems} >= {'PAN301', 'PAN306', 'PAN307', 'PAN309'}
