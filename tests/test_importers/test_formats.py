"""Formats of PNGs and COCO JSONs: every pixel against maps that are drawn here."""
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools
from scipy import ndimage

from mmpanseg.datasets.cityscapes import LABELS
from mmpanseg.datasets.converters import convert_cityscapes
from mmpanseg.importers.class_selection import ClassOptions
from mmpanseg.importers.reader import ReadOptions
from mmpanseg.importers.run import OutputOptions, run_import
from mmpanseg.importers.source_image import SourceError
from mmpanseg.importers.split import SplitOptions

from .files import HEIGHT, WIDTH, as_map, coco, panoptic, photo, save, square, write_json

ALL = SplitOptions(0)
CLASSES = '0 sky\n1 road\n2 car\n3 person\n'


def label_map():
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[12:] = 1
    values[10:16, 2:8] = 2
    values[10:16, 7:12] = 2  # touches the first one
    values[10:16, 20:24] = 2
    values[17, 24] = 3
    values[18, 25] = 3  # touches at a corner
    values[:2, :4] = 255
    return values


def number_map():
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[10:16, 2:8] = 1
    numbers[10:16, 8:12] = 2
    numbers[17:19, 24:26] = 1  # of person; the corners are road
    numbers[20:, :3] = 9  # of road, without meaning
    return numbers


def pair_map():
    """The result of the two maps: the third car has no number, so it is a crowd."""
    names = np.array(['sky', 'road', 'car', 'person', ''], object)
    drawn = names[np.where(label_map() == 255, 4, label_map())]
    for name in ('sky', 'road'):
        drawn[drawn == name] = f'{name}1'
    cars, numbers = drawn == 'car', number_map()
    drawn[cars & (numbers == 1)], drawn[cars & (numbers == 2)] = 'car1', 'car2'
    drawn[cars & (numbers == 0)] = 'car*'
    drawn[drawn == 'person'] = 'person1'
    return drawn


def same(drawn, expected):
    """Equal up to the order in which objects of a class are numbered."""
    def groups(array):
        found = {}
        for place, value in enumerate(array.ravel().tolist()):
            found.setdefault(value, []).append(place)
        return sorted((key.rstrip('0123456789'), places) for key, places in found.items())
    return groups(drawn) == groups(expected)


def one_image(folder, split='train'):
    segments, = panoptic(folder, split).values()
    return as_map(segments)


def source(root, **maps):
    photo(root / 'images/a.jpg')
    for folder, values in maps.items():
        save(root / folder / 'a.png', values)
    (root / 'classes.txt').write_text(CLASSES)
    return root


@pytest.mark.parametrize('coding', ['per-class', 'global', 'channels', '1000'])
def test_pairs_of_maps(tmp_path, coding):
    labels, numbers = label_map(), number_map()
    if coding == 'channels':
        coded = np.stack([labels, numbers, np.zeros_like(labels)], -1)
        root = source(tmp_path / 'src', instances=coded)
    elif coding == '1000':
        values = labels.astype(np.uint16) * 1000 + numbers
        values[labels == 255] = 255 * 255  # 255 * 1000 does not fit; // 1000 is 65
        root = source(tmp_path / 'src', instances=values)
    else:
        if coding == 'global':
            numbers = np.where((labels == 3) & (numbers == 1), 7, numbers)
        root = source(tmp_path / 'src', labels=labels, instances=numbers)
    read = ReadOptions(instance_ids=coding, ignore=(65, ) if coding == '1000' else (255, ))
    result = run_import('pairs', root, tmp_path / 'dst', read=read, split=ALL,
                        classes=ClassOptions(things=('car', 'person')))
    assert same(one_image(tmp_path / 'dst'), pair_map())
    assert result.segments == dict(train=dict(sky=1, road=1, car=3, person=1))
    instances = json.loads((tmp_path / 'dst/instances_train.json').read_text())
    masks = {(item['category_id'], item['iscrowd']): rle_tools.decode(item['segmentation'])
             for item in instances['annotations']}
    assert (masks[3, 1] == (pair_map() == 'car*')).all()
    assert [item['name'] for item in instances['categories']] == ['car', 'person']


