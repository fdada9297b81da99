"""The format supervisely."""
import base64
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from mmpanseg.importers.source_image import SourceError

from .labeled import SIZE, Result, box, photo, write

META = dict(tags=[], classes=[
    dict(title='cat', shape='polygon', color='#FF8000', id=1),
    dict(title='spot', shape='bitmap', color='#00ff00'), dict(title='all', shape='any'),
    dict(title='mark', shape='point', color='#123456'), dict(title='frame', shape='rectangle')])


def figure(title, kind, exterior, interior=()):
    return dict(id=1, classId=1, classTitle=title, geometryType=kind, tags=[], description='',
                points=dict(exterior=exterior, interior=list(interior)))


def bitmap(title, mask, origin, mode='1'):
    if mode == 'RGBA':
        image = Image.fromarray(np.dstack([np.full(mask.shape, 0, np.uint8)] * 3
                                          + [mask.astype(np.uint8) * 255]), 'RGBA')
    else:
        image = Image.fromarray(mask.astype(np.uint8) * 255).convert(mode)
    file = io.BytesIO()
    image.save(file, 'PNG')
    data = base64.b64encode(zlib.compress(file.getvalue())).decode()
    return dict(classTitle=title, geometryType='bitmap', tags=[], bitmap=dict(
        data=data, origin=list(origin)))


def annotation(objects, size=SIZE):
    return dict(description='', tags=[], size=dict(height=size[0], width=size[1]), objects=objects)


def source(src, objects, folder='ds0', name='a.jpg', size=SIZE, ann='a.jpg.json'):
    photo(src / folder / 'img' / name, size)
    write(src / 'meta.json', META)
    write(src / folder / 'ann' / ann, annotation(objects, size))
    return src


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'RGBA'])
def test_bitmaps(tmp_path, mode):
    ring = box(0, 0, 6, 5, (5, 6)) & ~box(2, 1, 4, 3, (5, 6))
    src = source(tmp_path / 'src', [bitmap('spot', ring, (10, 20), mode),
                                    bitmap('all', ring, (37, -2), mode)])
    masks = Result('supervisely', src, 0).masks()
    assert (masks['spot'] == box(10, 20, 16, 25) & ~box(12, 21, 14, 23)).all()
    # what lies outside of the image is cut off
    assert (masks['all'] == (box(37, 0, 40, 3) & ~box(39, 0, 40, 1))).all()


def test_polygons_with_holes(tmp_path):
    hole = [[[6, 6], [9, 6], [9, 9], [6, 9]]]
    src = source(tmp_path / 'src', [
        figure('cat', 'polygon', [[2, 3], [14, 3], [14, 12], [2, 12]], hole),
        figure('frame', 'rectangle', [[30, 20], [20, 15]]),
        # places instead of pixels
        figure('all', 'polygon', [[20.5, 1.5], [28.5, 1.5], [28.5, 9.5], [20.5, 9.5]],
               [[[22.5, 3.5], [26.5, 3.5], [26.5, 7.5], [22.5, 7.5]]])])
    result = Result('supervisely', src, 0)
    masks = result.masks()
    # whole numbers are pixels that belong to the polygon, and those of the hole to the hole
    assert (masks['cat'] == box(2, 3, 15, 13) & ~box(6, 6, 10, 10)).all()
    assert (masks['frame'] == box(20, 15, 31, 21)).all()
    assert masks['all'].sum() == 64 - 16 and masks['all'][2, 21] and not masks['all'][5, 24]
    assert result.names == ['cat', 'spot', 'all', 'frame']
    assert result.imported.classes[0]['color'] == [255, 128, 0]


def test_later_objects_cover_earlier_ones(tmp_path):
    src = source(tmp_path / 'src', [figure('cat', 'rectangle', [[4, 4], [8, 8]]),
                                    figure('frame', 'rectangle', [[2, 2], [20, 20]])])
    assert list(Result('supervisely', src, 0).masks()) == ['frame']


def test_what_has_no_area_is_counted(tmp_path):
    src = source(tmp_path / 'src', [
        figure('mark', 'point', [[1, 2]]), figure('all', 'line', [[1, 2], [3, 4]]),
        figure('all', 'line', [[1, 2], [3, 4]]), figure('cat', 'polygon', [[1, 2], [3, 4]]),
        figure('cat', 'polygon', [[1, 1], [5, 1], [5, 5], [1, 5]])])
    result = Result('supervisely', src, 0)
    assert (result.masks()['cat'] == box(1, 1, 6, 6)).all()
    where = (src / 'ds0/ann/a.jpg.json').resolve()
    for line in (f'left out 2 x object of type line, which has no area here (first: {where}, '
                 'object 2 (all))', 'left out 1 x object of type point',
                 f'left out 1 x polygon of fewer than 3 points (first: {where}, object 4 (cat))'):
        assert line in result.notes


