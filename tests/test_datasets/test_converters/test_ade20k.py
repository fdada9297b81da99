"""The ADE20K converter on small files in the official layout."""
import json

import cv2
import numpy as np
import pytest
from mmdet.datasets.ade20k import ADE20KSegDataset
from PIL import Image
from pycocotools import mask as rle_tools

from mmpanseg.checkpoints.class_order import published_order
from mmpanseg.datasets import ADE20KInstanceDataset, ADE20KPanopticDataset, ADE20KSemanticDataset
from mmpanseg.datasets.ade20k import CLASSES, PANOPTIC_ORDER
from mmpanseg.datasets.converters import convert_ade20k
from mmpanseg.structures.panoptic_png import read_panoptic_png

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap'),
            dict(type='mmpanseg.PackPanopticInputs')]


@pytest.fixture
def root(downloads, tmp_path):
    return downloads.ade20k(tmp_path)


def test_class_lists():
    # as in the semantic challenge; some classes have other names there
    semantic = [name.strip() for name in ADE20KSegDataset.METAINFO['classes']]
    assert len(CLASSES) == 150
    assert sum(ours.split(',')[0] == theirs for ours, theirs in zip(CLASSES, semantic)) > 130
    meta = ADE20KPanopticDataset.METAINFO
    assert [meta['classes'].index(CLASSES[place]) for place in PANOPTIC_ORDER] == [*range(150)]
    assert meta['palette'][0] == ADE20KSegDataset.METAINFO['palette'][7]  # bed
    assert published_order('ade20k') == list(PANOPTIC_ORDER)


def test_panoptic_annotation(root, downloads):
    assert convert_ade20k(root, root, 'train') == 2
    content = json.loads((root / 'ade20k_panoptic_train.json').read_text())
    assert [image['id'] for image in content['images']] == [
        'ADE_train_0000.odd 2', 'ADE_train_00000001']
    assert content['images'][0] == dict(
        id='ADE_train_0000.odd 2', file_name='ADE_train_0000.odd 2.jpg', height=24, width=40)
    semantic, instance = downloads.ade20k_maps()
    names = {c['id']: c['name'] for c in content['categories']}
    for annotation in content['annotations']:
        ids = read_panoptic_png(root / 'ade20k_panoptic_train' / annotation['file_name'])
        found = {s['id']: (names[s['category_id']], s['area'])
                 for s in annotation['segments_info']}
        # the sky is hidden by the bed; nothing is left of it, so it is no segment
        assert sorted(name for name, _ in found.values()) == [
            'bed', 'chair', 'chair', 'floor', 'wall']
        for value, (_, area) in found.items():
            assert area == (ids == value).sum() > 0
        number = {value: instance[..., 1][ids == value] for value in found}
        bed, = (value for value in found if found[value][0] == 'bed')
        assert (number[bed] == 1).all()
        # things without an instance and 0 = other are void, a thing covers stuff
        by_hand = (instance[..., 1] > 0) | np.isin(semantic, [1, 4])
        assert np.array_equal(ids > 0, by_hand)
        assert (ids[21:, 31:35] == 0).all() and (ids[10:12] == 0).all()
        assert (ids[15, 23:26] == ids[18, 24]).all()


def test_instance_annotation(root, downloads):
    convert_ade20k(root, root, 'train')
    content = json.loads((root / 'ade20k_instance_train.json').read_text())
    assert len(content['categories']) == 100
    names = {c['id']: c['name'] for c in content['categories']}
    _, instance = downloads.ade20k_maps()
    found = [a for a in content['annotations'] if a['image_id'] == 'ADE_train_00000001']
    assert [(names[a['category_id']], a['area']) for a in found] == [
        ('bed', 16), ('chair', 12), ('chair', 15)]
    for annotation, number in zip(found, (1, 2, 3)):
        mask = rle_tools.decode(annotation['segmentation'])
        assert np.array_equal(mask, instance[..., 1] == number)


def test_what_the_datasets_make_of_it(root, downloads):
    convert_ade20k(root, root, 'train')
    files = dict(data_root=str(root), ann_file='ade20k_panoptic_train.json', data_prefix=dict(
        img='images/training', seg='ade20k_panoptic_train'), pipeline=PIPELINE)
    data = ADE20KPanopticDataset(**files)
    sample = data[0]  # gray
    assert sample['inputs'].shape == (3, 24, 40)
    labels = sample['data_samples'].gt_segments.labels.tolist()
    assert [data.metainfo['classes'][label] for label in labels] == [
        'wall', 'floor', 'bed', 'chair', 'chair']
    things = ADE20KInstanceDataset(**files)
    segments = things[1]['data_samples'].gt_segments
    assert [things.metainfo['classes'][label] for label in segments.labels] == [
        'bed', 'chair', 'chair']
    assert np.array_equal(segments.map >= 0, downloads.ade20k_maps()[1][..., 1] > 0)


def test_semantic_dataset_reads_the_download(root, downloads):
    data = ADE20KSemanticDataset(
        data_root=str(root), data_prefix=dict(img='images/training', seg='annotations/training'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadSemanticMap'),
                  dict(type='mmpanseg.PackPanopticInputs')])
    segments = data[0]['data_samples'].gt_segments
    semantic, _ = downloads.ade20k_maps()
    found = np.append(segments.labels.numpy(), -1)[segments.map.numpy()]
    assert np.array_equal(found, semantic.astype(int) - 1)
    assert data.metainfo['classes'][segments.labels[0]] == 'wall'


@pytest.mark.parametrize('folder, damage, text', [
    ('annotations', lambda p: p.unlink(), 'does not exist, the annotation of'),
    ('annotations', lambda p: cv2.imwrite(str(p), np.full((24, 40), 151, np.uint8)), 'value 151'),
    ('annotations', lambda p: cv2.imwrite(str(p), np.zeros((2, 3), np.uint8)), 'is 3x2, its image'),
    ('annotations_instance', lambda p: p.unlink(), 'annotations_instance.tar'),
    ('annotations_instance', lambda p: p.write_bytes(b'x'), 'not a readable image'),
    ('annotations_instance', lambda p: cv2.imwrite(str(p), np.zeros((24, 40), np.uint8)),
     'red .class. and green'),
    ('annotations_instance', lambda p: cv2.imwrite(str(p), np.zeros((9, 40, 3), np.uint8)),
     'is 40x9, its image'),
    ('annotations_instance', lambda p: Image.new('RGB', (40, 24), (101, 1, 0)).save(p),
     'red value 101 of an instance'),
    ('annotations_instance', lambda p: Image.new('RGB', (40, 24), (0, 1, 0)).save(p),
     'red value 0 of an instance')])
def test_bad_annotations_are_named(root, folder, damage, text):
    damage(root / folder / 'training/ADE_train_00000001.png')
    with pytest.raises(ValueError, match=text) as error:
        convert_ade20k(root, root, 'train')
    assert 'ADE_train_00000001.png' in str(error.value)
    assert not (root / 'ade20k_panoptic_train.json').exists()


def test_split(root):
    with pytest.raises(ValueError, match="split 'test' must be one of train, val"):
        convert_ade20k(root, root, 'test')
