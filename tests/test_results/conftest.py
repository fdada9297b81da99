"""Small results of every kind, made by hand."""
import numpy as np
import pytest
from pycocotools import mask as rle_tools

from mmpanseg import Result

CLASSES = ('person', 'car', 'sky', 'road')
SIZE = (40, 60)


def make_map():
    """Ids: two persons, of which 7 has a hole, a car in two parts, sky, road, and void below."""
    ids = np.zeros(SIZE, np.int32)
    ids[:20], ids[20:36] = 4, 9
    ids[10:30, 5:20], ids[15:20, 10:14] = 7, 4
    ids[12:34, 30:41] = 2
    ids[25:30, 44:50], ids[25:30, 52:58] = 300, 300
    return ids


INFOS = [dict(id=7, label=0, score=0.9), dict(id=2, label=0, score=0.25),
         dict(id=300, label=1, score=0.75), dict(id=4, label=2, score=0.5),
         dict(id=9, label=3, score=0.625)]


def make_instances(form='dense', boxes=True):
    """Three instances, of which two overlap and one is empty."""
    masks = np.zeros((3, *SIZE), bool)
    masks[0, 5:20, 10:30] = True
    masks[1, 15:35, 20:50] = True
    box = np.array([[10, 5, 30, 20], [20, 15, 50, 35], [0, 0, 0, 0]], np.float32)
    given = masks if form == 'dense' else [
        rle_tools.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    return np.array([0, 1, 0]), np.array([0.5, 0.75, 0.125]), given, box if boxes else None


def make_semantic():
    labels = np.full(SIZE, 2, np.int32)
    labels[20:], labels[10:30, 5:20], labels[36:] = 3, 0, -1
    return labels


OUTPUTS = dict(panoptic=dict(panoptic=(make_map(), INFOS)),
               instance=dict(instances=make_instances()),
               encoded=dict(instances=make_instances('encoded')),
               semantic=dict(semantic=make_semantic()),
               nothing={},
               empty=dict(panoptic=(np.zeros(SIZE, int), [])),
               all=dict(panoptic=(make_map(), INFOS), instances=make_instances('encoded', False),
                        semantic=make_semantic()))


def make(kind='panoptic', **options):
    """A result with an image."""
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    options = dict(dict(image=image, path='folder/000123.jpg', image_id=17,
                        speed=dict(load=1.5, forward=20)), **options)
    return Result(SIZE, CLASSES, 2, **OUTPUTS[kind], **options)


@pytest.fixture(params=OUTPUTS)
def any_result(request):
    return make(request.param)