def test_global_numbers_have_the_class_of_most_pixels(tmp_path):
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:, :10], labels[:, 10:13], labels[:, 20:22] = 2, 3, 3
    numbers = np.zeros_like(labels)
    numbers[:, :13], numbers[:, 20:22] = 300 % 256, 5
    root = source(tmp_path / 'src', labels=labels, instances=numbers)
    classes = ClassOptions(things=('car', 'person'))
    run_import('pairs', root, tmp_path / 'dst', split=ALL, classes=classes,
               read=ReadOptions(instance_ids='global'))
    drawn = one_image(tmp_path / 'dst')
    assert (drawn[:, :13] == 'car1').all() and (drawn[:, 20:22] == 'person1').all()
    run_import('pairs', root, tmp_path / 'two', split=ALL, classes=classes)
    assert set(one_image(tmp_path / 'two')[:, 10:13].ravel()) <= {'person1', 'person2'}


def test_label_maps_stay_label_maps(tmp_path):
    root = source(tmp_path / 'src', labels=label_map())
    result = run_import('semantic', root, tmp_path / 'dst', split=ALL,
                        classes=ClassOptions(drop=('road', )))
    labels = np.asarray(Image.open(tmp_path / 'dst/labels/train/a.png'))
    expected = np.array([0, 255, 1, 2])[np.minimum(label_map(), 3)]
    assert (labels == np.where(label_map() == 255, 255, expected)).all()
    content = json.loads((tmp_path / 'dst/classes.json').read_text())
    assert content['task'] == result.task == 'semantic' and content['ignore_index'] == 255
    assert [item['name'] for item in content['classes']] == ['sky', 'car', 'person']
    assert not list((tmp_path / 'dst').glob('*panoptic*'))


def test_components_of_things(tmp_path):
    root = source(tmp_path / 'src', labels=label_map())
    run_import('semantic', root, tmp_path / 'dst', split=ALL,
               classes=ClassOptions(things=('car', 'human'), rename=(('person', 'human'), ),
                                    background='sky'))
    drawn = one_image(tmp_path / 'dst')
    expected = np.full((HEIGHT, WIDTH), 'sky1', object)
    expected[label_map() == 1] = 'road1'
    for value, name in ((2, 'car'), (3, 'human')):
        parts, count = ndimage.label(label_map() == value, np.ones((3, 3)))
        for part in range(1, count + 1):
            expected[parts == part] = f'{name}{part}'
    assert {'car1', 'car2', 'human1'} == set(np.unique(expected)) - {'sky1', 'road1'}
    assert same(drawn, expected)


def colors_of(values):
    palette = np.zeros((256, 3), np.uint8)
    palette[:4] = (70, 130, 180), (128, 64, 128), (0, 0, 142), (220, 20, 60)
    palette[255] = 0
    return palette[values], palette


@pytest.mark.parametrize('form', ['rgb', 'rgba', 'palette of other order', 'palette', 'gray rgb'])
def test_color_coded_maps(tmp_path, form):
    root = source(tmp_path / 'src')
    colors, palette = colors_of(label_map())
    table = 'name,r,g,b\n' + ''.join(
        f'{name},{",".join(map(str, palette[k]))}\n'
        for k, name in enumerate(('sky', 'road', 'car', 'person'))) + 'Void,0,0,0\n'
    path = root / 'labels/a.png'
    path.parent.mkdir()
    if form.startswith('palette'):
        order = np.array([3, 0, 2, 1]) if form != 'palette' else np.arange(4)
        values = np.where(label_map() == 255, 255, order[np.minimum(label_map(), 3)])
        image = Image.fromarray(values.astype(np.uint8), 'P')
        moved = palette.copy()
        moved[order] = palette[:4]
        image.putpalette(moved.ravel().tolist())
        image.save(path)
    elif form == 'gray rgb':
        save(path, np.repeat(label_map()[..., None], 3, 2))
        table = CLASSES
    else:
        alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
        save(path, np.concatenate([colors, alpha], 2) if form == 'rgba' else colors)
    file = tmp_path / 'table.txt'
    file.write_text(table)
    run_import('semantic', root, tmp_path / 'dst', split=ALL, read=ReadOptions(classes=file))
    labels = np.asarray(Image.open(tmp_path / 'dst/labels/train/a.png'))
    assert (labels == label_map()).all()


