"""The format labelme."""
import base64
import io

import numpy as np
import pytest
from PIL import Image

from mmpanseg.importers.reader import ReadOptions
from mmpanseg.importers.source_image import SourceError

from .labeled import SIZE, Result, box, photo, write


def png(mask):
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, 'PNG')
    return base64.b64encode(file.getvalue()).decode()


def shape(label, kind, points, **more):
    return dict(label=label, shape_type=kind, points=points, group_id=None, flags={}, **more)


def rectangle(label, *corners, **more):
    return shape(label, 'rectangle', [corners[:2], corners[2:]], **more)


def annotation(shapes, image='a.jpg', size=SIZE, **more):
    return dict(version='5.5.0', flags={}, shapes=shapes, imagePath=image, imageData=None,
                imageHeight=size[0], imageWidth=size[1], **more)


@pytest.fixture
def src(tmp_path):
    photo(tmp_path / 'src' / 'a.jpg')
    return tmp_path / 'src'


def test_shapes(src):
    hole = np.ones((6, 6), bool)
    hole[2:4, 2:4] = False
    group = [dict(rectangle('part', x, 1, x + 2, 3), group_id=7) for x in (20, 24)]
    write(src / 'a.json', annotation([
        shape('poly', 'polygon', [[2, 3], [8, 3], [8, 7], [2, 7]]),
        rectangle('rect', 18, 12, 12, 8),
        shape('bitmap', 'mask', [[1, 20], [6, 25]], mask=png(hole)),
        shape('old', None, [[30, 20], [35, 20], [35, 28], [30, 28]]),
        *group,
        dict(rectangle('many', 30, 1, 36, 5), flags={'crowd': True})]))
    result = Result('labelme', src, 0)
    assert result.names == ['bitmap', 'many', 'old', 'part', 'poly', 'rect']
    found = {name: (crowd, mask) for name, crowd, mask in result.segments()}
    expected = {'poly': box(2, 3, 8, 7), 'rect': box(12, 8, 18, 12),
                'bitmap': box(1, 20, 7, 26) & ~box(3, 22, 5, 24), 'old': box(30, 20, 35, 28),
                'part': box(20, 1, 22, 3) | box(24, 1, 26, 3), 'many': box(30, 1, 36, 5)}
    assert len(result.segments()) == len(expected)
    for name, mask in expected.items():
        assert (found[name][1] == mask).all(), name
        assert found[name][0] == (name == 'many')


def test_later_shapes_cover_earlier_ones(src):
    # by area, the first one would be on top
    write(src / 'a.json', annotation([rectangle('small', 4, 4, 8, 8),
                                      rectangle('large', 2, 2, 20, 20)]))
    result = Result('labelme', src, 0)
    assert list(result.masks()) == ['large']
    # the instance JSON keeps both
    assert [item['area'] for item in result.content(kind='instances')['annotations']] == [16, 324]


def test_circle(src):
    write(src / 'a.json', annotation([shape('disc', 'circle', [[20, 15], [20, 25.3]])]))
    mask = Result('labelme', src, 0).masks()['disc']
    y, x = np.mgrid[:30, :40] + 0.5
    distance = np.hypot(x - 20, y - 15)
    # pycocotools rounds corners to a fifth of a pixel
    assert mask[distance < 9.9].all() and not mask[distance > 10.7].any()
    assert abs(mask.sum() - np.pi * 10.3**2) < 5


def test_what_has_no_area_is_counted(src):
    write(src / 'a.json', annotation([
        shape('dot', 'point', [[1, 2]]), shape('dot', 'point', [[3, 2]]),
        shape('way', 'linestrip', [[1, 2], [5, 6], [7, 8]]), shape('new', 'spline', [[1, 2]]),
        shape('flat', 'polygon', [[1, 2], [5, 2]]), rectangle('__ignore__', 1, 1, 3, 3),
        rectangle('real', 1, 1, 3, 3)]))
    result = Result('labelme', src, 0)
    assert list(result.masks()) == ['real']
    where = src / 'a.json'
    for line in (f'left out 2 x shape of type point, which has no area here (first: {where}, '
                 'shape 1 (dot))',
                 'left out 1 x shape of type linestrip, which has no area here',
                 'left out 1 x shape of type spline, which has no area here',
                 f'left out 1 x shape without area (first: {where}, shape 5 (flat))',
                 'left out 1 x shape with the label __ignore__'):
        assert line in result.notes
    assert '__ignore__' not in result.names


def test_names_of_any_system(tmp_path):
    src = tmp_path / 'src'
    shapes = [rectangle('größe', 2, 2, 9, 9)]
    # a Windows path, an ending in capitals, a mark and line ends of Windows, a decomposed accent
    photo(src / 'imgs' / 'Straße 1.JPG')
    write(src / 'json' / '1.json', annotation(shapes, '..\\imgs\\Straße 1.jpg'), 'utf-8-sig')
    photo(src / 'imgs' / 'e\u0301.png')
    write(src / 'json' / '2.json', annotation(shapes, 'C:\\data\\\u00e9.png'), 'utf-16')
    # the same name in two folders
    for name in ('x', 'y'):
        photo(src / name / 'same.jpg')
        write(src / name / 'same.json', annotation(shapes, 'same.jpg'))
    write(src / 'labels.txt', '__ignore__\r\nmissing\r\ngröße\r\n')
    result = Result('labelme', src, 0)
    assert len(result.images()) == 4 and result.names == ['missing', 'größe']
    for name in result.images():
        assert (result.masks(name)['größe'] == box(2, 2, 9, 9)).all()


