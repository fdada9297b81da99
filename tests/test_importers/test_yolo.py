"""The format yolo."""
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools

from mmpanseg.importers.reader import ReadOptions, find_reader
from mmpanseg.importers.source_image import SourceError

from .labeled import Result, box, photo, write


def line(number, left, top, right, bottom, size=(30, 40)):
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return f'{number} ' + ' '.join(f'{x / size[1]:.6f} {y / size[0]:.6f}' for x, y in corners)


def data_set(src, text='path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n',
             train=None, val=None):
    for split, content in (('train', train or line(1, 4, 3, 10, 9)),
                           ('val', val or line(0, 4, 3, 10, 9))):
        photo(src / 'images' / split / f'{split}.jpg')
        write(src / 'labels' / split / f'{split}.txt', content)
    write(src / 'data.yaml', text)
    return src


def test_polygons(tmp_path):
    lines = [line(1, 0, 0, 30, 20), '', line(0, 4, 4, 8, 8) + ' ', line(1, 30, 20, 40, 30)]
    src = data_set(tmp_path / 'src', train='\r\n'.join(lines))
    result = Result('yolo', src)
    assert result.names == ['cat', 'dog'] and result.imported.images == {'train': 1, 'val': 1}
    # smaller ones cover larger ones
    (cat, _, small), (_, _, corner), (_, _, large) = result.segments()
    assert cat == 'cat' and (small == box(4, 4, 8, 8)).all()
    assert (corner == box(30, 20, 40, 30)).all() and (large == box(0, 0, 30, 20) & ~small).all()
    assert (result.masks(split='val')['cat'] == box(4, 3, 10, 9)).all()


@pytest.mark.parametrize('text', [
    'train: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n',
    # the folder of another machine
    'path: /datasets/pets\ntrain: images/train\nval: images/val\nnames: [cat, dog]\nnc: 2\n',
    'path: C:\\pets\ntrain: .\\images\\train\nval: images\\val\nnames: ["cat", "dog"]\n',
    'train: ../images/train\nval: ../images/val\nnames: [cat, dog]\n',
    'train: [images/train]\nval: lists/val.txt\nnames: [cat, dog]\n',
    # no splits: the names of folders tell
    'names: [cat, dog]\n',
    None])
def test_forms_of_the_yaml(tmp_path, text):
    src = data_set(tmp_path / 'src', text or '')
    write(src / 'lists' / 'val.txt', './images/val/val.jpg\r\n')
    if text is None:
        (src / 'data.yaml').unlink()
        write(src / 'classes.txt', 'cat\ndog\n', 'utf-8-sig')
    result = Result('yolo', src)
    assert result.names == ['cat', 'dog']
    for split, label in (('train', 'dog'), ('val', 'cat')):
        assert result.images(split) and list(result.masks(split=split)) == [label]


def test_other_folders_and_names(tmp_path):
    src = tmp_path / 'src'
    photo(src / 'train' / 'Images' / 'größe.JPG', (30, 40), orientation=6)
    write(src / 'train' / 'Labels' / 'größe.TXT', line(0, 2, 3, 8, 13, (40, 30)), 'utf-8-sig')
    photo(src / 'train' / 'Images' / 'nothing.png')
    write(src / 'train' / 'Labels' / 'nothing.txt', '')
    photo(src / 'train' / 'Images' / 'unlabeled.png')
    names = write(tmp_path / 'names.txt', 'cat\n')
    result = Result('yolo', src, 0, read=ReadOptions(classes=names))
    mask = result.masks('größe.jpg')['cat']
    # shares refer to the upright image
    assert (np.rot90(mask, -1) == box(2, 3, 8, 13, (40, 30))).all()
    assert result.segments('nothing.png') == []
    assert '1 images have no text file, so they show no object' in result.notes


def test_polygons_without_area_are_counted(tmp_path):
    src = data_set(tmp_path / 'src', train='0 0.1 0.1 0.1 0.1 0.1 0.1\n' + line(1, 4, 3, 10, 9))
    result = Result('yolo', src)
    assert list(result.masks()) == ['dog']
    assert f'left out 1 x polygon without area (first: {src}' in result.notes


