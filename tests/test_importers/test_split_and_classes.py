"""Splits with seed and groups; which classes are things, renamed, left out; files of classes."""
from pathlib import Path

import pytest

from mmpanseg.importers.class_selection import ClassOptions, select_classes
from mmpanseg.importers.class_table import (
    TableClass,
    find_class_table,
    read_class_table,
    thing_names,
)
from mmpanseg.importers.source_image import SourceClass, SourceError, SourceImage
from mmpanseg.importers.split import SplitOptions, split_images, standard_split


def images(count, split='', group=lambda k: ''):
    return [SourceImage(f'v{k // 10}_f{k:03d}.jpg', Path(f'{k}.jpg'), split=split, group=group(k))
            for k in range(count)]


def names(splits):
    return {split: [image.name for image in found] for split, found in splits.items()}


def test_share_seed_and_order_of_the_source_do_not_matter_otherwise():
    source = images(100)
    first = names(split_images(source, SplitOptions(0.2, seed=1)))
    assert list(map(len, first.values())) == [80, 20] and list(first) == ['train', 'val']
    assert sorted(first['train'] + first['val']) == [image.name for image in source]
    assert names(split_images(source[::-1], SplitOptions(0.2, seed=1))) == first
    assert names(split_images(source, SplitOptions(0.2, seed=2))) != first
    # images stay on their side when others are added, with few exceptions at the border
    more = names(split_images(images(110), SplitOptions(0.2, seed=1)))
    assert len(set(first['val']) & set(more['val'])) >= 18


@pytest.mark.parametrize(('options', 'source'), [
    (SplitOptions(0.3, group=r'(v\d+)_'), images(100)),
    (SplitOptions(0.3, group=r'v\d+'), images(100)),
    (SplitOptions(0.3), images(100, group=lambda k: f'video {k // 10}'))])
def test_groups_stay_together(options, source):
    found = names(split_images(source, options))
    videos = [{name[:2] for name in found[split]} for split in ('train', 'val')]
    assert not videos[0] & videos[1] and len(found['val']) == 30


def test_splits_of_the_source_are_kept():
    source = images(20, 'training')[:10] + images(20, 'valid')[10:] + [
        SourceImage('t.jpg', Path('t'), split='test')]
    found = split_images(source, SplitOptions())
    assert {split: len(items) for split, items in found.items()} == dict(train=10, val=10, test=1)
    mixed = split_images(source, SplitOptions(0.5))
    assert {split: len(items) for split, items in mixed.items()} == dict(train=10, val=10, test=1)
    assert {image.split for image in mixed['val']} == {'training', 'valid'}
    only = split_images(images(20, 'train'), SplitOptions())
    assert {split: len(items) for split, items in only.items()} == dict(train=18, val=2)
    assert list(split_images(images(5), SplitOptions(0))) == ['train']
    assert standard_split('train2017') == 'train' and standard_split('Extra') == 'extra'


@pytest.mark.parametrize(('options', 'text'), [
    (SplitOptions(1.0), '--val 1.0 must be at least 0 and below 1: the share of validation images'),
    (SplitOptions(0.2, group='('), '--group ( is no regular expression: missing ), unterminated '
     'subpattern at position 0'),
    (SplitOptions(0.2, group='x'), '--group x is not found in the name v0_f000.jpg; every image '
     'must match it'),
    (SplitOptions(0.2, group='v0'), "all 10 images are of the group 'v0', so that none is left for "
     'validation; give --val 0 or another --group')])
def test_wrong_options_of_splits(options, text):
    with pytest.raises(SourceError) as error:
        split_images(images(10), options)
    assert str(error.value) == text


FOUND = [SourceClass('car'), SourceClass('Void'), SourceClass('sky', None, (1, 2, 3)),
         SourceClass('truck'), SourceClass('person', True)]


def kinds(selection):
    return {entry['name']: entry['isthing'] for entry in selection.classes}


def test_things_stuff_names_and_void():
    plain = select_classes(FOUND, ClassOptions())
    assert kinds(plain) == dict(car=1, sky=1, truck=1, person=1)
    assert [entry['id'] for entry in plain.classes] == [1, 2, 3, 4]
    assert plain.names['Void'] is None and len(plain.notes) == 1
    assert plain.classes[1]['color'] == [1, 2, 3] and 'color' not in plain.classes[0]
    assert kinds(select_classes(FOUND, ClassOptions(things=('car', )))) == dict(
        car=1, sky=0, truck=0, person=1)
    chosen = select_classes(FOUND, ClassOptions(
        stuff=('sky', 'Void'), rename=(('truck', 'car'), ('person', 'people')), drop=('people', ),
        background='rest'))
    assert kinds(chosen) == dict(car=1, Void=0, sky=0, rest=0) and chosen.things == {'car'}
    assert chosen.names == dict(car='car', Void='Void', sky='sky', truck='car', person=None)
    assert kinds(select_classes(FOUND, ClassOptions(background='sky')))['sky'] == 0


