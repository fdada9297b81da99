"""Each check of JSONs and file names finds its mistake, with its place, and nothing else."""
import copy
import json
from dataclasses import replace

import pytest

from mmpanseg.doctor.catalog import Severity
from mmpanseg.doctor.lists.listing import read_source
from mmpanseg.doctor.source import Source

A, B = 'a.png', 'b.png'
JSON = 'train.json'


def panoptic():
    """A clean panoptic JSON of two images."""
    def segment(number, category):
        return dict(id=number, category_id=category, iscrowd=0, area=4, bbox=[0, 0, 2, 2])
    return dict(
        images=[dict(id=n, file_name=name, height=8, width=12) for n, name in ((1, A), (2, B))],
        annotations=[
            dict(image_id=1, file_name=A, segments_info=[segment(7, 10), segment(8, 20)]),
            dict(image_id=2, file_name=B, segments_info=[segment(7, 11), segment(9, 20)])],
        categories=[dict(id=i, name=name, isthing=int(i < 20))
                    for i, name in ((10, 'person'), (11, 'car'), (20, 'sky'))])


def instance():
    """A clean instance JSON of two images."""
    return dict(
        images=panoptic()['images'],
        annotations=[dict(id=n, image_id=image, category_id=category, iscrowd=0, area=4,
                          bbox=[0, 0, 2, 2], segmentation=[[0, 0, 2, 0, 2, 2, 0, 2]])
                     for n, image, category in ((5, 1, 10), (6, 2, 11))],
        categories=[dict(id=10, name='person'), dict(id=11, name='car')])


def source_of(folder, content, files=(A, B), maps=(A, B), **options):
    """Write files; their source."""
    for name, listed in (('images', files), ('maps', maps)):
        (folder / name).mkdir(parents=True)
        for file in listed:
            (folder / name / file).touch()
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / JSON).write_bytes(text)
    source = Source(
        'train', 'panoptic', str(folder / JSON), str(folder / 'images'), str(folder / 'maps'),
        classes=('person', 'car', 'sky'), thing_classes=('person', 'car'), stuff_classes=('sky', ))
    return replace(source, **options)


def places(source):
    """(check, file, image id, segment id) of every problem; the JSON is named without folder."""
    return sorted((p.check, (p.file or '').replace(source.ann_file, JSON), p.image_id,
                   p.segment_id) for p in read_source(source).problems)


def at(*keys, **values):
    """A change of the entry at some keys; a value of None removes the key."""
    def change(content):
        for key in keys:
            content = content[key]
        for key, value in values.items():
            if value is None:
                del content[key]
            else:
                content[key] = value
    return change


def again(*keys, **values):
    """A change that repeats the first entry of a list with other values."""
    def change(content):
        for key in keys:
            content = content[key]
        content.append(dict(copy.deepcopy(content[0]), **values))
    return change


