"""PanopticDataset: what it reads, and what it says about bad input."""
import json
import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from mmpanseg.datasets import CocoPanopticDataset, PanopticDataset
from mmpanseg.evaluation import PanopticMetric
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
     '1 colors for 2 classes')])
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


def same_image_id(content):
    content['images'][1]['id'] = 1


def one_annotation(content):
    same_image_id(content)
    del content['annotations'][1]


def same_category_id(content):
    content['categories'][0]['id'] = 5


def text_ids(content):
    for category in content['categories']:
        category['id'] = str(category['id'])


def entry_of(content, where):
    return (content['annotations'][0]['segments_info'] if where == 'segments'
            else content[where])[0]


@pytest.mark.parametrize('spoil, text', [
    (same_image_id, "image 1 is listed twice, as 'a.png' and 'b.png'"),
    (one_annotation, "image 1 is listed twice, as 'a.png' and 'b.png'"),
    (same_category_id, "categories 'sky' and 'ball' have the same id 5"),
    (text_ids, "category with id '2', name 'sky' has \"id\" '2'; it must be an integer"),
    (lambda content: content['categories'][0].update(isthing='no'),
     "category with id 2, name 'sky' has \"isthing\" 'no'; it must be 0 or 1"),
    (lambda content: entry_of(content, 'segments').update(iscrowd='yes'),
     "in annotation 'a.png', segment with id 70000 has \"iscrowd\" 'yes'; it must be 0 or 1"),
    (lambda content: content['annotations'][0].update(segments_info=[5]),
     "in annotation 'a.png', segment 5 must be a dict"),
    (lambda content: content['images'][0].update(height=0), 'has "height" 0; write the size'),
    (lambda content: content.update(annotations={}), '"annotations" must be a list of dicts')])
def test_entries_that_contradict_each_other(tiny, spoil, text):
    spoil(tiny.content)
    with pytest.raises(ValueError, match=f'tiny.json: .*{text}'):
        tiny.build()


@pytest.mark.parametrize('where, key', [
    ('images', 'id'), ('images', 'file_name'), ('images', 'height'), ('images', 'width'),
    ('annotations', 'image_id'), ('annotations', 'file_name'), ('annotations', 'segments_info'),
    ('categories', 'id'), ('categories', 'name'), ('categories', 'isthing'),
    ('segments', 'id'), ('segments', 'category_id')])
@pytest.mark.parametrize('value', [None, dict(wrong='type')])
def test_missing_keys(tiny, where, key, value):
    entry = entry_of(tiny.content, where)
    if value is None:
        del entry[key]
    else:
        entry[key] = value
    what = {'categories': 'category', 'segments': "in annotation 'a.png', segment"}.get(
        where, where[:-1])
    with pytest.raises(ValueError, match=rf'tiny.json: {what} .*"{key}"'):
        tiny.build()


@pytest.mark.parametrize('key', ['iscrowd', 'area', 'bbox'])
def test_keys_that_segments_may_lack(tiny, key):
    expected = tiny.build()[0]['data_samples'].gt_segments
    for segment in tiny.content['annotations'][0]['segments_info'][:2]:
        del segment[key]
    found = tiny.build()[0]['data_samples'].gt_segments
    assert torch.equal(found.map, expected.map) and torch.equal(found.labels, expected.labels)


def test_kinds_may_come_from_the_metainfo(tiny):
    meta = dict(thing_classes=('ball', ), stuff_classes=('sky', ))
    expected = tiny.build(metainfo=meta).get_data_info(0)
    for category in tiny.content['categories']:
        del category['isthing']
    assert tiny.build(metainfo=meta).get_data_info(0) == expected
    with pytest.raises(ValueError, match='tiny.json: .*no "isthing".*thing_classes and stuff'):
        tiny.build()


def test_kinds_may_come_from_the_file(tiny):
    data = tiny.build(metainfo=dict(classes=('ball', 'sky')))
    assert (data.metainfo['thing_classes'], data.metainfo['stuff_classes']) == (('ball', ),
                                                                                ('sky', ))
    with pytest.raises(ValueError, match='thing_classes followed by stuff_classes'):
        tiny.build(metainfo=dict(classes=('sky', 'ball')))


