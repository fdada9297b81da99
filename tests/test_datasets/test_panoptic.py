"""PanopticDataset: what it reads, and what it says about bad input."""
import re

import cv2
import numpy as np
import pytest
import torch

from mmpanseg.datasets import CocoPanopticDataset, PanopticDataset
from mmpanseg.evaluation.ground_truth import read_ground_truth


def test_classes_come_from_the_file_things_first(tiny):
    meta = tiny.build().metainfo
    assert meta['classes'] == ('ball', 'sky')
    assert (meta['thing_classes'], meta['stuff_classes']) == (('ball', ), ('sky', ))
    assert meta['palette'] == [(4, 5, 6), (1, 2, 3)]


def test_data_info(tiny):
    info = tiny.build().get_data_info(0)
    assert info['img_path'] == str(tiny.root / 'img/a.png')
    assert info['seg_map_path'] == str(tiny.root / 'seg/a.png')
    assert (info['img_id'], info['height'], info['width']) == (1, 6, 8)
    assert info['segments_info'] == [
        dict(id=70000, category=0, is_thing=True, iscrowd=0, area=12),
        dict(id=9, category=1, is_thing=False, iscrowd=0, area=14),
        dict(id=300, category=0, is_thing=True, iscrowd=1, area=8)]
    assert tiny.build().get_cat_ids(0) == [0, 1, 0]


def test_sample(tiny):
    sample = tiny.build()[0]
    assert torch.equal(sample['inputs'], torch.from_numpy(tiny.pixels).permute(2, 0, 1))
    segments = sample['data_samples'].gt_segments
    assert segments.labels.tolist() == [0, 1]
    expected = np.select([tiny.ids == 70000, tiny.ids == 9], [0, 1], -1)
    assert segments.map.dtype == torch.int32
    assert np.array_equal(segments.map.numpy(), expected)
    meta = sample['data_samples'].metainfo
    assert meta['img_id'] == 1 and meta['ori_shape'] == (6, 8)
    assert meta['seg_map_path'].endswith('seg/a.png') and len(meta['segments_info']) == 3


def test_metainfo_selects_and_orders_by_name(tiny):
    tiny.content['categories'].insert(0, dict(id=1, name='cube', isthing=1))
    tiny.content['categories'].append(dict(id=9, name='unused', isthing=0))
    meta = dict(thing_classes=('ball', 'cube'), stuff_classes=('sky', ))
    data = tiny.build(metainfo=meta)
    assert data.metainfo['classes'] == ('ball', 'cube', 'sky')
    assert 'palette' not in data.metainfo
    assert [s['category'] for s in data.get_data_info(0)['segments_info']] == [0, 2, 0]


@pytest.mark.parametrize('meta, text', [
    (dict(thing_classes=('ball', 'dog'), stuff_classes=('sky', )), "no category 'dog'"),
    (dict(thing_classes=('ball', 'sky'), stuff_classes=()), "'sky' has isthing=0"),
    (dict(thing_classes=('ball', ), stuff_classes=()), "(?s)segment 9 of a.png.*'sky'.*not select"),
    (dict(thing_classes=('ball', 'ball'), stuff_classes=('sky', )), "'ball' appears twice"),
    (dict(thing_classes=('ball', )), 'both thing_classes and stuff_classes'),
    (dict(thing_classes=('ball', ), stuff_classes=('sky', ), classes=('sky', 'ball')),
     'thing_classes followed by stuff_classes'),
    (dict(thing_classes=('ball', ), stuff_classes=('sky', ), palette=[(0, 0, 0)]),
     '1 colours for 2 classes')])
def test_metainfo_is_checked(tiny, meta, text):
    with pytest.raises(ValueError, match=text):
        tiny.build(metainfo=meta)


def test_unselected_categories_may_be_void(tiny):
    meta = dict(thing_classes=('ball', ), stuff_classes=())
    data = tiny.build(metainfo=meta, void_unselected=True)
    assert data.get_data_info(0)['void_ids'] == [9]
    assert data.get_cat_ids(0) == [0, 0]
    sample = data[0]['data_samples']
    assert sample.gt_segments.labels.tolist() == [0]
    assert np.array_equal(sample.gt_segments.map >= 0, tiny.ids == 70000)
    # for the metrics too
    truth = read_ground_truth(sample.metainfo, data.metainfo)
    assert np.array_equal(truth.map, np.where(tiny.ids == 9, 0, tiny.ids))
    assert truth.crowd.tolist() == [False, True]
    tiny.content['annotations'][0]['segments_info'][1]['category_id'] = 77
    with pytest.raises(ValueError, match='segment 9 of a.png has category id 77'):
        tiny.build(metainfo=meta, void_unselected=True)


def test_filter(tiny):
    assert len(tiny.build()) == 2
    assert len(tiny.build(filter_cfg=dict(filter_empty_gt=True))) == 1
    tiny.content['images'][0]['width'] = 20
    tiny.content['images'][1]['height'] = 4
    assert len(tiny.build(filter_cfg=dict(min_size=5))) == 1
    empty = dict(filter_empty_gt=True, min_size=50)
    assert len(tiny.build(filter_cfg=empty, test_mode=True)) == 2
    with pytest.raises(ValueError, match='tiny.json: no image to train on, 2 images listed'):
        tiny.build(filter_cfg=empty)


