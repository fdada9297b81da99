"""The format labelstudio, and its run lengths of brush masks."""
import base64

import numpy as np
import pytest

from mmpanseg.importers.formats._brush_rle import decode_brush
from mmpanseg.importers.source_image import SourceError

from .labeled import SIZE, Result, box, photo, write


def encode_brush(values, widths=(3, 4, 8, 16), literal=False):
    """Encode values 0 .. 255 from the definition, with packets of the narrowest width that fits."""
    bits = f'{len(values):032b}{8 - 1:05b}' + ''.join(f'{width - 1:04b}' for width in widths)
    place = 0
    while place < len(values):
        longest = 2 ** widths[-1]
        count = 1
        if literal:
            count = min(len(values) - place, 11)
        else:
            while (count < longest and place + count < len(values)
                   and values[place + count] == values[place]):
                count += 1
        index = next(k for k, width in enumerate(widths) if count <= 2 ** width)
        bits += f'{0 if literal else 1}{index:02b}{count - 1:0{widths[index]}b}'
        bits += ''.join(f'{value:08b}' for value in values[place:place + (count if literal else 1)])
        place += count
    bits += '0' * (-len(bits) % 8)
    return [int(bits[k:k + 8], 2) for k in range(0, len(bits), 8)]


def rgba(alpha):
    return np.dstack([np.full(alpha.shape, 7), alpha * 0, alpha * 0 + 200, alpha]
                     ).astype(int).ravel().tolist()


@pytest.mark.parametrize('literal', [False, True])
@pytest.mark.parametrize('widths', [(3, 4, 8, 16), (1, 2, 5, 9)])
def test_brush(literal, widths):
    generator = np.random.default_rng(0)
    mask = generator.random((13, 9)) < 0.4
    mask[3:9] = True
    mask[4:6] = False
    assert (decode_brush(encode_brush(rgba(mask * 255), widths, literal), mask.shape) == mask).all()


def test_soft_borders_of_a_brush():
    alpha = np.array([[0, 100, 127, 128, 255]])
    assert decode_brush(encode_brush(rgba(alpha)), (1, 5)).tolist() == [
        [False, False, False, True, True]]
    # masks of other programs may be 0 and 1
    assert decode_brush(encode_brush(rgba(alpha > 100)), (1, 5)).tolist() == [
        [False, False, True, True, True]]
    assert not decode_brush(encode_brush(rgba(alpha * 0)), (1, 5)).any()


def result(kind, label, size=SIZE, identifier='r1', **value):
    return dict(id=identifier, type=kind, from_name='tag', to_name='image', image_rotation=0,
                original_width=size[1], original_height=size[0],
                value={**value, **({kind: [label]} if label else {})})


def rectangle(label, left, top, right, bottom, size=SIZE, rotation=0, **more):
    height, width = size
    return result('rectanglelabels', label, size, x=left * 100 / width, y=top * 100 / height,
                  width=(right - left) * 100 / width, height=(bottom - top) * 100 / height,
                  rotation=rotation, **more)


def task(results, image='/data/upload/1/0123abcd-a.jpg', number=1, **more):
    return dict(id=number, data=dict(image=image), predictions=[],
                annotations=[dict(id=1, was_cancelled=False, result=results)], **more)


@pytest.fixture
def src(tmp_path):
    photo(tmp_path / 'src' / 'images' / 'a.jpg')
    return tmp_path / 'src'


