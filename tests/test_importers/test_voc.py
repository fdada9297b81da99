"""The format voc."""
import numpy as np
import pytest
from PIL import Image

from mmpanseg.importers.class_selection import ClassOptions
from mmpanseg.importers.reader import ReadOptions
from mmpanseg.importers.source_image import SourceError

from .labeled import SIZE, Result, box, photo, write

# colors of VOC's palette for 0, 1, 2, ... and 255
COLORS = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 255: (224, 224, 192)}


def save(path, values, colored=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    if colored:
        image = Image.fromarray(np.array([COLORS.get(value, (0, 0, value)) for value in range(256)],
                                         np.uint8)[values])
    else:
        image = Image.fromarray(values.astype(np.uint8), 'P')
        image.putpalette(np.array([COLORS.get(value, (9, 9, 9)) for value in range(256)],
                                  np.uint8).tobytes())
    image.save(path)


def maps(**change):
    """Two cats (1 and 2), one dog (3), and a border without label around the first cat."""
    classes, objects = np.zeros(SIZE, int), np.zeros(SIZE, int)
    classes[1:9, 1:9] = objects[1:9, 1:9] = 255
    for number, (label, mask) in enumerate(
            ((1, box(2, 2, 8, 8)), (1, box(20, 2, 24, 5)), (2, box(10, 15, 30, 28))), 1):
        classes[mask], objects[mask] = label, number
    return classes, objects


def source(src, name='a', classes=None, objects=None, colored=False, suffix='.jpg'):
    photo(src / 'JPEGImages' / f'{name}{suffix}')
    found = maps()
    save(src / 'SegmentationClass' / f'{name}.png', found[0] if classes is None else classes,
         colored)
    save(src / 'SegmentationObject' / f'{name}.png', found[1] if objects is None else objects,
         colored)
    return src


def check(result, split='train', name=None):
    (one, _, small), (two, _, cat), (three, _, dog) = result.segments(name, split)
    assert (one, two, three) == ('cat', 'cat', 'dog')
    assert (small == box(20, 2, 24, 5)).all() and (cat == box(2, 2, 8, 8)).all()
    assert (dog == box(10, 15, 30, 28)).all()


@pytest.mark.parametrize('colored', [False, True])
def test_objects(tmp_path, colored):
    src = source(tmp_path / 'src', colored=colored, suffix='.JPG')
    source(src, 'b.v1', colored=colored, suffix='.png')
    source(src, 'unlisted')
    write(src / 'ImageSets/Segmentation/train.txt', 'a\r\n\r\n', 'utf-8-sig')
    write(src / 'ImageSets/Segmentation/val.txt', 'b.v1\n')
    write(src / 'ImageSets/Segmentation/trainval.txt', 'a\nb.v1\n')
    write(src / 'labelmap.txt', '# label:color_rgb:parts:actions\nbackground:0,0,0::\n'
                                'cat:128,0,0::\ndog:0,128,0::\n')
    result = Result('voc', src)
    assert result.names == ['cat', 'dog'] and result.imported.images == {'train': 1, 'val': 1}
    assert result.imported.classes[1]['color'] == [0, 128, 0]
    check(result)
    check(result, 'val')
    assert result.images('val') == ['b.v1.png']


def test_names_of_voc_below_its_folder(tmp_path):
    source(tmp_path / 'src' / 'VOCdevkit' / 'VOC2012')
    result = Result('voc', tmp_path / 'src', 0)
    assert len(result.names) == 20
    assert [label for label, _, _ in result.segments()] == ['aeroplane', 'aeroplane', 'bicycle']


@pytest.mark.parametrize('text', ['cat\ndog\n', 'background\ncat\ndog\n',
                                  '__ignore__\n_background_\ncat\ndog\n'])
def test_forms_of_the_names(tmp_path, text):
    src = source(tmp_path / 'src')
    result = Result('voc', src, 0, read=ReadOptions(classes=write(tmp_path / 'names.txt', text)))
    assert result.names == ['cat', 'dog']
    check(result)


def test_classes_without_objects(tmp_path):
    src = source(tmp_path / 'src')
    classes, objects = maps()
    # pixels of cats that belong to none, and grass, which never has objects
    classes[20:22, 0:4], classes[28:, :] = 1, 3
    source(src, 'b', classes, objects)
    source(src, 'c')
    (src / 'SegmentationObject' / 'c.png').unlink()
    write(src / 'class_names.txt', '_background_\ncat\ndog\ngrass\n')
    result = Result('voc', src, 0, classes=ClassOptions(stuff=('grass', )))
    found = [(name, crowd, mask.sum()) for name, crowd, mask in result.segments('b.jpg')]
    assert found == [('cat', True, 8), ('cat', False, 12), ('cat', False, 36),
                     ('grass', False, 80), ('dog', False, 260)]
    assert [(name, mask.sum()) for name, _, mask in result.segments('c.jpg')] == [
        ('cat', 48), ('dog', 260)]


def test_objects_of_several_classes_are_counted(tmp_path):
    classes, objects = maps()
    classes[15:17, 10:12] = 1
    src = source(tmp_path / 'src', classes=classes)
    write(src / 'class_names.txt', 'background\ncat\ndog\n')
    result = Result('voc', src, 0)
    assert [mask.sum() for _, _, mask in result.segments()] == [4, 12, 36, 256]
    assert ('left out 1 x connection of an object whose pixels have several classes (first: '
            f'{(src / "SegmentationClass/a.png").resolve()}, object 3 (cat, dog))') in result.notes


def test_without_object_maps(tmp_path):
    src = source(tmp_path / 'src')
    (src / 'SegmentationObject').rename(tmp_path / 'away')
    write(src / 'class_names.txt', 'background\ncat\ndog\n')
    result = Result('voc', src, 0)
    assert [(name, mask.sum()) for name, _, mask in result.segments()] == [
        ('cat', 48), ('dog', 260)]
    assert ('SegmentationObject does not exist: each class of an image is one segment'
            in result.notes)


@pytest.mark.parametrize('change, line', [
    (lambda src: (src / 'SegmentationClass').rename(src / 'masks'),
     'src: no folder SegmentationClass in it; give the folder that has JPEGImages and Segm'),
    (lambda src: (src / 'JPEGImages').rename(src / 'photos'),
     'src: no folder JPEGImages; name the folder of the images with --images'),
    (lambda src: (src / 'JPEGImages/a.jpg').unlink(),
     'train.txt: the image a is in none of the folders'),
    (lambda src: (src / 'SegmentationClass/a.png').unlink(), 'SegmentationClass/a.png does not'),
    (lambda src: (src / 'class_names.txt').unlink(),
     'src: no labelmap.txt and no class_names.txt;'),
    (lambda src: write(src / 'class_names.txt', 'background\ncat\n'),
     'SegmentationClass/a.png has the value 2, which is none of the 1 classes; give the names'),
    (lambda src: write(src / 'SegmentationClass/a.png', 'x'), 'SegmentationClass/a.png is no'),
    (lambda src: save(src / 'SegmentationObject/a.png', np.zeros((3, 4), int)),
     'SegmentationObject/a.png is 4x3, '),
    (lambda src: save(src / 'SegmentationClass/a.png', maps()[0], True),
     'SegmentationClass/a.png has colors; give a file with names and colors (labelmap.txt) with'),
    (lambda src: (save(src / 'SegmentationClass/a.png', maps()[0], True),
                  write(src / 'class_names.txt', 'cat: 128,0,0\nbackground: 0,0,0\n')),
     'SegmentationClass/a.png has the color (0, 128, 0), which the file of classes lacks'),
    (lambda src: write(src / 'ImageSets/Segmentation/val.txt', 'a\n'), 'an image belongs to one'),
])
def test_bad_sources(tmp_path, change, line):
    src = source(tmp_path / 'src')
    write(src / 'ImageSets/Segmentation/train.txt', 'a\n')
    write(src / 'class_names.txt', 'background\ncat\ndog\n')
    change(src)
    with pytest.raises(SourceError) as caught:
        Result('voc', src, 0)
    assert line in str(caught.value) and '\n' not in str(caught.value)
