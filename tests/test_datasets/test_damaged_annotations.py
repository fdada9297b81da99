"""Damaged annotation files: a ValueError that names the file, or no harm."""
import copy
import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpanseg.datasets import InstanceDataset, PanopticDataset, SemanticDataset
from mmpanseg.datasets.converters.coco import convert_coco_semantic
from mmpanseg.datasets.mapillary import read_labels
from mmpanseg.datasets.transforms import LoadInstanceMasks, LoadPanopticMap, LoadSemanticMap
from mmpanseg.structures.panoptic_png import write_panoptic_png

from ..damage import check_told, damaged, write
from ..fuzz import cases

CATEGORIES = [dict(id=1, name='ball', isthing=1, color=[1, 2, 3]),
              dict(id=7, name='sky', isthing=0, color=[4, 5, 6])]
IMAGES = [dict(id=1, file_name='a.png', height=4, width=6),
          dict(id=2, file_name='b.png', height=4, width=6)]
PANOPTIC = dict(images=IMAGES, categories=CATEGORIES, annotations=[
    dict(image_id=number, file_name=f'{name}.png', segments_info=[
        dict(id=1, category_id=1, iscrowd=0, area=12, bbox=[0, 0, 6, 2]),
        dict(id=258, category_id=7, iscrowd=0, area=12, bbox=[0, 2, 6, 2])])
    for number, name in ((1, 'a'), (2, 'b'))])
INSTANCES = dict(images=IMAGES, categories=CATEGORIES, annotations=[
    dict(id=1, image_id=1, category_id=1, iscrowd=0, area=12, bbox=[0, 0, 6, 2],
         segmentation=[[0, 0, 6, 0, 6, 2, 0, 2]]),
    dict(id=2, image_id=1, category_id=7, iscrowd=0, area=12, bbox=[0, 2, 6, 2],
         segmentation=dict(size=[4, 6], counts=[2, 2, 2, 2, 16])),
    dict(id=3, image_id=2, category_id=7, iscrowd=1, area=12, bbox=[0, 2, 6, 2],
         segmentation=dict(size=[4, 6], counts='2222222222220'))])
MAPILLARY = dict(labels=[
    dict(name='animal--bird', readable='Bird', instances=True, evaluate=True, color=[165, 42, 42]),
    dict(name='void--unlabeled', readable='Unlabeled', instances=False, evaluate=False,
         color=[0, 0, 0])])