@pytest.mark.parametrize(('options', 'text'), [
    (dict(things=('cra', )), '--things cra: the source has no such class; near names are car'),
    (dict(drop=('q', )), '--drop q: the source has no such class; it has '
     'car, Void, sky, truck, person'),
    (dict(rename=(('lorry', 'truck'), )), '--rename lorry: the source has no such class; it has '
     'car, Void, sky, truck, person'),
    (dict(things=('car', ), stuff=('car', )), '--things and --stuff both name car; a class is one '
     'of them'),
    (dict(background='person'), '--background person is a thing class; unlabeled pixels can only '
     'be stuff'),
    (dict(things=('truck', ), rename=(('person', 'sky'), )), 'the classes that are named sky are '
     'things and stuff; give --things sky or --stuff sky'),
    (dict(drop=('car', 'sky', 'truck', 'person')), 'no class is left: all are dropped or mean '
     'unlabeled pixels')])
def test_wrong_options_of_classes(options, text):
    with pytest.raises(SourceError) as error:
        select_classes(FOUND, ClassOptions(**options))
    assert str(error.value) == text


ROAD, CAR = (128, 64, 128), (0, 0, 142)


@pytest.mark.parametrize(('name', 'text', 'rows'), [
    ('a.txt', 'road\n\ncar\r\n', [('road', 0), ('car', 1)]),
    ('a.txt', '# comment\n0: road\n26: traffic car\n', [('road', 0), ('traffic car', 26)]),
    ('a.txt', '7 road\n8,car\n', [('road', 7), ('car', 8)]),
    ('label_colors.txt', '128 64 128\troad\n0 0 142\tcar\n', [('road', 0, ROAD), ('car', 1, CAR)]),
    ('labelmap.txt', '# label:color_rgb:parts:actions\nroad:128,64,128::\ncar:0,0,142::\n',
     [('road', 0, ROAD), ('car', 1, CAR)]),
    ('class_dict.csv', 'name,r,g,b\nroad,128, 64,128\ncar,0,0,142\n',
     [('road', 0, ROAD), ('car', 1, CAR)]),
    ('a.csv', 'id,name,isthing\n7,road,0\n26,car,1\n',
     [('road', 7, None, False), ('car', 26, None, True)]),
    ('a.json', '["road", "car"]', [('road', 0), ('car', 1)]),
    ('a.json', '{"7": "road", "26": "car"}', [('road', 7), ('car', 26)]),
    ('a.json', '{"road": 7, "car": 26}', [('road', 7), ('car', 26)]),
    ('a.json', '{"categories": [{"id": 7, "name": "road", "color": [128, 64, 128], "isthing": 0}, '
     '{"id": 26, "name": "car", "color": "#00008e", "hasInstances": true}]}',
     [('road', 7, ROAD, False), ('car', 26, CAR, True)])])
def test_files_of_classes(tmp_path, name, text, rows):
    (tmp_path / name).write_text(text)
    assert read_class_table(tmp_path / name) == [TableClass(*row) for row in rows]


def test_the_file_of_classes_is_found_by_its_name(tmp_path):
    assert find_class_table(tmp_path) is None
    (tmp_path / 'Label_Colors.txt').write_text('1 2 3 a')
    assert find_class_table(tmp_path).name == 'Label_Colors.txt'
    table = [TableClass('a', 0, None, True), TableClass('b', 1)]
    assert thing_names(table, ()) == {'a'} and thing_names(table, ('b', )) == {'b'}


@pytest.mark.parametrize(('name', 'text', 'message'), [
    ('a.txt', '', 'names no class'), ('a.json', '{', 'is not valid JSON: Expecting property name '
     'enclosed in double quotes: line 1 column 2 (char 1)'),
    ('a.json', '{"a": "b"}', 'is no list of classes; write ["road", "car"] or {"0": "road"}'),
    ('a.json', '[{"id": 1}]', 'entry 0 has no "name": {\'id\': 1}'),
    ('a.json', '[{"name": "a", "id": "x"}]', "class 'a' has the value 'x', which is no integer"),
    ('a.json', '[{"name": "a", "color": [1, 2, 300]}]', "class 'a' has the color [1, 2, 300]; "
     'write [red, green, blue], each 0 .. 255, or "#rrggbb"'),
    ('a.csv', 'name,r,g,b\na,1,x,3\n', 'line 2 has no numbers where the columns name, r, g, b need '
     'them'),
    ('a.txt', '1 2 3 a\nb\n', "the line 'b' has no color as the others have"),
    ('a.txt', 'a\na\n', 'two classes have the name a'),
    ('a.txt', '1 a\n1 b\n', 'two classes have the value 1'),
    ('a.txt', '1 2 3 a\n1 2 3 b\n', 'two classes have the color (1, 2, 3)'),
    ('a.txt', '1 2 300 a\n', "the class 'a' has no name, a negative value or a color above 255: 0, "
     '(1, 2, 300)')])
def test_wrong_files_of_classes(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError) as error:
        read_class_table(tmp_path / name)
    assert str(error.value).replace(f'{tmp_path / name}', '').lstrip(': ') == message


def test_a_missing_file_of_classes(tmp_path):
    with pytest.raises(SourceError, match='does not exist; --classes is a file of class names'):
        read_class_table(tmp_path / 'no.txt')
    (tmp_path / 'a.txt').write_bytes(b'\xff\xfe\xfa')
    with pytest.raises(SourceError, match='a.txt cannot be read as text'):
        read_class_table(tmp_path / 'a.txt')