def test_data_sets_and_names(tmp_path):
    src = tmp_path / 'src'
    frame = [figure('frame', 'rectangle', [[2, 2], [8, 8]])]
    source(src, frame, 'train', 'größe 1.JPG', ann='größe 1.JPG.json')
    # an old export
    source(src, frame, 'val', 'b.png', ann='b.json')
    # data sets may be nested
    source(src, [], 'train/datasets/inner', 'a.jpg')
    photo(src / 'train/img/c.jpg', (30, 40), 6)
    write(src / 'train/ann/c.jpg.json', annotation(frame, (40, 30)), 'utf-8-sig')
    result = Result('supervisely', src)
    assert result.imported.images == {'train': 3, 'val': 1}
    assert (result.masks(split='val')['frame'] == box(2, 2, 9, 9)).all()
    name = next(name for name in result.images() if name.endswith('c.jpg'))
    assert (np.rot90(result.masks(name)['frame'], -1) == box(2, 2, 9, 9, (40, 30))).all()
    name = next(name for name in result.images() if 'inner' in name)
    assert result.segments(name) == []


def damaged(**change):
    item = bitmap('spot', np.ones((3, 3), bool), (1, 1))
    item['bitmap'].update(change)
    return annotation([item])


@pytest.mark.parametrize('content, line', [
    (dict(shapes=[]), 'a.jpg.json: no annotation of Supervisely, which has "size" and "objects"'),
    (annotation([dict(geometryType='polygon')]), 'a.jpg.json, object 1: it has no classTitle'),
    (annotation([dict(classTitle='cat', geometryType='polygon')]),
     'object 1 (cat): it has no points'),
    (annotation([figure('cat', 'rectangle', [[1, 2]])]),
     'object 1 (cat): a rectangle has 2 points, not 1'),
    (annotation([figure('cat', 'polygon', [[1, 2], [3, None], [5, 6]])]),
     'object 1 (cat): a coordinate is not finite'),
    (annotation([figure('cat', 'polygon', [[1, 2], [3, 1], [5, 6]], [[['x', 1]]])]),
     'object 1 (cat), hole 1: its points must be numbers (x, y)'),
    (annotation([dict(classTitle='cat', geometryType='polygon', points=dict(
        exterior=[[1, 2], [3, 1], [5, 6]], interior=7))]),
     'object 1 (cat): its interior must be a list of holes'),
    (damaged(origin=[]), 'object 1 (spot): its bitmap has no origin (x, y)'),
    (annotation([figure('dog', 'rectangle', [[1, 2], [3, 4]])]),
     "object 1 has the class 'dog', which the list of classes lacks"),
    (damaged(data=1), 'object 1 (spot): its bitmap has no "data"'),
    (damaged(data='%'), 'object 1 (spot): its bitmap is no base64'),
    (damaged(data='QUJD'), 'object 1 (spot): its bitmap is damaged (Error -3 while decompressing'),
    (damaged(data=base64.b64encode(zlib.compress(b'x')).decode()),
     'object 1 (spot): its bitmap is no image'),
    (damaged(origin=None), 'object 1 (spot): origin: its points must be pairs (x, y)'),
    (annotation([figure('frame', 'rectangle', [[1, 2], [3, 4]])], (20, 20)),
     'a.jpg.json is for 20x20; give the images that were annotated'),
    (dict(annotation([]), size=dict(height=30)), 'size.width must be a number, got None'),
])
def test_bad_annotations(tmp_path, content, line):
    src = source(tmp_path / 'src', [])
    write(src / 'ds0/ann/a.jpg.json', content)
    with pytest.raises(SourceError) as caught:
        Result('supervisely', src, 0)
    assert line in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('change, line', [
    (lambda src: (src / 'meta.json').unlink(), 'meta.json does not exist; give the folder of the'),
    (lambda src: write(src / 'meta.json', '{}'), 'meta.json: "classes" must be a list with a "tit'),
    (lambda src: (src / 'ds0/ann').rename(src / 'ds0/x'), 'src: no annotation in a folder "ann"'),
    (lambda src: (src / 'ds0/img/a.jpg').unlink(),
     'a.jpg.json: the image a.jpg is in none of the folders'),
])
def test_bad_projects(tmp_path, change, line):
    src = source(tmp_path / 'src', [])
    change(src)
    with pytest.raises(SourceError) as caught:
        Result('supervisely', src, 0)
    assert line in str(caught.value) and '\n' not in str(caught.value)
