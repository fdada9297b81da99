"""InstanceDataset: labels by name, masks of every form, and what it says about bad input."""
import copy
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from pycocotools import mask as rle_tools

from mmpanseg.datasets import CocoInstanceDataset, InstanceDataset
from mmpanseg.evaluation import InstanceMetric

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadInstanceMasks'),
            dict(type='mmpanseg.PackPanopticInputs')]
# x1, y1, x2, y2 of the objects: cat and dog in the first image, dog in the second
BOXES = [(1, 1, 5, 4), (6, 2, 11, 7), (2, 0, 8, 5)]


def polygon(x1, y1, x2, y2):
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def bitmap(x1, y1, x2, y2):
    mask = np.zeros((8, 12), np.uint8, order='F')
    mask[y1:y2, x1:x2] = 1
    return mask


def compressed(box):
    return dict(size=[8, 12], counts=rle_tools.encode(bitmap(*box))['counts'].decode())


def uncompressed(box):
    flat = bitmap(*box).ravel(order='F')
    edges = [0, *np.flatnonzero(np.diff(flat)) + 1, flat.size]
    return dict(size=[8, 12], counts=[0] * int(flat[0]) + np.diff(edges).tolist())


@pytest.fixture
def data(tmp_path):
    """Two images of 8x12 and three objects, to be damaged by the tests."""
    for name in 'ab':
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((8, 12, 3), np.uint8))
    content = dict(
        images=[dict(id=7, file_name='a.png', height=8, width=12),
                dict(id=3, file_name='b.png', height=8, width=12)],
        categories=[dict(id=9, name='dog'), dict(id=4, name='cat')],
        annotations=[dict(id=k, image_id=image, category_id=category, iscrowd=0,
                          segmentation=polygon(*BOXES[k]), area=12.5, bbox=[1, 1, 4, 3])
                     for k, (image, category) in enumerate([(7, 4), (7, 9), (3, 9)])])

    def build(kind=InstanceDataset, metainfo=dict(classes=('cat', 'dog')), pipeline=PIPELINE,
              **kwargs):
        (tmp_path / 'inst.json').write_text(json.dumps(content))
        return kind(ann_file='inst.json', data_root=str(tmp_path), data_prefix=dict(img=''),
                    metainfo=metainfo, pipeline=pipeline, **kwargs)

    def metric():
        (tmp_path / 'inst.json').write_text(json.dumps(content))
        return InstanceMetric(str(tmp_path / 'inst.json'))

    return SimpleNamespace(content=content, objects=content['annotations'], build=build,
                           metric=metric)


def masks_of(dataset, index=0):
    segments = dataset[index]['data_samples'].gt_segments
    return segments.labels.tolist(), segments.dense().numpy().astype(np.uint8)


@pytest.mark.parametrize('classes, expected', [(('cat', 'dog'), [0, 1]), (('dog', 'cat'), [1, 0]),
                                               (None, [1, 0])])
def test_labels_follow_the_names(data, classes, expected):
    dataset = data.build(metainfo=classes and dict(classes=classes))
    labels, masks = masks_of(dataset)
    assert labels == expected
    assert np.array_equal(masks, [bitmap(*BOXES[0]), bitmap(*BOXES[1])])
    names = dataset.metainfo['classes']
    assert {names[label]: i for label, i in dataset.metainfo['label2cat'].items()} == dict(
        cat=4, dog=9)
    assert dataset.get_cat_ids(0) == expected
    assert dataset.get_data_info(0)['label2cat'] == dataset.metainfo['label2cat']