def test_layouts_and_endings(tmp_path):
    (tmp_path / 'classes.txt').write_text(CLASSES)
    layouts = {
        'subfolders': ('images/train/x/a.jpg', 'labels/train/x/a.png', 'images/val/b.jpg',
                       'labels/val/b.png'),
        'split first': ('train/images/a.jpg', 'train/masks/a.png', 'valid/images/b.png',
                        'valid/masks/b.png'),
        'beside': ('train/a.png', 'trainannot/a.png', 'val/b.png', 'valannot/b.png'),
        'endings': ('Train/a_1.png', 'train_labels/a_1_L.png', 'val/a_1.png',
                    'val_labels/a_1_L.png')}
    for name, (first, label, second, other) in layouts.items():
        root = tmp_path / name
        for image, file in ((first, label), (second, other)):
            photo(root / image)
            save(root / file, label_map())
        run_import('semantic', root, tmp_path / f'dst {name}',
                   read=ReadOptions(classes=tmp_path / 'classes.txt'))
        for split in ('train', 'val'):
            assert len(list((tmp_path / f'dst {name}' / 'labels' / split).rglob('*.png'))) == 1
            assert len(list((tmp_path / f'dst {name}' / 'images' / split).rglob('*.*'))) == 1
    root = tmp_path / 'one folder'
    photo(root / 'a.jpg')
    save(root / 'a_mask.png', label_map())
    run_import('semantic', root, tmp_path / 'dst', split=ALL, read=ReadOptions(
        classes=tmp_path / 'classes.txt', images=root, annotations=root,
        label_suffix='_mask.png'))
    assert [path.name for path in (tmp_path / 'dst/images/train').iterdir()] == ['a.jpg']


def cityscapes_values():
    values = np.full((HEIGHT, WIDTH), 7, np.uint16)
    values[:8] = 23
    values[:2, :5], values[2:4, :5] = 0, 3
    values[10:16, 2:10], values[12:20, 6:14] = 26000, 26001
    values[10:14, 20:30], values[16:20, 20:24] = 24, 29000
    values[16:20, 26:28], values[20:22, 26:28] = 65535, 255
    return values


def cityscapes(root, values, cities=(('train', 'ulm'), ('val', 'bonn'))):
    for split, city in cities:
        photo(root / f'leftImg8bit/{split}/{city}/{city}_1_leftImg8bit.png')
        save(root / f'gtFine/{split}/{city}/{city}_1_gtFine_instanceIds.png', values)
    return root


def test_cityscapes_is_what_the_official_converter_makes(tmp_path):
    root = cityscapes(tmp_path / 'src', cityscapes_values())
    run_import('cityscapes', root, tmp_path / 'dst')
    assert list(panoptic(tmp_path / 'dst', 'val')) == ['bonn/bonn_1_leftImg8bit.png']
    convert_cityscapes(root, tmp_path / 'official', 'train')
    content = json.loads((tmp_path / 'official/annotations/panoptic_train.json').read_text())
    names = {label.id: label.name for label in LABELS}
    colors = np.asarray(Image.open(next(
        (tmp_path / 'official/annotations/panoptic_train').iterdir()))).astype(int)
    ids = colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2]
    official = [(names[item['category_id']], item['iscrowd'], ids == item['id'])
                for item in content['annotations'][0]['segments_info']]
    assert len(official) == 5 and same(one_image(tmp_path / 'dst'), as_map(official))


def test_folders_like_cityscapes_have_their_own_classes(tmp_path):
    values = np.full((HEIGHT, WIDTH), 1, np.uint16)
    values[4:8, 4:8], values[10:12, 4:8], values[:2] = 2001, 2002, 2
    root = cityscapes(tmp_path / 'src', values)
    write_json(root / 'classes.json', [dict(id=1, name='floor', hasInstances=False),
                                       dict(id=2, name='box', hasInstances=True)])
    run_import('cityscapes', root, tmp_path / 'dst')
    drawn = one_image(tmp_path / 'dst')
    expected = np.array(['', 'floor1', 'box'], object)[np.minimum(values, 2)]
    expected[4:8, 4:8], expected[10:12, 4:8], expected[:2] = 'box1', 'box2', 'box*'
    assert same(drawn, expected)


