"""The Cityscapes converter on small files in the official layout."""
import json

import cv2
import numpy as np
import pytest
from mmdet.datasets import CityscapesDataset as MMDetCityscapesDataset
from PIL import Image
from pycocotools import mask as rle_tools

from mmpanseg.checkpoints.class_order import published_order
from mmpanseg.datasets import CityscapesInstanceDataset, CityscapesPanopticDataset
from mmpanseg.datasets.cityscapes import LABELS
from mmpanseg.datasets.converters import convert_cityscapes
from mmpanseg.structures.panoptic_png import read_panoptic_png

NAME = 'aachen_000000_000019'
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap'),
            dict(type='mmpanseg.PackPanopticInputs')]


@pytest.fixture
def root(downloads, tmp_path):
    return downloads.cityscapes(tmp_path, ('train', ))


def _json(root, name):
    return json.loads((root / f'annotations/{name}.json').read_text())


def test_class_order():
    names = [label.name for label in LABELS]
    assert len(names) == 19 and names[:3] == ['road', 'sidewalk', 'building']
    assert [names[train_id] for train_id in published_order('cityscapes')] == list(
        CityscapesPanopticDataset.METAINFO['classes'])
    mmdet = dict(zip(MMDetCityscapesDataset.METAINFO['classes'],
                     MMDetCityscapesDataset.METAINFO['palette']))
    ours = CityscapesInstanceDataset.METAINFO
    assert dict(zip(ours['classes'], ours['palette'])) == mmdet


def test_panoptic_annotation(root, downloads):
    assert convert_cityscapes(root, root, 'train') == 2
    content = _json(root, 'panoptic_train')
    assert content['images'][0] == dict(
        id=NAME, file_name=f'aachen/{NAME}_leftImg8bit.png', height=24, width=40)
    annotation = content['annotations'][0]
    ids = downloads.cityscapes_ids().astype(int)
    # caravan, unlabeled, out of region, group of poles and license plates are void
    expected = np.where(np.isin(ids, [7, 23, 24, 26000, 26001]), ids, 0)
    png = read_panoptic_png(root / 'annotations/panoptic_train' / annotation['file_name'])
    assert np.array_equal(png, expected)
    segments = {s['id']: s for s in annotation['segments_info']}
    assert {i: (s['category_id'], s['iscrowd']) for i, s in segments.items()} == {
        7: (7, 0), 23: (23, 0), 24: (24, 1), 26000: (26, 0), 26001: (26, 0)}
    for i, s in segments.items():
        assert s['area'] == (ids == i).sum()
        assert s['bbox'] == list(cv2.boundingRect((ids == i).astype(np.uint8)))
    assert sum(c['isthing'] for c in content['categories']) == 8
    assert len(content['categories']) == 19


def test_instance_annotation(root, downloads):
    convert_cityscapes(root, root, 'train')
    content = _json(root, 'instances_train')
    assert [c['name'] for c in content['categories']] == [
        'person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle']
    assert [a['id'] for a in content['annotations']] == [1, 2, 3, 4, 5, 6]
    ids = downloads.cityscapes_ids()
    for annotation, i, crowd in zip(content['annotations'], (24, 26000, 26001), (1, 0, 0)):
        assert annotation['image_id'] == NAME and annotation['iscrowd'] == crowd
        assert np.array_equal(rle_tools.decode(annotation['segmentation']), ids == i)
        assert annotation['area'] == (ids == i).sum()