def test_same_as_mmdets_where_the_file_has_the_order_of_the_classes(data):
    data.content['categories'].reverse()
    ours, theirs = (data.build(kind, pipeline=[]) for kind in (InstanceDataset, CocoDataset))
    assert len(ours) == len(theirs) == 2
    for image_id in (7, 3):
        one, other = (next(dataset.get_data_info(k) for k in range(2)
                           if dataset.get_data_info(k)['img_id'] == image_id)
                      for dataset in (ours, theirs))
        for key in ('img_path', 'height', 'width'):
            assert one[key] == other[key]
        for mine, its in zip(one['instances'], other['instances'], strict=True):
            assert all(mine[key] == its[key] for key in ('bbox_label', 'mask', 'ignore_flag'))


def test_classes_may_select(data):
    dataset = data.build(metainfo=dict(classes=('dog', )), filter_cfg=dict(filter_empty_gt=True))
    assert [masks_of(dataset, k)[0] for k in range(2)] == [[0], [0]]
    dataset = data.build(metainfo=dict(classes=('cat', )), filter_cfg=dict(filter_empty_gt=True))
    assert len(dataset) == 1 and masks_of(dataset)[0] == [0]


@pytest.mark.parametrize('first', [polygon, lambda *box: compressed(box)])
@pytest.mark.parametrize('second', [compressed, uncompressed])
@pytest.mark.parametrize('jitter', [False, True])
def test_polygons_and_run_lengths_together(data, first, second, jitter):
    """Every step acts on run lengths as mmdet's on the dense masks."""
    steps = [dict(type='RandomFlip', prob=1.0), dict(type='Resize', scale=(24, 16)),
             dict(type='RandomCrop', crop_size=(14, 15), allow_negative_crop=True),
             dict(type='Pad', size=(20, 20))] * jitter
    data.objects[0]['segmentation'] = first(*BOXES[0])
    data.objects[1]['segmentation'] = second(BOXES[1])
    loaded = []
    for load in (PIPELINE[1], dict(type='LoadAnnotations', with_bbox=True, with_mask=True)):
        np.random.seed(2)
        loaded.append(masks_of(data.build(pipeline=[PIPELINE[0], load, *steps, PIPELINE[2]])))
    (labels, masks), (expected_labels, expected) = loaded
    assert labels == expected_labels == [0, 1]
    assert np.array_equal(masks[1], expected[1]) and masks[1].any()
    if not jitter:
        assert np.array_equal(masks, [bitmap(*BOXES[0]), bitmap(*BOXES[1])])


def test_maps_where_nothing_overlaps_and_masks_where_it_does(data):
    apart = data.build()[0]['data_samples'].gt_segments
    assert apart.map is not None and apart.map.dtype == torch.int32
    data.objects[1]['segmentation'] = polygon(3, 2, 9, 7)
    over = data.build()[0]['data_samples'].gt_segments
    assert over.map is None
    assert np.array_equal(over.dense(), [bitmap(*BOXES[0]), bitmap(3, 2, 9, 7)])


def test_boxes_and_areas_come_from_the_masks(data):
    del data.objects[0]['bbox'], data.objects[0]['area']
    data.objects[1].update(bbox=[500, 500, -3, 0], area=-1)
    data.objects[2].update(bbox=None, area=0, segmentation=compressed(BOXES[2]))
    dataset = data.build()
    boxes = [item['bbox'] for k in range(2) for item in dataset.get_data_info(k)['instances']]
    assert boxes == [list(map(float, box)) for box in BOXES]


def test_crowds_are_ignored(data):
    data.objects[0].update(iscrowd=1, segmentation=uncompressed(BOXES[0]))
    dataset = data.build()
    assert [item['ignore_flag'] for item in dataset.get_data_info(0)['instances']] == [1, 0]
    assert masks_of(dataset)[0] == [1]
    data.objects[2]['iscrowd'] = 1
    assert len(data.build(filter_cfg=dict(filter_empty_gt=True))) == 1
    data.objects[1]['iscrowd'] = 1
    for load in (data.build, data.metric):
        with pytest.raises(ValueError, match='inst.json: all 3 annotations are crowds'):
            load()