def test_embedded_image_and_empty_annotation(tmp_path):
    src = tmp_path / 'src'
    data = base64.b64encode(photo(tmp_path / 'elsewhere.png').read_bytes()).decode()
    content = annotation([], '/gone/b.png')
    write(src / 'b.json', dict(content, imageData=data, imageHeight=None))
    write(src / 'c.json', dict(annotation([rectangle('cat', 0, 0, 5, 5)], 'c.png'), imageData=data))
    result = Result('labelme', src, 0)
    assert result.images() == ['b.png', 'c.png'] and result.segments('b.png') == []
    assert (result.masks('c.png')['cat'] == box(0, 0, 5, 5)).all()
    stored = result.folder / 'images/train/c.png'
    assert stored.read_bytes() == (tmp_path / 'elsewhere.png').read_bytes()


def test_exif_orientation(tmp_path):
    src = tmp_path / 'src'
    # 6: the stored image is shown after a quarter turn to the right
    photo(src / 'a.jpg', (30, 40), orientation=6)
    write(src / 'a.json', annotation([rectangle('cat', 2, 3, 8, 13)], size=(40, 30)))
    mask = Result('labelme', src, 0).masks()['cat']
    assert (np.rot90(mask, -1) == box(2, 3, 8, 13, (40, 30))).all()


def test_images_elsewhere(tmp_path):
    src = tmp_path / 'src'
    photo(tmp_path / 'photos' / 'a.jpg')
    photo(tmp_path / 'photos' / 'b.jpg')
    write(src / 'a.json', annotation([rectangle('cat', 2, 3, 8, 13)]))
    write(src / 'other.json', dict(a=1))
    result = Result('labelme', src, 0, read=ReadOptions(images=tmp_path / 'photos'))
    assert (result.masks()['cat'] == box(2, 3, 8, 13)).all()
    assert '1 images have no JSON file and are left out' in result.notes
    assert "left out 1 JSON files that are not labelme's" in result.notes


def bad(**change):
    return annotation([dict(rectangle('cat', 2, 3, 8, 13), **change)])


@pytest.mark.parametrize('content, line', [
    ('{"shapes": [', 'a.json is no JSON: Expecting value in line 1, column 13; export it again'),
    ('[1]', 'no JSON file of labelme (with "shapes" and "imagePath") in it'),
    (b'\xff\xfe\x00', 'a.json: byte 2 is no UTF-16; save the file as UTF-8'),
    (bad(label=''), 'a.json, shape 1: it has no label; give it one in labelme'),
    (bad(points=[[1, 2]]), 'shape 1 (cat): a rectangle has 2 points, two opposite corners, not 1'),
    (bad(points=[[1, 'x'], [3, 4]]), 'shape 1 (cat): its points must be numbers (x, y)'),
    (bad(points=[[1, 2, 3]]), 'shape 1 (cat): its points must be pairs (x, y)'),
    (bad(points=[[1, float('nan')], [3, 4]]), 'shape 1 (cat): a coordinate is not finite'),
    (bad(shape_type='circle', points=[[1, 1]]), 'shape 1 (cat): a circle has 2 points'),
    (bad(shape_type='mask'), 'shape 1 (cat): a mask has 2 points and an image "mask"'),
    (bad(shape_type='mask', mask='%'), 'shape 1 (cat): its mask is no base64'),
    (bad(shape_type='mask', mask='QUJD'), 'shape 1 (cat): its mask is no image'),
    (bad(shape_type='mask', mask=png(np.ones((4, 4)))),
     'shape 1 (cat): its mask is 4x4 pixels, its box 7x11'),
    (dict(bad(), imagePath='b.jpg'), None),
    (dict(bad(), imageHeight='tall'), "a.json: imageHeight must be a number, got 'tall'"),
    (dict(bad(), imageHeight=20), 'a.jpg is 40x30, its annotation is for 40x20'),
])
def test_bad_files(src, content, line):
    if isinstance(content, bytes):
        (src / 'a.json').write_bytes(content)
    else:
        write(src / 'a.json', content)
    if line is None:
        # the image is found by the name of its JSON
        assert Result('labelme', src, 0).images() == ['a.jpg']
        return
    with pytest.raises(SourceError) as caught:
        Result('labelme', src, 0)
    assert line in str(caught.value) and '\n' not in str(caught.value)


def test_bad_folders(src):
    write(src / 'a.json', annotation([]))
    with pytest.raises(SourceError, match='give the folder with the JSON files of labelme'):
        Result('labelme', src / 'a.json')
    write(src / 'b.json', annotation([]))
    with pytest.raises(SourceError, match=r'b.json and .*a.json both annotate the image a.jpg'):
        Result('labelme', src, 0)
    write(src / 'b.json', annotation([], 'b.jpg'))
    with pytest.raises(SourceError, match=r'b.json: its image b.jpg is not in .*src; give .*--ima'):
        Result('labelme', src, 0)
    write(src / 'b.json', dict(annotation([], 'b.jpg'), imageData='QUJD'))
    with pytest.raises(SourceError, match='b.json: imageData is no readable image'):
        Result('labelme', src, 0)