def test_coco_with_stuff_maps_and_with_a_stuff_json(tmp_path):
    objects = [dict(id=1, image_id=1, category_id=10, iscrowd=0,
                    segmentation=[square(2, 2, 20, 20)]),
               dict(id=2, image_id=1, category_id=11, iscrowd=0,
                    segmentation=[square(5, 5, 9, 9)]),
               dict(id=3, image_id=1, category_id=10, iscrowd=1, segmentation=dict(
                   size=[HEIGHT, WIDTH], counts=[0, HEIGHT * 4, HEIGHT * (WIDTH - 4)]))]
    root = tmp_path / 'src'
    coco(root, annotations=objects)
    stuff = np.full((HEIGHT, WIDTH), 3, np.uint8)
    stuff[:, 28:], stuff[:4, 20:28] = 1, 255  # 1 is dog, whose pixels here are unlabeled
    save(root / 'maps/train_1.png', stuff)
    (root / 'maps/labels.txt').write_text('0 cat\n1 dog\n3 grass\n')
    expected = np.full((HEIGHT, WIDTH), 'grass1', object)
    expected[:, 28:], expected[:4, 20:28] = '', ''
    expected[:, :4] = 'cat*'
    expected[2:20, 2:20] = 'cat1'  # above the crowd
    expected[5:9, 5:9] = 'dog1'  # the smaller above the larger
    run_import('coco', root, tmp_path / 'dst', split=ALL,
               read=ReadOptions(stuff_maps=root / 'maps'))
    assert same(one_image(tmp_path / 'dst'), expected)

    rows = rle_tools.encode(np.asfortranarray(stuff == 3, np.uint8))
    stuff_json = json.loads((root / 'annotations/instances_train2017.json').read_text())
    stuff_json['categories'] = [dict(id=7, name='grass'), dict(id=8, name='cat')]
    mask = dict(size=[HEIGHT, WIDTH], counts=rows['counts'].decode())
    stuff_json['annotations'] = [
        dict(id=1, image_id=1, category_id=7, segmentation=mask),
        dict(id=2, image_id=1, category_id=8, segmentation=[square(25, 1, 30, 4)])]
    run_import('coco', root, tmp_path / 'json', split=ALL, read=ReadOptions(
        stuff_maps=write_json(tmp_path / 'stuff.json', stuff_json)))
    assert same(one_image(tmp_path / 'json'), expected)
    kept = json.loads((tmp_path / 'json/instances_train.json').read_text())['annotations']
    assert [item['segmentation'] for item in kept[:2]] == [[square(2, 2, 20, 20)],
                                                           [square(5, 5, 9, 9)]]
    assert [item['category_id'] for item in kept] == [1, 2, 1]


def test_splits_of_coco_are_found_in_names(tmp_path):
    coco(tmp_path / 'src', 'train', count=2, name=None)
    coco(tmp_path / 'src', 'val')
    write_json(tmp_path / 'src/annotations/captions_train2017.json', {})
    result = run_import('coco', tmp_path / 'src', tmp_path / 'dst')
    assert result.images == dict(train=2, val=1)
    assert list(panoptic(tmp_path / 'dst')) == ['train_1.jpg', 'train_2.jpg']
    # one file alone is divided anew
    result = run_import('coco', tmp_path / 'src/annotations/instances_train2017.json',
                        tmp_path / 'one', read=ReadOptions(images=tmp_path / 'src/train2017'))
    assert result.images == dict(train=1, val=1)


def test_panoptic_data_can_be_imported_again(tmp_path):
    root = source(tmp_path / 'src', labels=label_map(), instances=number_map())
    run_import('pairs', root, tmp_path / 'first', split=ALL,
               classes=ClassOptions(things=('car', 'person')))
    result = run_import('panoptic', tmp_path / 'first', tmp_path / 'second', split=ALL,
                        classes=ClassOptions(rename=(('car', 'thing'), ('person', 'thing')),
                                             drop=('sky', )))
    expected = pair_map()
    for name in np.unique(expected).tolist():
        if name.startswith('sky'):
            expected[expected == name] = ''
        elif name[:3] in ('car', 'per'):
            expected[expected == name] = f'thing{name[-1]}' if name != 'person1' else 'thing3'
    assert same(one_image(tmp_path / 'second'), expected) and result.images == dict(train=1)
    run_import('panoptic', tmp_path / 'first', tmp_path / 'labels', split=ALL,
               output=OutputOptions(task='semantic'))
    labels = np.asarray(Image.open(tmp_path / 'labels/labels/train/a.png'))
    assert (labels == label_map()).all()


def damaged(tmp_path, form, damage):
    """Write a source of a format with one mistake."""
    root = tmp_path / 'src'
    if form == 'coco':
        annotation = dict(id=7, image_id=1, category_id=10, segmentation=[square(1, 1, 5, 5)])
        coco(root, annotations=[annotation | damage])
    else:
        source(root, labels=label_map(), instances=number_map())
        damage(root)
    return root