def test_parts_of_two_points_enclose_nothing(data):
    data.objects[0]['segmentation'] += [[8, 1, 11, 6]]
    assert np.array_equal(masks_of(data.build())[1][0], bitmap(*BOXES[0]))
    metric = data.metric()
    objects = metric.annotations.objects(dict(img_id=7), ('cat', 'dog'), [0, 1])[1]
    assert np.array_equal(rle_tools.decode(objects[0]['segmentation']), bitmap(*BOXES[0]))


def test_lists_of_test_images(data):
    del data.content['annotations']
    assert len(data.build(test_mode=True)) == 2
    with pytest.raises(ValueError, match='inst.json has no "annotations"'):
        data.build()


def set_segmentation(value):
    return lambda content: content['annotations'][1].update(segmentation=value)


SEGMENTATIONS = [
    ([], 'has no segmentation'), (None, 'has no segmentation'),
    ([[1, 1, 4, 4]], 'no polygon of three points'),
    ([[1, 1, 4, 4, 2]], 'odd number of coordinates'),
    ([1, 1, 4, 1, 4, 4], 'must be a list of polygons'),
    ('1 1 4 1 4 4', 'must be a list of polygons'),
    ([[1, 1, 4, None, 4, 4]], 'a coordinate in its segmentation that is no number'),
    ([[1, 1, 4, float('nan'), 4, 4]], 'a coordinate in its segmentation that is no number'),
    (polygon(20, 1, 30, 5), r'has its mask at \[20.0, 1.0, 30.0, 5.0\]'),
    (dict(size=[8, 12]), 'without "size" .* or "counts"'),
    (dict(counts=[96]), 'without "size" .* or "counts"'),
    (dict(size=[8, 12], counts=[50, 5]), 'are not 8 x 12 pixels together'),
    (dict(size=[8, 12], counts=[96]), 'has a segmentation without a pixel')]


@pytest.mark.parametrize('segmentation, text', SEGMENTATIONS)
def test_masks_that_are_none(data, segmentation, text):
    """An error that names file and object: of the data set, and of the metric."""
    set_segmentation(segmentation)(data.content)
    for load in (data.build, data.metric):
        with pytest.raises(ValueError, match=f'inst.json: annotation 1 of image 7 .*{text}'):
            load()


def twice(content):
    content['images'][1]['id'] = 7
    del content['annotations'][2]


def same_name(content):
    content['categories'][0]['name'] = 'cat'


def same_category_id(content):
    content['categories'][0]['id'] = 4


def text_ids(content):
    for category in content['categories']:
        category['id'] = str(category['id'])


def text_id(content):
    content['annotations'][1]['category_id'] = '9'


def other_size(content):
    content['annotations'][1]['segmentation'] = dict(compressed(BOXES[1]), size=[12, 8])


@pytest.mark.parametrize('spoil, text', [
    (twice, "image 7 is listed twice, as 'a.png' and 'b.png'"),
    (same_name, "category 'cat' appears twice"),
    (same_category_id, "categories 'dog' and 'cat' have the same id 4"),
    (text_ids, "category with id '9', name 'dog' has \"id\" '9'; it must be an integer"),
    (text_id, "annotation with id 1.* has \"category_id\" '9'; it must be an integer"),
    (lambda content: content['annotations'][1].update(category_id=5),
     'annotation 1 has category_id 5, which "categories" does not list'),
    (lambda content: content['annotations'][1].update(image_id=5),
     'annotation 1 has image_id 5, which "images" does not list'),
    (lambda content: content['annotations'][1].update(iscrowd='no'),
     "annotation with id 1.* has \"iscrowd\" 'no'; it must be 0 or 1"),
    (other_size, r'the mask of annotation 1 has \(height, width\) \(12, 8\), its image'),
    (lambda content: content.update(images=5), '"images" must be a list of dicts')])
def test_entries_that_contradict_each_other(data, spoil, text):
    spoil(data.content)
    for load in (data.build, data.metric):
        with pytest.raises(ValueError, match=f'inst.json: .*{text}'):
            load()


