"""The format roboflow."""
import numpy as np
import pytest

from mmpanseg.importers.source_image import SourceError

from .labeled import SIZE, Result, box, photo, write


def rectangle(number, image, category, left, top, right, bottom):
    return dict(id=number, image_id=image, category_id=category, iscrowd=0,
                bbox=[left, top, right - left, bottom - top], area=(right - left) * (bottom - top),
                segmentation=[[left, top, right, top, right, bottom, left, bottom]])


def part(folder, names, annotations, categories=None, size=SIZE):
    for name in names:
        photo(folder / name)
    categories = categories or [('pets', 'none'), ('cat', 'pets'), ('dog', 'pets')]
    write(folder / '_annotations.coco.json', dict(
        info=dict(year='2026'), licenses=[],
        categories=[dict(id=number, name=name, supercategory=above)
                    for number, (name, above) in enumerate(categories)],
        images=[dict(id=number, file_name=name, height=size[0], width=size[1])
                for number, name in enumerate(names)], annotations=annotations))


def test_export(tmp_path):
    src = tmp_path / 'src'
    name = 'gr-e_jpg.rf.0123456789abcdef.jpg'
    part(src / 'train', [name], [rectangle(0, 0, 2, 0, 0, 30, 20), rectangle(1, 0, 1, 4, 4, 8, 8)])
    part(src / 'valid', ['b_jpg.rf.1.jpg'], [rectangle(0, 0, 1, 2, 3, 8, 7)])
    part(src / 'test', ['c_jpg.rf.2.jpg'], [])
    result = Result('roboflow', src)
    assert result.imported.images == {'train': 1, 'val': 1, 'test': 1}
    assert result.names == ['cat', 'dog']
    assert ('the category pets (id 0) is left out: it is the supercategory of the others, and no '
            'object has it') in result.notes
    masks = result.masks()
    assert (masks['cat'] == box(4, 4, 8, 8)).all()
    assert (masks['dog'] == box(0, 0, 30, 20) & ~masks['cat']).all()
    assert (result.masks(split='val')['cat'] == box(2, 3, 8, 7)).all()
    assert result.segments(split='test') == []


@pytest.mark.parametrize('categories, used, names', [
    # the supercategory has the name of a class
    ([('cat', 'none'), ('cat', 'cat')], 1, ['cat']),
    # the first category is a class
    ([('cat', 'none'), ('dog', 'none')], 1, ['cat', 'dog']),
    # it is the supercategory, but has objects
    ([('cat', 'none'), ('dog', 'cat')], 0, ['cat', 'dog'])])
def test_supercategory(tmp_path, categories, used, names):
    part(tmp_path / 'src' / 'train', ['a.jpg'], [rectangle(0, 0, used, 2, 3, 8, 7)], categories)
    result = Result('roboflow', tmp_path / 'src', 0)
    assert result.names == names
    assert list(result.masks()) == [categories[used][0]]


def test_versions_of_a_photo_stay_together(tmp_path):
    src = tmp_path / 'src'
    names = [f'{photo}_jpg.rf.{version}.jpg' for photo in range(6) for version in range(3)]
    part(src / 'train', names, [rectangle(0, 0, 1, 2, 3, 8, 7)])
    result = Result('roboflow', src, 0.3)
    sides = {split: {name.rpartition('/')[2].partition('_')[0] for name in result.images(split)}
             for split in ('train', 'val')}
    assert len(sides['val']) == 2 and not sides['train'] & sides['val']
    assert len(result.images('val')) == 6


def test_exif_orientation(tmp_path):
    src = tmp_path / 'src'
    part(src / 'train', ['a.jpg'], [rectangle(0, 0, 1, 2, 3, 8, 13)], size=(40, 30))
    photo(src / 'train' / 'a.jpg', (30, 40), orientation=6)
    mask = Result('roboflow', src, 0).masks()['cat']
    assert (np.rot90(mask, -1) == box(2, 3, 8, 13, (40, 30))).all()


def test_bad_exports(tmp_path):
    src = tmp_path / 'src'
    src.mkdir()
    for change, line in (
            (lambda: None, 'src: no _annotations.coco.json in it or in train, valid and test; exp'),
            (lambda: part(src / 'train', ['a.jpg'], [dict(rectangle(0, 0, 1, 2, 3, 8, 7),
                                                          segmentation=[])]),
             'annotation 0 of image a.jpg has no segmentation, only a box'),
            (lambda: part(src / 'train', ['a.jpg'], [rectangle(0, 0, 7, 2, 3, 8, 7)]),
             '_annotations.coco.json: annotation 0 has category_id 7'),
            (lambda: part(src / 'train', ['a.jpg'], [], size=(20, 20)),
             'its annotation is for 20x'),
            (lambda: (src / 'train/a.jpg').unlink(),
             'train/a.jpg does not exist; add the image or remove its annotation')):
        change()
        with pytest.raises(SourceError) as caught:
            Result('roboflow', src, 0)
        assert line in str(caught.value) and '\n' not in str(caught.value)
