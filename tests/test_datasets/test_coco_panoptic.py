"""COCO panoptic: mmdet's classes, and two real images."""
import json

import numpy as np
import pytest
from mmdet.datasets import CocoPanopticDataset as MMDetCocoPanopticDataset
from PIL import Image

from mmpanseg.datasets import CocoPanopticDataset, PanopticDataset


def test_classes_are_those_of_mmdet():
    ours, theirs = CocoPanopticDataset.METAINFO, MMDetCocoPanopticDataset.METAINFO
    assert len(ours['thing_classes']) == 80 and len(ours['stuff_classes']) == 53
    for key in ('classes', 'thing_classes', 'stuff_classes', 'palette'):
        assert list(ours[key]) == list(theirs[key])


@pytest.mark.parametrize('cls', [PanopticDataset, CocoPanopticDataset])
def test_real_images(shared, cls):
    root = shared / 'data/coco_panoptic_sample'
    content = json.loads((root / 'panoptic_examples.json').read_text())
    names = {c['id']: c['name'] for c in content['categories']}
    data = cls(
        ann_file='panoptic_examples.json', data_root=str(root),
        data_prefix=dict(img='input_images', seg='panoptic_examples'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap'),
                  dict(type='mmpanseg.PackPanopticInputs')])
    assert len(data) == 2
    assert data.metainfo['classes'] == CocoPanopticDataset.METAINFO['classes']
    for i, annotation in enumerate(content['annotations']):
        rgb = np.array(Image.open(root / 'panoptic_examples' / annotation['file_name']))
        ids = rgb.astype(np.int64) @ [1, 256, 65536]
        counted = [s for s in annotation['segments_info'] if not s['iscrowd']]
        segments = data[i]['data_samples'].gt_segments
        assert len(segments) == len(counted)
        for mask, label, segment in zip(segments.dense().numpy(), segments.labels, counted):
            assert np.array_equal(mask, ids == segment['id'])
            assert mask.sum() == segment['area']
            assert data.metainfo['classes'][label] == names[segment['category_id']]


def test_labels_map_back_to_category_ids(shared):
    root = shared / 'data/coco_panoptic_sample'
    data = CocoPanopticDataset(
        ann_file='panoptic_examples.json', data_root=str(root),
        data_prefix=dict(img='input_images', seg='panoptic_examples'), pipeline=[])
    categories = {c['name']: c['id'] for c in json.loads(
        (root / 'panoptic_coco_categories.json').read_text())}
    assert [data.metainfo['label2cat'][label] for label in range(133)] == [
        categories[name] for name in data.metainfo['classes']]