@pytest.mark.parametrize('where, key', [
    ('images', 'id'), ('images', 'file_name'), ('images', 'height'), ('images', 'width'),
    ('categories', 'id'), ('categories', 'name'), ('annotations', 'image_id'),
    ('annotations', 'category_id')])
@pytest.mark.parametrize('value', [None, dict(wrong='type')])
def test_missing_keys(data, where, key, value):
    entry = data.content[where][1]
    if value is None:
        del entry[key]
    else:
        entry[key] = value
    what = 'category' if where == 'categories' else where[:-1]
    with pytest.raises(ValueError, match=rf'inst.json: {what} with .*"{key}"'):
        data.build()


@pytest.mark.parametrize('classes, text', [
    (('cat', 'dogg'), "no category 'dogg', which metainfo names; did you mean 'dog'?"),
    (('Cat', 'dog'), "no category 'Cat', .* did you mean 'cat'?"),
    (('cat', 'table'), r"no category 'table', which metainfo names; it has \['cat', 'dog'\]"),
    (('cat', 'cat'), "class of metainfo 'cat' appears twice"),
    (('bus', 'car'), "none of the 2 classes that metainfo names; set metainfo")])
def test_class_names(data, classes, text):
    with pytest.raises(ValueError, match=f'inst.json.*{text}'):
        data.build(metainfo=dict(classes=classes))


def test_cocos_classes_do_not_fit_other_files(data):
    with pytest.raises(ValueError, match="inst.json has no category 'person'"):
        data.build(CocoInstanceDataset, metainfo=None)
    palette = CocoInstanceDataset.METAINFO['palette']
    meta = data.build(CocoInstanceDataset, metainfo=dict(classes=('dog', 'cat'))).metainfo
    assert meta['palette'] == [palette[16], palette[15]]


def test_coordinates_relative_to_the_image(data):
    for item in data.objects:
        item['segmentation'] = polygon(.1, .1, .5, .6)
    with pytest.raises(ValueError, match='inst.json: none of its 3 .* .coordinates are pixels'):
        data.build()


def test_panoptic_json(data):
    data.content['annotations'] = [
        dict(image_id=7, file_name='a.png', segments_info=[dict(id=1, category_id=4)])]
    with pytest.raises(ValueError, match='inst.json: .*mmpanseg.PanopticDataset'):
        data.build()


def test_image_of_another_size(data):
    data.content['images'][0].update(height=9, width=13)
    with pytest.raises(ValueError, match='a.png is 12x8, .*inst.json says 13x9: correct width'):
        data.build()[0]


def test_mmdets_loading_does_not_lose_run_lengths(data):
    """Of all objects, of one, and uncompressed ones, which mmdet itself takes for crowds."""
    load = dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False)
    pipeline = [PIPELINE[0], load, PIPELINE[2]]
    assert masks_of(data.build(pipeline=pipeline))[0] == [0, 1]
    for form in (compressed, uncompressed):
        data.objects[1]['segmentation'] = form(BOXES[1])
        with pytest.raises(ValueError, match='a.png.*run-length encoded.*LoadInstanceMasks'):
            data.build(pipeline=pipeline)[0]
    data.objects[1]['iscrowd'] = 1
    assert masks_of(data.build(pipeline=pipeline))[0] == [0]


def test_area_of_the_metric(data):
    """Sizes are the file's areas, or the masks' where it has none above 0."""
    areas = []
    for area in (12.5, None, 0, -4):
        content = copy.deepcopy(data.objects[0])
        data.objects[0]['area'] = area
        metric = data.metric()
        metric.dataset_meta = dict(classes=('cat', 'dog'))
        areas.append(metric._annotated_objects(dict(img_id=7))[1][0]['area'])
        data.objects[0] = content
    assert areas == [12.5, 12, 12, 12]