@pytest.mark.parametrize(('form', 'damage', 'text'), [
    ('coco', dict(segmentation=[]), '{src}/annotations/instances_train2017.json: annotation 7 of '
     'image train_1.jpg has no segmentation, only a box; draw masks, or remove the annotation'),
    ('coco', dict(segmentation='x'), '{src}/annotations/instances_train2017.json: annotation 7 of '
     'image train_1.jpg has a segmentation that is neither polygons [[x1, y1, x2, y2, ...], ...] '
     'nor run lengths'),
    ('coco', dict(segmentation=[[1, 2, 3]]), '{src}/annotations/instances_train2017.json: '
     'annotation 7 of image train_1.jpg has a polygon that is no list of x1, y1, x2, y2, ...; '
     'write x and y of every point'),
    ('coco', dict(segmentation=dict(size=3)), '{src}/annotations/instances_train2017.json: '
     'annotation 7 of image train_1.jpg has run lengths without "size" or "counts"'),
    ('coco', dict(category_id=3), "{src}/annotations/instances_train2017.json: annotation 7 has "
     'category_id 3, which "categories" does not list'),
    ('semantic', lambda root: (root / 'labels/a.png').unlink(),
     '{src}/labels/a.png does not exist, the label maps of {src}/images/a.jpg; add it, or remove '
     'the image'),
    ('semantic', lambda root: save(root / 'labels/a.png', label_map() + 1),
     '{src}/labels/a.png has the value(s) 4, which are no class of the file of classes; add them, '
     'or make them unlabeled with --ignore 4'),
    ('semantic', lambda root: save(root / 'labels/a.png', label_map()[:5]),
     '{src}/images/a.jpg is 32x24, its annotation is for 32x5; give the images that were '
     'annotated'),
    ('semantic', lambda root: save(root / 'labels/a.png', colors_of(label_map())[0]),
     '{src}/labels/a.png is color-coded; give the color of each class with --classes FILE (lines '
     '"R G B name")'),
    ('semantic', lambda root: (root / 'labels/a.png').unlink() or save(
        root / 'labels/a.jpg', label_map()),
     '{src}/labels/a.jpg is a JPEG file, whose compression changes values; export the maps as '
     'PNG'),
    ('semantic', lambda root: (root / 'classes.txt').unlink(),
     '{src} has no file of class names (classes.txt); give one with --classes: lines "value name" '
     'for the values 0, 1, 2, 3, 255'),
    ('semantic', lambda root: (root / 'classes.txt').write_text('1 2 3 a\n4 5 6 b') and save(
        root / 'labels/a.png', np.full((HEIGHT, WIDTH, 3), (1, 2, 4), np.uint8)),
     '{src}/labels/a.png: 768 pixels have colors of no class, the first is [1, 2, 4] at x=0, y=0; '
     'add it to the file of classes, or export the map without smoothing and compression'),
    ('semantic', lambda root: (root / 'images/a.jpg').write_bytes(b''),
     '{src}/images/a.jpg is an empty file; write it again or remove it with its annotation'),
    ('semantic', lambda root: (root / 'labels').rename(root / 'other'),
     '{src} has no folder of label maps for {src}/images (usual names are labels, label, masks, '
     'mask); name it with --annotations'),
    ('semantic', lambda root: (root / 'images').rename(root / 'other'),
     '{src} has no folder of images (images, image, imgs, img, train); name it with --images'),
    ('pairs', lambda root: save(root / 'instances/a.png', number_map()[:3]),
     '{src}/instances/a.png is 32x3, {src}/labels/a.png is 32x24: both must have the same size'),
    ('pairs', lambda root: None, '{src}: which classes are things? Give --things NAME,NAME, or '
     '"isthing" for each class in the file of classes'),
    ('cityscapes', lambda root: None, '{src}/leftImg8bit: no such folder; data like Cityscapes '
     'have leftImg8bit/ and gtFine/, or name them with --images and --annotations'),
    ('panoptic', lambda root: None, '{src} has no JSON in it or in {src}/annotations; name the '
     'file with --annotations'),
    ('camvid', lambda root: None, '{src} has none of the folders train, val, test of CamVid'),
    ('ade20k', lambda root: (root / 'images').rename(root / 'x'), '{src} has no images/training/ '
     'or images/validation/; it must be the unpacked ADEChallengeData2016'),
    ('mapillary', lambda root: None, '{src} has no training/images/ or validation/images/ of '
     'Mapillary Vistas')])
def test_each_mistake_is_one_line_with_its_file(tmp_path, form, damage, text):
    root = damaged(tmp_path, form, damage)
    things = ('car', ) if form == 'pairs' and 'size' in text else ()
    with pytest.raises(SourceError) as error:
        run_import(form, root, tmp_path / 'dst', split=ALL, classes=ClassOptions(things=things))
    assert str(error.value) == text.format(src=root)
