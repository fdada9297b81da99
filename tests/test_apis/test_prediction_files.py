"""Files of saved predictions: which images they list, under which ids, after which runs."""
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from pycocotools.coco import COCO

from mmpanseg.apis.dataset_ids import DatasetIds
from mmpanseg.apis.prediction_files import JOURNAL, PredictionFiles
from mmpanseg.structures.panoptic_png import read_panoptic_png

CLASSES = ('cat', 'dog', 'sky')
SIZE = (4, 6)


def prediction(label=0, score=0.5):
    """Left half a segment, right half void."""
    ids = np.zeros(SIZE, np.int32)
    ids[:, :3] = 1
    return dict(
        panoptic_seg=ids, segments_info=[dict(id=1, label=label, isthing=label < 2, score=score)],
        instances=[dict(label=label, score=score, bbox=[0, 0, 3, 4],
                        mask=dict(size=list(SIZE), counts='0<'))],
        sem_seg=np.full(SIZE, label, np.int32))


def open_files(folder, dataset=None, label2cat=None, classes=CLASSES):
    return PredictionFiles(folder, DatasetIds(classes, label2cat, dataset), 2)


def read(folder, name='panoptic.json'):
    return json.loads((folder / name).read_text())


def listed(folder):
    return {image['file_name']: image['id'] for image in read(folder)['images']}


@pytest.fixture
def dataset(tmp_path):
    """A COCO JSON with ids of its own, and what points to it."""
    content = dict(
        images=[dict(id=11, file_name='a/1.png', height=4, width=6),
                dict(id=40, file_name='b/1.png', height=4, width=6),
                dict(id=7, file_name='other.jpg', height=4, width=6)],
        categories=[dict(id=9, name='sky'), dict(id=2, name='dog'), dict(id=5, name='cat'),
                    dict(id=1, name='car')])
    (tmp_path / 'gt.json').write_text(json.dumps(content))
    return SimpleNamespace(ann_file=str(tmp_path / 'gt.json'), backend_args=None,
                           data_prefix=dict(img=str(tmp_path / 'images')))


def test_ids_of_the_data_set(tmp_path, dataset):
    folder = tmp_path / 'preds'
    files = open_files(folder, dataset)
    sources = [str(tmp_path / f'images/{name}') for name in ('b/1.png', 'a/1.png')] + [
        str(tmp_path / 'elsewhere/other.jpg'), str(tmp_path / 'elsewhere/new.jpg')]
    files.announce(sources)
    for label, source in enumerate(sources[:3]):
        files.write(source, SIZE, prediction(label))
    files.write(sources[3], SIZE, prediction())
    files.write(None, SIZE, prediction())
    files.finish()
    content = read(folder)
    # a copy of other.jpg is known by its name and size; the others go on behind the data set's
    assert [a['image_id'] for a in content['annotations']] == [40, 11, 7, 41, 42]
    assert [a['segments_info'][0]['category_id'] for a in content['annotations']] == [
        5, 2, 9, 5, 5]
    assert [i['file_name'] for i in content['images']] == [
        'b/1.png', 'a/1.png', 'other.jpg', sources[3], '00000000.png']
    assert content['categories'] == [
        dict(id=5, name='cat', isthing=1), dict(id=2, name='dog', isthing=1),
        dict(id=9, name='sky', isthing=0)]
    names = [a['file_name'] for a in content['annotations']]
    assert names == ['images/b/1.png', 'images/a/1.png', 'elsewhere/other.png',
                     'elsewhere/new.png', '00000000.png']
    for annotation in content['annotations']:
        ids = read_panoptic_png(folder / annotation['file_name'])
        assert annotation['segments_info'][0]['area'] == (ids == 1).sum() == 12
    # pycocotools takes the instances with the data set's own JSON
    gt = read(tmp_path, 'gt.json')
    found = COCO()
    found.dataset = dict(gt, annotations=[])
    found.createIndex()
    results = [r for r in read(folder, 'instances.json') if r['image_id'] < 41]
    assert found.loadRes(results).getAnnIds(imgIds=[40], catIds=[5]) == [1]


def test_an_image_of_the_same_name_is_not_the_data_sets(tmp_path, dataset):
    ids = DatasetIds(CLASSES, None, dataset)
    assert ids.image(tmp_path / 'images/b/1.png', (1, 1)) == (40, 'b/1.png')
    assert ids.image(tmp_path / 'x/b/1.png', SIZE) == (40, 'b/1.png')
    assert ids.image(tmp_path / 'x/b/1.png', (4, 7)) is None
    assert ids.image(tmp_path / 'x/1.png', SIZE) is None
    # two images that claim one id: the second has another
    files = open_files(tmp_path / 'preds', dataset)
    for place in ('images', 'x'):
        files.write(str(tmp_path / place / 'b/1.png'), SIZE, prediction())
    files.finish()
    assert listed(tmp_path / 'preds') == {'b/1.png': 40, str(tmp_path / 'x/b/1.png'): 41}