def test_lists_of_test_images_know_things_only(tiny):
    """Stuff and kinds are the metainfo's, whose ids serve for what the list lacks."""
    del tiny.content['annotations'], tiny.content['categories'][0]
    del tiny.content['categories'][0]['isthing']
    meta = dict(thing_classes=('ball', ), stuff_classes=('sky', ))
    data = tiny.build(metainfo=dict(meta, label2cat={1: 92}), test_mode=True)
    assert data.metainfo['label2cat'] == data.get_data_info(0)['label2cat'] == {0: 5, 1: 92}
    sample = data[0]['data_samples']
    assert sample.seg_map_path is None and (sample.gt_segments.map == -1).all()
    sample.pred_panoptic_seg = PixelData(sem_seg=torch.ones(1, 6, 8, dtype=torch.int64))
    written = {}
    for name, metainfo in (('with', data.metainfo), ('without', dict(data.metainfo, label2cat={}))):
        evaluator = Evaluator(PanopticMetric(
            format_only=True, outfile_prefix=str(tiny.root / name)))
        evaluator.dataset_meta = metainfo
        evaluator.process(data_samples=[sample])
        assert evaluator.evaluate(1) == {}
        written[name] = json.loads((tiny.root / f'{name}.json').read_text())['annotations']
    assert written['with'] == written['without'] and written['with'][0]['segments_info'] == [
        dict(id=1, category_id=92)]
    evaluator.dataset_meta = dict(meta, classes=('ball', 'sky'))
    sample.set_metainfo(dict(label2cat={0: 5}))
    with pytest.raises(ValueError, match="label2cat, .* with 'sky'"):
        evaluator.process(data_samples=[sample])


@pytest.mark.parametrize('things, text', [
    (('bal', ), "no category 'bal', which metainfo names; did you mean 'ball'?"),
    (('bus', ), r"no category 'bus', which metainfo names; it has \['ball', 'sky'\]")])
def test_similar_names(tiny, things, text):
    with pytest.raises(ValueError, match=f'tiny.json.*{text}'):
        tiny.build(metainfo=dict(thing_classes=things, stuff_classes=('sky', )))


def test_no_name_fits(tiny):
    with pytest.raises(ValueError, match='none of the 2 classes .* set metainfo of the data set'):
        tiny.build(metainfo=dict(thing_classes=('bus', ), stuff_classes=('road', )))
    with pytest.raises(ValueError, match='none of the 133 classes'):
        tiny.build(kind=CocoPanopticDataset)


def test_instance_json(tiny):
    tiny.content['annotations'] = [dict(
        id=1, image_id=1, category_id=5, iscrowd=0, segmentation=[[1, 1, 3, 1, 3, 3]])]
    with pytest.raises(ValueError, match='tiny.json: .*"segments_info".*mmpanseg.InstanceDataset'):
        tiny.build()


def test_some_of_cocos_classes(tiny):
    """Colors and ids go with the names."""
    meta = dict(thing_classes=('dog', 'cat'), stuff_classes=('sky-other-merged', ))
    own = CocoPanopticDataset.METAINFO
    data = CocoPanopticDataset(metainfo=meta, lazy_init=True, ann_file='nowhere.json')
    labels = [own['classes'].index(name) for name in ('dog', 'cat', 'sky-other-merged')]
    assert data.metainfo == dict(
        meta, palette=[own['palette'][label] for label in labels], label2cat={0: 18, 1: 17, 2: 187})
    other = CocoPanopticDataset(metainfo=dict(meta, thing_classes=('dog', 'ball')), lazy_init=True,
                                ann_file='nowhere.json')
    assert 'palette' not in other.metainfo and other.metainfo['label2cat'] == {0: 18, 2: 187}


def test_transparent_maps(tiny):
    expected = tiny.build()[0]['data_samples'].gt_segments.map
    path = str(tiny.root / 'seg/a.png')
    image = cv2.imread(path)
    cv2.imwrite(path, np.dstack([image, np.full((6, 8), 100, np.uint8)]))
    assert torch.equal(tiny.build()[0]['data_samples'].gt_segments.map, expected)


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
