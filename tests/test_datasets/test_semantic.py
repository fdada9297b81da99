"""SemanticDataset: what it reads, and what it says about bad input."""
import re

import cv2
import numpy as np
import pytest
import torch

from mmpanseg.datasets import SemanticDataset

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpanseg.LoadSemanticMap'),
    dict(type='mmpanseg.PackPanopticInputs')]
CLASSES = dict(classes=('road', 'sky', 'car'))
LABELS = np.array([[0, 0, 255, 2], [1, 1, 2, 2]], np.uint8)


@pytest.fixture
def root(tmp_path):
    for folder in ('img/town', 'seg/town'):
        (tmp_path / folder).mkdir(parents=True)
    for name in ('b', 'town/a_x'):
        cv2.imwrite(str(tmp_path / f'img/{name}.jpg'), np.full((2, 4, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / f'seg/{name}_l.png'), LABELS)
    return tmp_path


def _build(root, **kwargs):
    return SemanticDataset(**dict(
        data_root=str(root), data_prefix=dict(img='img', seg='seg'), seg_map_suffix='_l.png',
        metainfo=CLASSES, pipeline=PIPELINE) | kwargs)


def test_data_info(root):
    data = _build(root)
    assert [data.get_data_info(i)['img_id'] for i in range(2)] == ['b', 'town/a_x']
    info = data.get_data_info(1)
    assert info['img_path'] == str(root / 'img/town/a_x.jpg')
    assert info['seg_map_path'] == str(root / 'seg/town/a_x_l.png')
    assert (info['num_classes'], info['label_map'], info['ignore_index']) == (3, None, 255)
    assert data.metainfo['ignore_index'] == 255


def test_sample(root):
    sample = _build(root)[1]['data_samples']
    assert sample.gt_segments.labels.tolist() == [0, 1, 2]
    expected = torch.from_numpy(np.where(LABELS == 255, -1, LABELS.astype(int)))
    assert torch.equal(sample.gt_segments.map.long(), expected)
    assert sample.metainfo['img_id'] == 'town/a_x'
    assert sample.metainfo['seg_map_path'].endswith('a_x_l.png')


def test_classes_of_a_sample(root):
    meta = CLASSES | dict(label_map={1: 9}, ignore_index=9)
    cv2.imwrite(str(root / 'seg/b_l.png'), LABELS % 255)
    assert _build(root, metainfo=meta).get_cat_ids(0) == [0, 2]


def test_without_label_maps(root):
    data = _build(root, data_prefix=dict(img='img'), test_mode=True)
    assert data.get_data_info(0)['seg_map_path'] is None and data.get_cat_ids(0) == []
    segments = data[0]['data_samples'].gt_segments
    assert len(segments) == 0 and (segments.map == -1).all()


@pytest.mark.parametrize('changes, text', [
    (dict(metainfo=None), 'SemanticDataset needs metainfo=dict'),
    (dict(data_prefix=dict(img='pictures', seg='seg')), 'pictures: no such folder'),
    (dict(data_prefix=dict(img='img', seg='maps')), 'maps: no such folder'),
    (dict(img_suffix='.png'), r'img has no image \*\.png'),
    (dict(seg_map_suffix='.png'), r'seg/b.png does not exist: 2 of 2 images')])
def test_errors(root, changes, text):
    with pytest.raises(ValueError, match=text):
        _build(root, **changes)


def test_image_without_label_map(root):
    (root / 'seg/town/a_x_l.png').unlink()
    with pytest.raises(ValueError, match='seg/town/a_x_l.png does not exist: 1 of 2 images'):
        _build(root)


@pytest.mark.parametrize('name', ['img/b.jpg', 'seg/b_l.png'])
def test_damaged_files_are_named(root, name):
    (root / name).write_bytes(b'no image')
    with pytest.raises(Exception, match=re.escape(str(root / name))):
        _build(root)[0]