def test_what_the_datasets_make_of_it(root, downloads):
    convert_cityscapes(root, root, 'train')
    files = dict(data_root=str(root), ann_file='annotations/panoptic_train.json', data_prefix=dict(
        img='leftImg8bit/train', seg='annotations/panoptic_train'), pipeline=PIPELINE)
    ids = downloads.cityscapes_ids()
    data = CityscapesPanopticDataset(**files)
    assert data.metainfo['classes'][:3] == ('person', 'rider', 'car')
    segments = data[0]['data_samples'].gt_segments
    names = [data.metainfo['classes'][label] for label in segments.labels]
    assert names == ['road', 'sky', 'car', 'car']
    expected = np.select([ids == 7, ids == 23, ids == 26000, ids == 26001], [0, 1, 2, 3], -1)
    assert np.array_equal(segments.map.numpy(), expected)

    things = CityscapesInstanceDataset(**files)
    assert (len(things.metainfo['classes']), things.metainfo['stuff_classes']) == (8, ())
    sample = things[0]['data_samples']
    assert sample.gt_segments.labels.tolist() == [2, 2]
    assert np.array_equal(sample.gt_segments.map.numpy(), np.maximum(expected - 2, -1))
    assert sample.metainfo['void_ids'] == [7, 23]


def test_workers_and_a_second_run_write_the_same(root, tmp_path):
    convert_cityscapes(root, root, 'train')
    first = {p: p.read_bytes() for p in (root / 'annotations').rglob('*.*') if p.is_file()}
    assert len(first) == 4
    assert convert_cityscapes(root, root, 'train', workers=2) == 2
    assert first == {p: p.read_bytes() for p in (root / 'annotations').rglob('*.*') if p.is_file()}


def test_train_ids(root, downloads):
    convert_cityscapes(root, root, 'train', train_ids=True)
    base = root / f'gtFine/train/aachen/{NAME}_gtFine_label'
    ids = np.asarray(Image.open(f'{base}Ids.png'))
    expected = np.full(ids.shape, 255)
    for train_id, label in enumerate(LABELS):
        expected[ids == label.id] = train_id
    assert np.array_equal(np.asarray(Image.open(f'{base}TrainIds.png')), expected)
    assert (expected == 255).any() and (expected == 13).any()


@pytest.mark.parametrize('damage, text', [
    (lambda p: p.unlink(), 'does not exist, the annotation of .*aachen_000000_000019_leftImg8bit'),
    (lambda p: p.write_bytes(b''), 'no readable image'),
    (lambda p: cv2.imwrite(str(p), np.zeros((24, 41), np.uint16)), '41x24, its image .* 40x24'),
    (lambda p: cv2.imwrite(str(p), np.full((24, 40), 40, np.uint16)), 'value 40 is no id'),
    (lambda p: cv2.imwrite(str(p), np.full((24, 40), 34000, np.uint16)), 'value 34000 is no id'),
    (lambda p: cv2.imwrite(str(p), np.zeros((24, 40, 3), np.uint8)), 'has 3 channels')])
@pytest.mark.parametrize('workers', [1])
def test_bad_annotations_are_named(root, damage, text, workers):
    damage(root / f'gtFine/train/aachen/{NAME}_gtFine_instanceIds.png')
    with pytest.raises(ValueError, match=text) as error:
        convert_cityscapes(root, root, 'train', workers)
    assert 'instanceIds.png' in str(error.value)
    # a conversion that is broken off leaves no JSON that looks whole
    assert not (root / 'annotations/panoptic_train.json').exists()


def test_errors_of_processes_arrive(root):
    (root / f'gtFine/train/aachen/{NAME}_gtFine_instanceIds.png').unlink()
    with pytest.raises(ValueError, match='instanceIds.png does not exist'):
        convert_cityscapes(root, root, 'train', workers=2)


def test_other_mistakes(root):
    with pytest.raises(ValueError, match='leftImg8bit/val: no such folder'):
        convert_cityscapes(root, root, 'val')
    with pytest.raises(ValueError, match='workers=0 must be at least 1'):
        convert_cityscapes(root, root, 'train', workers=0)
    (root / f'leftImg8bit/train/aachen/{NAME}_leftImg8bit.png').write_bytes(b'x')
    with pytest.raises(ValueError, match='leftImg8bit.png: not a readable image'):
        convert_cityscapes(root, root, 'train')
    (root / 'leftImg8bit/test').mkdir()
    with pytest.raises(ValueError, match='test: no _leftImg8bit.png in it'):
        convert_cityscapes(root, root, 'test')
