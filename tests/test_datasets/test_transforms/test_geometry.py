"""mmcv's and mmdet's geometric transforms on the one map, against mmdet's BitmapMasks."""
import random

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from mmpanseg.datasets import PackPanopticInputs

FLIP = dict(type='RandomFlip', prob=0.5)
CASES = dict(
    lsj=[
        FLIP,
        dict(type='RandomResize', scale=(64, 64), ratio_range=(0.1, 2.0), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(64, 64), crop_type='absolute'),
        dict(type='Pad', size=(64, 64), pad_val=dict(img=128, masks=0, seg=-1))],
    crop=[
        dict(type='RandomResize', scale=(50, 40), ratio_range=(1.1, 1.7), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(40, 32), crop_type='absolute'),
        FLIP],
    up=[dict(type='Resize', scale=(131, 97)), dict(type='RandomFlip', prob=1.0)],
    down=[dict(type='Resize', scale=(23, 50), keep_ratio=True),
          dict(type='RandomFlip', prob=1.0, direction='diagonal')],
    vertical=[dict(type='RandomFlip', prob=1.0, direction='vertical'),
              dict(type='Pad', size_divisor=32, pad_val=dict(img=0, masks=0, seg=-1))])


def _scene(seed, size=(48, 60), count=300):
    """Blobs of more segments than a byte holds, part of it void."""
    rng = np.random.default_rng(seed)
    index = np.full(size, -1, np.int32)
    for k in range(count):
        y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
        index[y:y + rng.integers(1, 12), x:x + rng.integers(1, 12)] = k
    index[rng.random(size) < 0.1] = -1
    return index, rng.integers(0, 255, (*size, 3), dtype=np.uint8)


def _run(transforms, seed, **results):
    np.random.seed(seed)
    random.seed(seed)
    return Compose(transforms)(results)


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('name', CASES)
def test_masks_equal_those_of_bitmap_masks(name, seed):
    index, image = _scene(seed)
    height, width = index.shape
    count = 300
    dense = (index == np.arange(count)[:, None, None]).astype(np.uint8)
    common = dict(img=image, img_shape=(height, width), ori_shape=(height, width))

    ours = _run(CASES[name], seed, **common, gt_seg_map=index,
                gt_segment_labels=np.arange(count))
    # boxes as large as the image, for mmdet drops the masks whose boxes lie outside a crop
    boxes = np.tile(np.float32([0, 0, width, height]), (count, 1))
    theirs = _run(CASES[name], seed, **common, gt_masks=BitmapMasks(dense, height, width),
                  gt_bboxes=HorizontalBoxes(boxes), gt_bboxes_labels=np.arange(count))

    assert np.array_equal(ours['img'], theirs['img'])
    assert ours['gt_seg_map'].dtype == np.int32
    segments = PackPanopticInputs()(ours)['data_samples'].gt_segments
    assert np.array_equal(segments.dense().numpy(), theirs['gt_masks'].masks.astype(bool))


def test_padding_of_the_published_recipe():
    index, image = _scene(0)
    results = _run(CASES['lsj'][-1:], 0, img=image, gt_seg_map=index)
    assert results['img'].shape[:2] == results['gt_seg_map'].shape == (64, 64)
    assert (results['img'][48:] == 128).all() and (results['img'][:, 60:] == 128).all()
    assert (results['gt_seg_map'][48:] == -1).all() and (results['gt_seg_map'][:, 60:] == -1).all()