SEGMENT = ('annotations', 0, 'segments_info', 0)
BIG = 10 ** 30
LISTS = {
    'no images': (at(images=None), {
        ('PAN005', JSON, None, None), ('PAN020', A, 1, None), ('PAN020', B, 2, None),
        ('PAN035', JSON, None, None)}),
    'annotations no list': (at(annotations='x'), {
        ('PAN005', JSON, None, None), ('PAN021', A, 1, None), ('PAN021', B, 2, None)}),
    'image no dict': (lambda c: c['images'].append(3), {('PAN007', JSON, None, None)}),
    'no width': (at('images', 0, width=None), {('PAN006', A, 1, None)}),
    'text as width': (at('images', 0, width='12'), {('PAN007', A, 1, None)}),
    'true as width': (at('images', 0, width=True), {('PAN007', A, 1, None)}),
    'width 0': (at('images', 0, width=0), {('PAN008', A, 1, None)}),
    'huge width': (at('images', 0, width=BIG), {('PAN008', A, 1, None)}),
    'image id twice': (at('images', 1, id=1), {
        ('PAN009', B, 1, None), ('PAN020', B, 2, None)}),
    'image id a list': (at('images', 1, id=[2]), {
        ('PAN007', B, None, None), ('PAN020', B, 2, None)}),
    'file name a number': (at('images', 1, file_name=5), {
        ('PAN007', '', 2, None)}),
    'file name of dots': (at('images', 1, file_name='..'), {
        ('PAN038', '..', 2, None)}),
    'file listed twice': (at('images', 1, file_name='./a.png'), {('PAN011', './a.png', 2, None)}),
    'two annotations': (at('annotations', 1, image_id=1), {
        ('PAN010', A, 1, None), ('PAN021', B, 2, None)}),
    'category id twice': (at('categories', 1, id=10), {
        ('PAN012', JSON, None, None), ('PAN019', B, 2, 7)}),
    'category name twice': (again('categories', id=12), {('PAN013', JSON, None, None)}),
    'category without name': (at('categories', 1, name=None), {
        ('PAN006', JSON, None, None), ('PAN016', JSON, None, None), ('PAN017', B, 2, 7)}),
    'isthing 2': (at('categories', 1, isthing=2), {('PAN007', JSON, None, None)}),
    'isthing of the other kind': (at('categories', 1, isthing=0), {('PAN015', JSON, None, None)}),
    'another spelling': (at('categories', 1, name='Car'), {
        ('PAN016', JSON, None, None), ('PAN017', B, 2, 7)}),
    'another order': (lambda c: c['categories'].reverse(), {('PAN018', JSON, None, None)}),
    'unknown category': (at(*SEGMENT, category_id=99), {('PAN019', A, 1, 7)}),
    'huge category': (at(*SEGMENT, category_id=BIG), {('PAN008', A, 1, 7)}),
    'annotation of no image': (again('annotations', image_id=3, file_name='c.png'), {
        ('PAN020', 'c.png', 3, None)}),
    'image without annotation': (lambda c: c['annotations'].pop(), {('PAN021', B, 2, None)}),
    'segment id twice': (at(*SEGMENT, id=8), {('PAN022', A, 1, 8)}),
    'segment 0': (at(*SEGMENT, id=0), {('PAN023', A, 1, 0)}),
    'segment 2^24': (at(*SEGMENT, id=1 << 24), {('PAN024', A, 1, 1 << 24)}),
    'negative segment': (at(*SEGMENT, id=-7), {('PAN024', A, 1, -7)}),
    'segment without id': (at(*SEGMENT, id=None), {('PAN006', A, 1, None)}),
    'segment no dict': (lambda c: c['annotations'][0]['segments_info'].append([]), {
        ('PAN007', A, 1, None)}),
    'stuff twice': (at(*SEGMENT, category_id=20), {('PAN025', A, 1, None)}),
    'crowd': (at(*SEGMENT, iscrowd=1), {('PAN026', A, 1, None)}),
    'stuff as crowd': (at('annotations', 0, 'segments_info', 1, iscrowd=1), {
        ('PAN026', A, 1, None), ('PAN053', A, 1, 8)}),
    'iscrowd a text': (at(*SEGMENT, iscrowd='no'), {('PAN007', A, 1, 7)}),
    'area a text': (at(*SEGMENT, area='4'), {('PAN007', A, 1, 7)}),
    'box of three': (at(*SEGMENT, bbox=[1, 2, 3]), {('PAN007', A, 1, 7)}),
    'no area': (at(*SEGMENT, area=None), {('PAN047', JSON, None, None)}),
    'no segment': (at('annotations', 0, segments_info=[]), {('PAN048', A, 1, None)}),
    'segments no list': (at('annotations', 0, segments_info={}), {('PAN007', A, 1, None)}),
    'one PNG twice': (at('annotations', 1, file_name=A), {('PAN049', B, 2, None)}),
    'image missing': (at('images', 0, file_name='c.png'), {('PAN031', 'c.png', 1, None)}),
    'map missing': (at('annotations', 0, file_name='c.png'), {('PAN032', 'c.png', 1, None)}),
    'capitals in the name': (at('images', 0, file_name='A.png'), {('PAN028', 'A.png', 1, None)}),
    'way out': (at('images', 0, file_name='../images/a.png'), {
        ('PAN030', '../images/a.png', 1, None)}),
    'backslash': (at('images', 0, file_name='.\\a.png'), {('PAN027', '.\\a.png', 1, None)}),
    'half a character': (at('images', 0, file_name='\udcff.png'), {
        ('PAN037', '\\udcff.png', 1, None)}),
    'zero byte': (at('images', 0, file_name='a\0.png'), {
        ('PAN038', 'a\0.png', 1, None)}),
    'map is the image': (at('annotations', 0, file_name='../images/a.png'), {
        ('PAN030', A, 1, None), ('PAN050', A, 1, None)})}


def test_a_clean_set_has_no_problem(tmp_path):
    listing = read_source(source_of(tmp_path, panoptic()))
    assert listing.problems == [] and listing.num_images == len(listing.records) == 2
    assert listing.segments == {'person': 1, 'car': 1, 'sky': 2}
    record = listing.records[1]
    assert (record.image_id, record.height, record.width, record.things) == (2, 8, 12, {10, 11})
    assert record.annotation_path == str(tmp_path / 'maps' / B)
    assert [s['id'] for s in record.segments] == [7, 9]


