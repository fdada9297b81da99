"""Resizing of thin images; all others as mmdet's class."""
import mmdet.datasets.transforms
import numpy as np
import pytest
from mmcv.transforms import TRANSFORMS
from mmdet.structures.mask import PolygonMasks

from mmpanseg.datasets.transforms import Resize


def sample(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return dict(img=image, img_shape=(height, width), gt_seg_map=image[..., 0].astype(np.int32),
                gt_masks=PolygonMasks([[np.array([0., 0, width, 0, width, height])]],
                                      height, width))


def test_every_config_gets_it():
    for options in (dict(type='Resize'), dict(type='mmdet.Resize')):
        assert type(TRANSFORMS.build(dict(options, scale=(8, 8)))) is Resize


@pytest.mark.parametrize('height, width, size', [
    (2, 5000, (1, 96)), (5000, 2, (96, 1)), (1, 5000, (1, 96)), (1, 1, (64, 64)), (3, 2, (96, 64)),
    (70, 90, (64, 82))])
def test_no_side_vanishes(height, width, size):
    found = Resize(scale=(96, 64), keep_ratio=True)(sample(height, width))
    assert found['img'].shape[:2] == found['img_shape'] == found['gt_seg_map'].shape == size
    assert found['gt_masks'].masks[0][0].max() <= max(size)
    assert (found['gt_masks'].height, found['gt_masks'].width) == size
    assert found['scale_factor'] == pytest.approx((size[1] / width, size[0] / height))


@pytest.mark.parametrize('options', [
    dict(scale=(96, 64), keep_ratio=True), dict(scale=(96, 64)), dict(scale_factor=0.5),
    dict(scale_factor=(0.5, 1.5), keep_ratio=True)])
def test_as_in_mmdet(options):
    ours = Resize(**options)(sample(70, 90))
    theirs = mmdet.datasets.transforms.Resize(**options)(sample(70, 90))
    assert ours.keys() == theirs.keys()
    for key in ('img', 'gt_seg_map', 'homography_matrix'):
        assert np.array_equal(ours[key], theirs[key])


def test_factor():
    found = Resize(scale_factor=0.1, keep_ratio=True)(sample(3, 500))
    assert found['img'].shape == (1, 50, 3)
