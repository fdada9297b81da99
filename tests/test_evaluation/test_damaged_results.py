"""Damaged JSONs of ground truth and results: a ValueError that names the file, or no harm."""
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpanseg.evaluation import pq_compute
from mmpanseg.evaluation.instance_annotations import InstanceAnnotations
from mmpanseg.structures.panoptic_png import write_panoptic_png

from ..damage import check_told, damaged, write
from ..fuzz import cases

CATEGORIES = [dict(id=1, name='ball', isthing=1), dict(id=7, name='sky', isthing=0)]
IMAGES = [dict(id=1, file_name='a.jpg', height=4, width=6),
          dict(id=2, file_name='b.jpg', height=4, width=6)]
PANOPTIC = dict(images=IMAGES, categories=CATEGORIES, annotations=[
    dict(image_id=number, file_name=f'{name}.png', segments_info=[
        dict(id=1, category_id=1, iscrowd=0), dict(id=258, category_id=7, iscrowd=0)])
    for number, name in ((1, 'a'), (2, 'b'))])
RESULTS = dict(annotations=PANOPTIC['annotations'])
INSTANCES = dict(images=IMAGES, categories=CATEGORIES, annotations=[
    dict(id=1, image_id=1, category_id=1, iscrowd=0, area=12,
         segmentation=[[0, 0, 6, 0, 6, 2, 0, 2]]),
    dict(id=2, image_id=2, category_id=7, iscrowd=0, area=12,
         segmentation=dict(size=[4, 6], counts=[2, 2, 2, 2, 16]))])


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """PNGs of two images of 6 x 4 pixels."""
    folder = tmp_path_factory.mktemp('results')
    ids = np.full((4, 6), 258)
    ids[:2] = 1
    for name in 'ab':
        write_panoptic_png(folder / f'png/{name}.png', ids)
    return folder


def score(folder, gt, pred):
    write(folder / 'gt.json', gt)
    write(folder / 'pred.json', pred)
    return pq_compute(folder / 'gt.json', folder / 'pred.json', folder / 'png', folder / 'png')


def test_undamaged(folder):
    assert score(folder, PANOPTIC, PANOPTIC)['All'] == dict(pq=1, sq=1, rq=1, n=2)
    assert score(folder, PANOPTIC, RESULTS)['All'] == dict(pq=1, sq=1, rq=1, n=2)


@cases(150)
@given(damage=damaged(PANOPTIC), of_results=st.booleans(), bare=st.booleans())
def test_panoptic_quality(folder, damage, of_results, bare):
    other = PANOPTIC
    content = damage[0]
    if of_results and bare:
        content = {key: content[key] for key in ('annotations', ) if key in content}
    try:
        found = (score(folder, other, content) if of_results else score(folder, content, other))
    except FileNotFoundError as error:  # a file name of the JSON
        assert 'png' in str(error)
    except ValueError as error:
        # the PNGs of an image, and the image, are named where the JSONs are fine by themselves
        check_told(error, folder, 'image ')
    else:
        assert all(0 <= found['All'][key] <= 1 and math.isfinite(found['All'][key])
                   for key in ('pq', 'sq', 'rq'))


@pytest.mark.parametrize('of_results', [False, True])
def test_name_of_a_category(folder, of_results):
    damaged_one = dict(PANOPTIC, categories=[dict(id=1, name=[], isthing=1), CATEGORIES[1]])
    with pytest.raises(ValueError, match='it must be a text') as caught:
        score(folder, *((PANOPTIC, damaged_one) if of_results else (damaged_one, PANOPTIC)))
    check_told(caught.value, folder)


def test_size_of_an_image(folder):
    file = folder / 'large.json'
    write(file, dict(INSTANCES, images=[dict(IMAGES[0], height=10 ** 30), IMAGES[1]]))
    with pytest.raises(ValueError, match='64 bits') as caught:
        InstanceAnnotations(str(file))
    check_told(caught.value, file)


@cases(100)
@given(damage=damaged(INSTANCES))
def test_instance_annotations(folder, damage):
    file = folder / 'instances.json'
    write(file, damage[0])
    try:
        found = InstanceAnnotations(str(file))
        for image in found.images:
            size, objects = found.objects(dict(img_id=image), ('ball', 'sky'), (0, 1))
            assert all(tuple(item['segmentation']['size']) == size for item in objects)
            assert all(item.get('area', 1) > 0 for item in objects)
    except ValueError as error:
        check_told(error, file)