@pytest.mark.parametrize('name', LISTS)
def test_a_mistake_in_the_lists_is_found_at_its_place(tmp_path, name):
    change, expected = LISTS[name]
    content = panoptic()
    change(content)
    assert set(places(source_of(tmp_path, content))) == expected


@pytest.mark.parametrize(('data', 'check'), [
    (b'', 'PAN002'), (b'{"images": [', 'PAN002'), (b'[1]', 'PAN005'),
    (b'[' * 100000, 'PAN002'), (b'{"a": 1' + b'0' * 5000 + b'}', 'PAN002')])
def test_a_file_that_is_no_annotation_is_one_problem(tmp_path, data, check):
    source = source_of(tmp_path, data)
    assert places(source) == [(check, JSON, None, None)]


def test_a_missing_file_is_one_problem(tmp_path):
    source = source_of(tmp_path, panoptic(), ann_file=str(tmp_path / 'none.json'))
    assert [p.check for p in read_source(source).problems] == ['PAN001']


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'cp1252'])
def test_another_encoding_is_found_and_the_rest_is_read(tmp_path, encoding):
    content = panoptic()
    content['info'] = dict(contributor='Müller')
    content['images'][0]['width'] = 0
    data = json.dumps(content, ensure_ascii=False).encode(encoding)
    assert {p[0] for p in places(source_of(tmp_path, data))} == {'PAN003', 'PAN008'}


def test_nan_is_named_with_its_entry(tmp_path):
    content = panoptic()
    content['annotations'][0]['segments_info'][1]['area'] = float('nan')
    content['annotations'][1]['segments_info'][0]['bbox'] = [0, 0, float('inf'), 1]
    assert places(source_of(tmp_path, content)) == [
        ('PAN004', JSON, 1, 8), ('PAN004', JSON, 2, 7)]


def test_isthing_is_needed_only_without_names_of_things(tmp_path):
    content = panoptic()
    del content['categories'][1]['isthing']
    assert places(source_of(tmp_path / 'a', content)) == []
    source = source_of(tmp_path / 'b', content, thing_classes=None, stuff_classes=None)
    assert places(source) == [('PAN014', JSON, None, None)]


def test_near_names_are_shown(tmp_path):
    content = panoptic()
    content['categories'][0]['name'] = 'persons'
    texts = {p.check: p.text for p in read_source(source_of(tmp_path, content)).problems}
    assert "did you mean 'persons'?" in texts['PAN016']
    assert "did you mean 'person'?" in texts['PAN017']


def test_categories_that_differ_in_capitals_only(tmp_path):
    content = panoptic()
    content['categories'].append(dict(id=12, name='Per-son', isthing=1))
    content['categories'].append(dict(id=13, name='per son', isthing=1))
    assert places(source_of(tmp_path, content)) == [('PAN046', JSON, None, None)]


@pytest.mark.parametrize(('options', 'expected'), [
    (dict(classes=('person', 'person', 'car', 'sky')), 'PAN045'),
    (dict(stuff_classes=None), 'PAN045'),
    (dict(classes=('a', 'b', 'c'), thing_classes=('a', ), stuff_classes=('b', 'c'),
          void_unselected=True), 'PAN016'),
    (dict(num_queries=1), 'PAN409'), (dict(min_size=9), 'PAN051'),
    (dict(img_prefix='/nowhere'), 'PAN043'), (dict(seg_prefix='/nowhere'), 'PAN043')])
def test_the_options_of_a_source(tmp_path, options, expected):
    assert expected in {p[0] for p in places(source_of(tmp_path, panoptic(), **options))}


def test_queries_count_things_where_stuff_has_its_own(tmp_path):
    source = source_of(tmp_path, panoptic(), num_queries=1, queries_for_things=True)
    assert places(source) == []


def test_unselected_categories_may_be_void(tmp_path):
    source = source_of(tmp_path, panoptic(), classes=('person', 'car'), stuff_classes=(),
                       void_unselected=True)
    problems = read_source(source).problems
    assert [(p.check, p.severity) for p in problems] == [('PAN052', Severity.NOTE)]
    assert '2 segments' in problems[0].text


def test_a_key_that_all_entries_lack_is_one_problem(tmp_path):
    content = panoptic()
    content['images'] = [dict(id=n, file_name=A, height=8) for n in range(30)]
    found = [p for p in read_source(source_of(tmp_path, content)).problems if p.check == 'PAN006']
    assert [p.text for p in found] == ['none of the 30 entries (image) has "width"']