@pytest.mark.parametrize('text, expected', [
    ('1 0.5 0.5 0.2 0.2', 'train.txt, line 2: 4 numbers after the class are a box, not a polygon'),
    ('1 0.5 0.5 0.2 0.2 0.9', 'train.txt, line 2: 5 numbers after the class are a box'),
    ('1 0.5 0.5 0.2 0.2 0.9 0.1 0.1', 'line 2: 7 numbers after the class are no polygon'),
    ('1 0.5 0.5', 'train.txt, line 2: 2 numbers after the class are no polygon'),
    ('dog 0.5 0.5 0.2 0.2 0.1 0.1', 'line 2: it must have numbers only: a class and x y x y ...'),
    ('2 0.5 0.5 0.2 0.2 0.1 0.1', 'line 2: class 2 is none of the 2 names of'),
    ('0.5 0.5 0.5 0.2 0.2 0.1 0.1', 'line 2: class 0.5 is none of the 2 names of'),
    ('1 12 14 20 14 20 25', 'line 2: coordinates must be shares of width and height, 0 .. 1'),
    ('1 nan 0.1 0.2 0.3 0.4 0.5', 'line 2: coordinates must be shares'),
])
def test_bad_lines(tmp_path, text, expected):
    src = data_set(tmp_path / 'src', train=f'\n{text}\n')
    with pytest.raises(SourceError) as caught:
        Result('yolo', src)
    assert expected in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('text, expected', [
    ('names: [a\n', 'data.yaml is no YAML: expected'),
    ('train: images/train\n', 'no YAML file with "names" and no classes.txt; give a file with a'),
    ('names: cat\n', 'data.yaml: names must be a list, or numbers with names'),
    ('names: {cat: 0}\n', 'data.yaml: names must have a number from 0 before each name'),
    ('names: [cat]\nnc: 2\n', 'data.yaml: nc is 2, but there are 1 names'),
    ('train: gone\nnames: [cat]\n', 'data.yaml: train: gone is neither in'),
    ('train: list.txt\nnames: [cat]\n', 'list.txt: the image images/gone.jpg does not exist'),
    ('train: empty\nnames: [cat]\n', 'data.yaml: no images; the data set needs folders'),
    ('train: pictures\nnames: [cat]\n', 'a.txt does not exist, and no image has its text file'),
])
def test_bad_folders(tmp_path, text, expected):
    src = data_set(tmp_path / 'src', text)
    write(src / 'list.txt', 'images/gone.jpg')
    (src / 'empty').mkdir()
    photo(src / 'pictures' / 'a.jpg')
    with pytest.raises(SourceError) as caught:
        Result('yolo', src)
    assert expected in str(caught.value) and '\n' not in str(caught.value)


def test_real_data(shared, tmp_path):
    """All 128 images of COCO128: polygons of the reader against the plain text."""
    src = shared / 'data/coco128-seg'
    names = write(tmp_path / 'names.txt', '\n'.join(f'class {k}' for k in range(80)))
    reader = find_reader('yolo')(src, ReadOptions(classes=names))
    images = reader.list_images()
    assert len(images) == 128 and len(reader.list_classes()) == 80
    count = 0
    for image in images[:8]:
        text = image.data.read_text().split('\n') if image.data.is_file() else []
        rows = [np.array(row.split(), float) for row in text if row.strip()]
        objects = reader.read_image(image).objects
        assert len(rows) == len(objects)
        with Image.open(image.path) as file:
            width, height = file.size
        for row, item in zip(rows, objects):
            corners = (row[1:].reshape(-1, 2) * (width, height)).ravel().tolist()
            expected, = rle_tools.frPyObjects([corners], height, width)
            found, = rle_tools.frPyObjects([item.polygons[0].ravel().tolist()], height, width)
            assert found == expected and item.category == f'class {int(row[0])}'
            count += 1
    assert count > 20