def test_crowd_alone_is_empty_ground_truth(tiny):
    segments = tiny.content['annotations'][0]['segments_info']
    del segments[:2]
    with pytest.raises(ValueError, match='no image to train on'):
        tiny.build(filter_cfg=dict(filter_empty_gt=True))


# Legitimate, if unusual.


def test_all_void_map(tiny):
    sample = tiny.build()[1]
    segments = sample['data_samples'].gt_segments
    assert len(segments) == 0 and segments.labels.dtype == torch.int64
    assert (segments.map == -1).all() and segments.shape == (6, 8)
    assert segments.dense().shape == (0, 6, 8)


def test_image_without_annotation_is_void(tiny):
    del tiny.content['annotations'][1]
    (tiny.root / 'seg/b.png').unlink()
    data = tiny.build()
    assert data.get_data_info(1)['seg_map_path'] is None
    segments = data[1]['data_samples'].gt_segments
    assert len(segments) == 0 and (segments.map == -1).all()


def test_file_without_annotations_is_for_tests(tiny):
    del tiny.content['annotations']
    assert len(tiny.build(test_mode=True)) == 2
    with pytest.raises(ValueError, match='tiny.json has no "annotations"'):
        tiny.build()


def test_annotations_may_be_an_empty_list(tiny):
    tiny.content['annotations'] = []
    assert len(tiny.build()) == 2
    with pytest.raises(ValueError, match='no image to train on'):
        tiny.build(filter_cfg=dict(filter_empty_gt=True))


def test_gray_and_transparent_images_have_three_channels(tiny):
    cv2.imwrite(str(tiny.root / 'img/a.png'), tiny.pixels[..., 0])
    inputs = tiny.build()[0]['inputs']
    assert inputs.shape == (3, 6, 8)
    assert torch.equal(inputs, torch.from_numpy(tiny.pixels[..., 0]).expand(3, -1, -1))
    cv2.imwrite(str(tiny.root / 'img/a.png'),
                np.dstack([tiny.pixels, np.full((6, 8), 128, np.uint8)]))
    assert torch.equal(tiny.build()[0]['inputs'], torch.from_numpy(tiny.pixels).permute(2, 0, 1))


# Errors: each names the file.


@pytest.mark.parametrize('content', [b'', b'no image'])
def test_unreadable_image(tiny, content):
    (tiny.root / 'img/a.png').write_bytes(content)
    with pytest.raises(Exception, match=re.escape(str(tiny.root / 'img/a.png'))):
        tiny.build()[0]


@pytest.mark.parametrize('folder', ['img', 'seg'])
def test_missing_file(tiny, folder):
    path = tiny.root / folder / 'a.png'
    path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        tiny.build()[0]


def test_failure_in_a_later_transform_names_the_image(tiny):
    def fail(results):
        raise KeyError('scale')

    data = tiny.build(pipeline=[fail])
    with pytest.raises(RuntimeError, match="img/a.png: KeyError .*'scale'"):
        data[0]


@pytest.mark.parametrize('content', [b'', b'no image'])
def test_corrupt_map(tiny, content):
    (tiny.root / 'seg/a.png').write_bytes(content)
    with pytest.raises(ValueError, match='seg/a.png'):
        tiny.build()[0]


def test_category_outside_the_dataset(tiny):
    tiny.content['annotations'][0]['segments_info'][1]['category_id'] = 77
    with pytest.raises(ValueError, match='tiny.json: segment 9 of a.png has category id 77'):
        tiny.build()


def test_annotation_of_an_unknown_image(tiny):
    tiny.content['annotations'][0]['image_id'] = 12
    with pytest.raises(ValueError, match="tiny.json: annotation 'a.png' has image_id 12"):
        tiny.build()


def test_two_annotations_of_an_image(tiny):
    tiny.content['annotations'][0]['image_id'] = 2
    with pytest.raises(ValueError, match='tiny.json: image 2 has two annotations'):
        tiny.build()


def test_category_listed_twice(tiny):
    tiny.content['categories'][0]['name'] = 'ball'
    with pytest.raises(ValueError, match="tiny.json: .*'ball' appears twice"):
        tiny.build()


def _open(path):
    return PanopticDataset(ann_file=str(path), data_prefix=dict(img='', seg=''))


def test_broken_json(tmp_path):
    (tmp_path / 'broken.json').write_text('{"images": [')
    with pytest.raises(ValueError, match='broken.json is not valid JSON'):
        _open(tmp_path / 'broken.json')


def test_json_of_another_kind(tmp_path):
    (tmp_path / 'list.json').write_text('[1, 2]')
    with pytest.raises(ValueError, match='list.json has no "images"'):
        _open(tmp_path / 'list.json')


def test_missing_json(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.json'):
        _open(tmp_path / 'nowhere.json')


def test_metainfo_of_a_lazy_dataset_needs_no_file():
    coco = CocoPanopticDataset(ann_file='nowhere.json', lazy_init=True)
    assert len(coco.metainfo['classes']) == 133
    assert PanopticDataset(ann_file='nowhere.json', lazy_init=True).metainfo == {}