def test_a_json_of_the_other_kind_is_one_problem(tmp_path):
    assert places(source_of(tmp_path / 'a', instance())) == [
        ('PAN005', JSON, None, None), ('PAN016', JSON, None, None)]
    source = source_of(tmp_path / 'b', panoptic(), kind='instance', classes=())
    assert places(source) == [('PAN005', JSON, None, None)]


INSTANCES = {
    'annotation id twice': (at('annotations', 1, id=5), {('PAN036', B, 2, 5)}),
    'annotation id 0': (at('annotations', 1, id=0), {('PAN023', B, 2, 0)}),
    'annotation without id': (at('annotations', 1, id=None), {('PAN047', JSON, None, None)}),
    'unknown category': (at('annotations', 1, category_id=3), {('PAN019', B, 2, 6)}),
    'unselected category': (lambda c: c['categories'].append(dict(id=12, name='dog')) or
                            again('annotations', id=7, category_id=12)(c), {
                                ('PAN052', JSON, None, None)}),
    'id of another type': (at('annotations', 1, image_id='2'), {
        ('PAN020', JSON, '2', 6), ('PAN048', B, 2, None)}),
    'crowd': (at('annotations', 1, iscrowd=1), {('PAN026', B, 2, None)}),
    'image without object': (lambda c: c['annotations'].pop(), {('PAN048', B, 2, None)})}


@pytest.mark.parametrize('name', INSTANCES)
def test_a_mistake_in_an_instance_json(tmp_path, name):
    change, expected = INSTANCES[name]
    content = instance()
    change(content)
    source = source_of(tmp_path, content, kind='instance', seg_prefix='', thing_classes=None,
                       stuff_classes=None, classes=('person', 'car'))
    assert set(places(source)) == expected


def test_a_clean_instance_json_has_no_problem(tmp_path):
    source = source_of(tmp_path, instance(), kind='instance', seg_prefix='', classes=(),
                       thing_classes=None, stuff_classes=None)
    listing = read_source(source)
    assert listing.problems == [] and listing.classes == ('person', 'car')
    assert [len(record.annotations) for record in listing.records] == [1, 1]


@pytest.mark.parametrize('junk', [None, 1.5, [[]], {}, BIG, '\udcff'])
def test_any_value_anywhere_is_survived(tmp_path, junk):
    """Every value of the JSON in turn is replaced."""
    number = 0

    def put(node, top):
        nonlocal number
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            kept, node[key] = node[key], junk
            (tmp_path / JSON).write_text(json.dumps(top))
            for kind in ('panoptic', 'instance'):
                read_source(replace(source, kind=kind))
            node[key] = kept
            number += 1
            if isinstance(kept, (dict, list)):
                put(kept, top)

    content = panoptic()
    content['annotations'][0].update(instance()['annotations'][0], image_id=1)
    source = source_of(tmp_path, content, classes=(), thing_classes=None, stuff_classes=None)
    put(content, content)
    assert number > 70


@pytest.fixture
def folders(tmp_path):
    for name in ('images/x/a.jpg', 'images/b.JPG', 'maps/x/a.png', 'maps/b.png'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Source('train', 'semantic', img_prefix=str(tmp_path / 'images'),
                  seg_prefix=str(tmp_path / 'maps'), classes=('road', 'sky'))


def semantic_places(source):
    return sorted((p.check, p.file, p.image_id) for p in read_source(source).problems)


def test_clean_folders(folders):
    assert semantic_places(folders) == [('PAN029', 'b.JPG', 'b')]
    record = read_source(folders).records[1]
    assert (record.image_id, record.file_name, record.annotation_name) == (
        'x/a', 'x/a.jpg', 'x/a.png')


@pytest.mark.parametrize(('remove', 'add', 'options', 'expected'), [
    ('maps/x/a.png', None, {}, ('PAN039', 'x/a.jpg', 'x/a')),
    ('images/x/a.jpg', None, {}, ('PAN040', 'x/a.png', None)),
    (None, 'images/x/a.png', {}, ('PAN041', 'x/a.png', 'x/a')),
    (None, None, dict(img_suffix='.jpeg'), ('PAN042', 'images', None)),
    (None, None, dict(img_prefix='none'), ('PAN043', 'none', None)),
    (None, None, dict(classes=()), ('PAN044', None, None)),
    (None, None, dict(classes=('a', 'a')), ('PAN045', None, None))])
def test_mistakes_in_folders(folders, tmp_path, remove, add, options, expected):
    if remove:
        (tmp_path / remove).unlink()
    if add:
        (tmp_path / add).touch()
    found = semantic_places(replace(folders, **options))
    found = {(check, file and file.replace(f'{tmp_path}/', ''), image)
             for check, file, image in found}
    assert expected in found