def test_shapes(src):
    brush = box(30, 20, 36, 25) & ~box(32, 21, 34, 23)
    write(src / 'export.json', [task([
        result('polygonlabels', 'road', points=[[5, 10], [20, 10], [20, 70 / 3], [5, 70 / 3]],
               closed=True),
        rectangle('car', 12, 8, 18, 12),
        # a quarter turn around the upper left corner
        rectangle('turned', 30, 2, 38, 6, rotation=90),
        result('brushlabels', 'spot', format='rle', rle=encode_brush(rgba(brush * 255))),
        result('ellipselabels', 'egg', x=15, y=200 / 3, radiusX=12.5, radiusY=10, rotation=0)])])
    masks = Result('labelstudio', src / 'export.json', 0).masks()
    assert (masks['road'] == box(2, 3, 8, 7)).all()
    assert (masks['car'] == box(12, 8, 18, 12)).all()
    assert (masks['turned'] == box(26, 2, 30, 10)).all()
    assert (masks['spot'] == brush).all()
    y, x = np.mgrid[:30, :40] + 0.5
    value = np.hypot((x - 6) / 5, (y - 20) / 3)
    assert masks['egg'][value < 0.9].all() and not masks['egg'][value > 1.1].any()


def test_smaller_regions_cover_larger_ones(src):
    write(src / 'export.json', [task([rectangle('small', 4, 4, 8, 8),
                                      rectangle('large', 2, 2, 20, 20)])])
    masks = Result('labelstudio', src, 0).masks()
    assert (masks['small'] == box(4, 4, 8, 8)).all()
    assert (masks['large'] == box(2, 2, 20, 20) & ~box(4, 4, 8, 8)).all()


def test_annotators_and_skipped_tasks(src):
    tasks = []
    for number, marks in enumerate([
            # the last one that is not cancelled
            [('one', False, ''), ('two', False, ''), ('three', True, '')],
            # times count before places
            [('new', False, '2026-03-02T10:00:00Z'), ('old', False, '2026-03-01T10:00:00Z')],
            [('cancelled', True, '')], []]):
        photo(src / 'images' / f'{number}.jpg')
        tasks.append(dict(task([], f'{number}.jpg', number), annotations=[
            dict(was_cancelled=cancelled, updated_at=time, result=[rectangle(label, 2, 2, 8, 8)])
            for label, cancelled, time in marks]))
    # the form of old versions, and an image that shows no object
    photo(src / 'images' / 'empty.jpg')
    old = task([], 'empty.jpg', 9)
    old['completions'] = old.pop('annotations')
    write(src / 'export.json', [*tasks, old])
    found = Result('labelstudio', src, 0)
    assert found.images() == ['0.jpg', '1.jpg', 'empty.jpg']
    assert list(found.masks('0.jpg')) == ['two']
    assert list(found.masks('1.jpg')) == ['new']
    assert found.segments('empty.jpg') == []
    assert '2 of 5 tasks have no annotation or a cancelled one, and are left out' in found.notes
    assert '2 tasks have several annotations, of which the last one is used' in found.notes


def test_labels_apart_from_their_regions(src):
    shape = dict(x=10, y=10, width=10, height=20, rotation=0)
    write(src / 'export.json', [task([
        result('rectangle', None, **shape),
        dict(result('labels', 'car', **shape)),
        result('rectangle', None, identifier='r2', **shape),
        result('keypointlabels', 'dot', identifier='r3', x=1, y=1, width=1),
        dict(id='c', type='choices', value=dict(choices=['good']))])])
    found = Result('labelstudio', src, 0)
    assert (found.masks()['car'] == box(4, 3, 8, 9)).all()
    where = f'{src / "export.json"}, task 1'
    assert f'left out 1 x region without a label (first: {where}, result r2)' in found.notes
    assert 'left out 1 x result of type keypointlabels, which has no area here' in found.notes
    assert len(found.imported.notes) == 2


@pytest.mark.parametrize('address, file', [
    ('/data/upload/3/0123abcd-a.jpg', 'images/a.jpg'),
    ('/data/upload/3/0123abcd-a.jpg', 'upload/0123abcd-a.jpg'),
    ('/data/local-files/?d=photos%2Fday%201/a.jpg', 'photos/day 1/a.jpg'),
    ('s3://bucket/some/folder/a.jpg', 'folder/a.jpg'),
    ('https://host:80/x/gr%C3%B6%C3%9Fe.jpg?Signature=1&d2=3', 'größe.JPG'),
    ('C:\\photos\\a.jpg', 'a.jpg'),
    ('a', 'a.png')])