# what a data set without classes and with classes does differs
META = st.sampled_from([None, dict(classes=('ball', 'sky')),
                        dict(thing_classes=('ball', ), stuff_classes=('sky', ))])


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Two images of 6 x 4 pixels, and their PNGs of segments."""
    folder = tmp_path_factory.mktemp('damaged')
    ids = np.full((4, 6), 258)
    ids[:2] = 1
    for name in 'ab':
        (folder / 'images').mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f'images/{name}.png'), np.zeros((4, 6, 3), np.uint8))
        write_panoptic_png(folder / f'panoptic/{name}.png', ids)
    return folder


def load(kind, file, pipeline, **options):
    """Read a file and load all of its samples."""
    folder = file.parent
    data = kind(
        ann_file=str(file), data_prefix=dict(img=str(folder / 'images'),
                                             seg=str(folder / 'panoptic')),
        # mmengine collects garbage when it serializes, which takes longer than all else
        serialize_data=False, pipeline=[dict(type='LoadImageFromFile'), *pipeline], **options)
    for number in range(len(data)):
        data[number]
    return data


def attempt(call, *files):
    """Whether a call succeeds; its error must be a mistake of the user that names the file."""
    try:
        call()
    except FileNotFoundError as error:  # a file name of the JSON
        assert any(str(file) in str(error) for file in files) or 'images' in str(error) or (
            'panoptic' in str(error))
        return False
    except ValueError as error:
        check_told(error, *files)
        return False
    return True


def test_undamaged(folder):
    write(folder / 'panoptic.json', PANOPTIC)
    write(folder / 'instances.json', INSTANCES)
    assert len(load(PanopticDataset, folder / 'panoptic.json', [LoadPanopticMap()])) == 2
    assert len(load(InstanceDataset, folder / 'instances.json', [LoadInstanceMasks()])) == 2


@cases(150)
@given(damage=damaged(PANOPTIC), meta=META, test_mode=st.booleans())
def test_panoptic(folder, damage, meta, test_mode):
    file = folder / 'damaged_panoptic.json'
    write(file, damage[0])
    # the images and PNGs that the JSON names are files, too
    attempt(lambda: load(PanopticDataset, file, [LoadPanopticMap()], metainfo=meta,
                         test_mode=test_mode), file, folder / 'images', folder / 'panoptic')


@cases(150)
@given(damage=damaged(INSTANCES), named=st.booleans(), test_mode=st.booleans())
def test_instances(folder, damage, named, test_mode):
    file = folder / 'damaged_instances.json'
    write(file, damage[0])
    meta = dict(classes=('ball', 'sky')) if named else None
    attempt(lambda: load(InstanceDataset, file, [LoadInstanceMasks()], metainfo=meta,
                         test_mode=test_mode), file, folder / 'images')


@pytest.mark.parametrize('kind, content, path, value, text', [
    (PanopticDataset, PANOPTIC, ('annotations', 0, 'segments_info', 0, 'id'), 1 << 63, '64 bits'),
    (PanopticDataset, PANOPTIC, ('categories', 0, 'id'), -(10 ** 30), '64 bits'),
    (PanopticDataset, PANOPTIC, ('images', 0, 'width'), 1 << 31, 'size of the image in pixels'),
    (InstanceDataset, INSTANCES, ('images', 0, 'id'), 10 ** 30, '64 bits'),
    (InstanceDataset, INSTANCES, ('annotations', 1, 'segmentation', 'counts'), [],
     'not 4 x 6 pixels together')])
def test_one_damage(folder, kind, content, path, value, text):
    content = copy.deepcopy(content)
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    file = folder / 'one.json'
    write(file, content)
    loading = LoadPanopticMap() if kind is PanopticDataset else LoadInstanceMasks()
    with pytest.raises(ValueError, match=text) as caught:
        load(kind, file, [loading])
    check_told(caught.value, file)


@cases(50)
@given(damage=damaged(MAPILLARY))
def test_classes_of_mapillary(folder, damage):
    file = folder / 'config.json'
    write(file, damage[0])
    attempt(lambda: read_labels(str(file)), file)


@pytest.mark.parametrize('key', ['images', 'categories', 'annotations'])
@pytest.mark.parametrize('kind, content, names', [
    (PanopticDataset, PANOPTIC, dict(
        images=('id', 'file_name', 'height', 'width'), categories=('id', 'name', 'isthing'),
        annotations=('image_id', 'file_name', 'segments_info'))),
    (InstanceDataset, INSTANCES, dict(
        images=('id', 'file_name', 'height', 'width'), categories=('id', 'name'),
        annotations=('image_id', 'category_id', 'segmentation')))])
def test_every_needed_key(folder, kind, content, names, key):
    file = folder / 'lacking.json'
    for name in names[key]:
        for wrong in ('absent', None, [None], -1.5):
            damage = json.loads(json.dumps(content))
            damage[key][1][name] = wrong
            if wrong == 'absent':
                del damage[key][1][name]
            write(file, damage)
            with pytest.raises(ValueError, match='lacking.json') as info:
                load(kind, file, [])
            text = str(info.value)
            assert name.removesuffix('s_info') in text and '\n' not in text
            # the entry: by id, name or file
            assert any(str(value) in text for k, value in content[key][1].items()
                       if k in ('id', 'name', 'file_name', 'image_id') and k != name), text


@cases(30)
@given(damage=damaged(PANOPTIC))
def test_conversion_to_semantic_maps(folder, damage):
    file = folder / 'coco/annotations/panoptic_val2017.json'
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.with_suffix('').exists():
        file.with_suffix('').symlink_to(folder / 'panoptic')
    write(file, damage[0])
    attempt(lambda: convert_coco_semantic(folder / 'coco', folder / 'coco', 'val2017'),
            file, file.with_suffix(''))


@cases(40)
@given(values=st.lists(st.integers(0, 65535), min_size=24, max_size=24),
       bits=st.sampled_from([np.uint8, np.uint16]), size=st.sampled_from([(4, 6), (6, 4), (1, 24)]))
def test_label_maps(folder, values, bits, size):
    maps = folder / 'maps'
    maps.mkdir(exist_ok=True)
    labels = np.array(values).reshape(size)
    labels = (labels % 4 if labels[0, 0] % 2 else labels).astype(bits)
    for name in 'ab':
        cv2.imwrite(str(maps / f'{name}.png'), labels)
    found = attempt(lambda: list(SemanticDataset(
        data_prefix=dict(img=str(folder / 'images'), seg=str(maps)),
        metainfo=dict(classes=tuple('abcd')), serialize_data=False,
        pipeline=[dict(type='LoadImageFromFile'), LoadSemanticMap()])), maps)
    assert found == (size == (4, 6) and set(labels.ravel().tolist()) <= {0, 1, 2, 3, 255})


@pytest.mark.parametrize('kind, content', [(PanopticDataset, PANOPTIC),
                                           (InstanceDataset, INSTANCES)])
def test_size_of_the_image(folder, kind, content):
    content = json.loads(json.dumps(content))
    content['images'][1].update(height=6, width=4)
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] == 1]
    file = folder / 'sizes.json'
    write(file, content)
    for test_mode in (True, False):  # also without annotation
        with pytest.raises(ValueError, match=r'b.png is 6x4, .*sizes.json says 4x6.*image 2'):
            load(kind, file, [], test_mode=test_mode)