@pytest.mark.parametrize('label2cat, expected', [
    (None, [1, 2, 3]), ({0: 18, 1: 3, 2: 7}, [18, 3, 7])])
def test_category_ids_without_a_json(label2cat, expected):
    absent = SimpleNamespace(ann_file='absent.json', data_prefix=dict(img=''))
    assert DatasetIds(CLASSES, label2cat, absent).categories == expected
    assert DatasetIds(CLASSES, label2cat).categories == expected


def test_classes_that_the_json_lacks(dataset):
    assert DatasetIds(('sky', 'cow', 'cat', 'hen'), {0: 3}, dataset).categories == [9, 10, 5, 11]


def test_broken_json(tmp_path, dataset):
    (tmp_path / 'gt.json').write_text('{')
    with pytest.raises(ValueError, match='gt.json is not valid JSON'):
        open_files(tmp_path / 'preds', dataset)


def test_a_second_run_adds_to_the_first(tmp_path):
    for label, sources in enumerate((['a/1.png', 'a/2.png'], ['b/1.png', 'a/2.png'])):
        files = open_files(tmp_path)
        files.announce(sources)
        for source in sources:
            files.write(source, SIZE, prediction(label))
        files.write(None, SIZE, prediction(label))
        files.finish()
    content = read(tmp_path)
    assert listed(tmp_path) == {'a/1.png': 0, 'a/2.png': 1, '00000000.png': 2, 'b/1.png': 3,
                                '00000001.png': 4}
    categories = {a['image_id']: a['segments_info'][0]['category_id']
                  for a in content['annotations']}
    assert categories == {0: 1, 1: 2, 2: 1, 3: 2, 4: 2}
    assert {a['image_id']: a['file_name'] for a in content['annotations']} == {
        0: '1.png', 1: '2.png', 2: '00000000.png', 3: '1_1.png', 4: '00000001.png'}
    assert {r['image_id']: r['category_id'] for r in read(tmp_path, 'instances.json')} == categories
    assert len(read(tmp_path, 'instances.json')) == 5
    assert sorted(path.name for path in tmp_path.glob('*.json*')) == [
        'images.json', 'instances.json', 'panoptic.json']


def test_results_of_other_classes_are_not_mixed(tmp_path):
    files = open_files(tmp_path)
    files.write('1.png', SIZE, prediction())
    files.finish()
    with pytest.raises(ValueError, match='results with other categories'):
        open_files(tmp_path, classes=('cat', 'dog', 'sea'))


def test_a_run_that_broke_off(tmp_path):
    files = open_files(tmp_path)
    files.write('1.png', SIZE, prediction())
    files.write('2.png', SIZE, prediction())
    with open(tmp_path / JOURNAL, 'a') as journal:
        journal.write('\n{"image": {"id"')
    # another process goes on writing
    files.write('3.png', SIZE, prediction())
    assert not (tmp_path / 'panoptic.json').exists()
    files = open_files(tmp_path)
    assert listed(tmp_path) == {'1.png': 0, '2.png': 1, '3.png': 2}
    files.write('2.png', SIZE, prediction(1))
    files.finish()
    assert [(a['image_id'], a['segments_info'][0]['category_id'])
            for a in read(tmp_path)['annotations']] == [(0, 1), (2, 1), (1, 2)]
    assert not (tmp_path / JOURNAL).exists()


def test_json_files_are_written_once(tmp_path):
    files = open_files(tmp_path)
    for number in range(20):
        files.write(f'{number}.png', SIZE, prediction())
        assert {path.suffix for path in tmp_path.iterdir()} == {'.png', '.jsonl'}
    files.finish()
    assert len(read(tmp_path)['annotations']) == 20


@pytest.mark.parametrize('score', [math.nan, math.inf])
def test_scores_that_no_json_can_hold(tmp_path, score):
    files = open_files(tmp_path)
    files.write('1.png', SIZE, prediction())
    with pytest.raises(ValueError, match='2.png: a predicted score or box is not finite'):
        files.write('2.png', SIZE, prediction(score=score))
    files.finish()
    assert listed(tmp_path) == {'1.png': 0}


def test_arrays_are_read_from_their_files(tmp_path):
    given = prediction(2)
    saved = open_files(tmp_path).write('a/1.png', SIZE, given)
    assert not any(isinstance(value, np.ndarray) for value in saved.values())
    for key in ('panoptic_seg', 'sem_seg'):
        np.testing.assert_array_equal(saved[key], given[key])
        assert saved[key].dtype == np.int32
    assert saved['segments_info'] == given['segments_info']
    with pytest.raises(KeyError, match='boxes'):
        saved['boxes']