def test_addresses_of_images(tmp_path, address, file):
    src = tmp_path / 'src'
    photo(src / file)
    # another image of the name is farther from the address
    photo(src / 'other' / 'b' / 'other.jpg')
    write(src / 'export.json', [task([rectangle('car', 2, 2, 8, 8)], address)], 'utf-8-sig')
    found = Result('labelstudio', src, 0)
    assert found.images() == [file.replace('JPG', 'jpg').removeprefix('images/')]
    assert (found.masks()['car'] == box(2, 2, 8, 8)).all()


def test_embedded_image_and_exif_orientation(tmp_path):
    src = tmp_path / 'src'
    data = photo(tmp_path / 'x.jpg', (30, 40), orientation=6).read_bytes()
    write(src / 'export.json', [task(
        [rectangle('car', 2, 3, 8, 13, (40, 30))], 'data:image/jpeg;base64,'
        + base64.b64encode(data).decode())])
    found = Result('labelstudio', src, 0)
    assert found.images() == ['task_1.jpg']
    assert (np.rot90(found.masks()['car'], -1) == box(2, 3, 8, 13, (40, 30))).all()


def brush(data, **change):
    return [task([dict(result('brushlabels', 'car', format='rle', rle=data), **change)])]


GOOD = encode_brush(rgba(box(2, 2, 8, 8) * 255))


@pytest.mark.parametrize('content, line', [
    (dict(a=1), 'export.json: no export of Label Studio, which is a list of tasks'),
    ([dict(image='a.jpg', label=[])], 'its tasks have no "data" and "annotations"; export the '
     'project as "JSON", not as "JSON-MIN"'),
    ([dict(task([]), annotations=[1])], 'task 1: its annotations must be a list with a list "resu'),
    ([dict(task([]), annotations=[])], 'src: none of its 1 tasks has an annotation'),
    ([task([rectangle('car', 1, 1, 2, 2)])] * 2, 'task 1: another task has the image a.jpg'),
    ([task([], 'gone.jpg')], 'export.json, task 1: its image gone.jpg is in none of the folders'),
    ([task([], ['a.jpg', 'b.jpg'])], 'task 1: it has several images; each task must have one'),
    ([dict(task([]), data=dict(n=1))], 'task 1: its "data" names no image'),
    ([task([], 'data:image/png;base64,QUJD')], 'task 1: its image is no readable image'),
    ([task([dict(rectangle('car', 1, 1, 2, 2), image_rotation=90)])],
     'task 1: its image was rotated by 90 degrees in Label Studio; rotate the file and label it'),
    ([task([dict(rectangle('car', 1, 1, 2, 2), original_width=None)])],
     'task 1, result r1 (car): original_width and original_height are missing'),
    ([task([result('rectanglelabels', 'car', x=1, y=2, width=3)])],
     'result r1 (car): height must be a number, got None'),
    ([task([result('polygonlabels', 'car', points=[[1, 2], ['x', 3]])])],
     'result r1 (car): its points must be numbers (x, y)'),
    ([task([rectangle('car', 1, 1, 2, 2, (20, 20))])], 'a.jpg is 40x30, its annotation is for 20x'),
    (brush(GOOD[:-3]), 'r1 (car): its brush mask is damaged: the run lengths end after'),
    (brush([]), 'r1 (car): its brush mask is damaged: the run lengths are empty; export it again'),
    (brush(encode_brush([0] * 400)), 'r1 (car): its brush mask is damaged: the run lengths have '
     '400 values, 40x30 pixels have 4800'),
    (brush(['x']), 'r1 (car): its brush mask is damaged: invalid literal'),
])
def test_bad_exports(src, content, line):
    write(src / 'export.json', content)
    with pytest.raises(SourceError) as caught:
        Result('labelstudio', src, 0)
    assert line in str(caught.value) and '\n' not in str(caught.value)
