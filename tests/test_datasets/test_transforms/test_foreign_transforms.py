"""Transforms of mmcv and mmdet around an index map, and what they would leave behind."""
import random
import sys
import types

import cv2
import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmdet.datasets import MultiImageMixDataset
from mmdet.datasets.transforms import transforms as mmdet_transforms
from mmdet.registry import DATASETS, TRANSFORMS

from mmpanseg.datasets import ResamplingMixDataset
from mmpanseg.datasets.transforms.foreign_transforms import REFUSED, adapt_transforms

LOAD = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap')]
PACK = dict(type='mmpanseg.PackPanopticInputs')
# beside the colors of segments
BORDER = 255


def scene():
    """A picture whose color tells the segment, and the map of 12 segments and some void."""
    index_map = np.kron(np.arange(12).reshape(3, 4), np.ones((20, 16), int)).astype(np.int32)
    index_map[:7] = -1
    image = np.repeat((20 * (index_map + 1))[..., None], 3, axis=2).astype(np.uint8)
    return dict(img=image, gt_seg_map=index_map, gt_segment_labels=np.zeros(12, np.int64),
                img_shape=(60, 64), ori_shape=(60, 64), img_path='a.png')


def agree(results):
    """Share of pixels whose segment is the one that the picture shows; elsewhere void."""
    image, index_map = results['img'][..., 0].astype(int), results['gt_seg_map']
    assert index_map.shape == image.shape and index_map.max() < 12 and index_map.min() >= -1
    shown = np.where(image >= 250, -1, np.rint(image / 20).astype(int) - 1)
    return float((shown == index_map).mean())


ADAPTED = {
    'Rotate': dict(prob=1.0, level=9, max_mag=40.0, img_border_value=float(BORDER)),
    'ShearX': dict(prob=1.0, level=8, img_border_value=float(BORDER)),
    'ShearY': dict(prob=1.0, level=8, img_border_value=float(BORDER)),
    'TranslateX': dict(prob=1.0, level=6, max_mag=0.5, img_border_value=float(BORDER)),
    'TranslateY': dict(prob=1.0, level=6, max_mag=0.5, img_border_value=float(BORDER)),
    'Pad': dict(size=(80, 70), pad_val=BORDER),
    'mmcv.Pad': dict(size=(80, 70), pad_val=dict(img=BORDER, seg=255)),
    'Expand': dict(prob=1.0, mean=(BORDER, ) * 3, ratio_range=(1.5, 2)),
    'CenterCrop': dict(crop_size=(80, 40), auto_pad=True,
                       pad_cfg=dict(type='Pad', pad_val=BORDER)),
    'FixShapeResize': dict(width=90, height=60, keep_ratio=True, interpolation='nearest',
                           pad_val=dict(img=BORDER)),
    'RandomErasing': dict(n_patches=2, ratio=0.3, img_border_value=BORDER),
    'RandomCrop': dict(crop_size=(30, 40)),
    'RandomFlip': dict(prob=1.0, direction='diagonal')}


@pytest.mark.parametrize('kind', ADAPTED)
def test_map_follows_and_borders_are_void(kind):
    random.seed(0)
    np.random.seed(0)
    before = scene()['gt_seg_map']
    if kind in ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY'):
        ADAPTED[kind]['interpolation'] = 'nearest'
    transform = adapt_transforms(TRANSFORMS.build(dict(type=kind, **ADAPTED[kind])))
    results = transform(scene())
    # nearest pixels are rounded differently for the image's type and the map's
    assert agree(results) > 0.97
    assert results['gt_seg_map'].shape != before.shape or (results['gt_seg_map'] != before).any()


def wrapped(*transforms):
    """One transform within all that mmcv and mmdet wrap others in."""
    listed = list(transforms)
    return dict(
        RandomApply=dict(type='RandomApply', transforms=listed, prob=1.0),
        RandomChoice=dict(type='RandomChoice', transforms=[listed]),
        KeyMapper=dict(type='KeyMapper', transforms=listed, auto_remap=False,
                       mapping=dict(img='img')),
        TransformBroadcaster=dict(type='TransformBroadcaster', transforms=listed,
                                  auto_remap=False, mapping=dict(img='img')),
        AutoAugment=dict(type='AutoAugment', policies=[listed]),
        RandAugment=dict(type='RandAugment', aug_space=[[t] for t in listed], aug_num=1),
        RandomOrder=dict(type='RandomOrder', transforms=listed),
        ProposalBroadcaster=dict(type='ProposalBroadcaster', transforms=listed))


NESTED = tuple(wrapped())


@pytest.mark.parametrize('wrapper', NESTED)
def test_transforms_inside_of_others(wrapper):
    pad = dict(type='Pad', size=(80, 70), pad_val=BORDER)
    transform = adapt_transforms([TRANSFORMS.build(wrapped(pad)[wrapper])])[0]
    if wrapper in ('RandomApply', 'RandomChoice', 'AutoAugment', 'RandAugment', 'RandomOrder'):
        results = transform(scene())
        assert agree(results) == 1 and results['gt_seg_map'].shape == (70, 80)
    with pytest.raises(ValueError, match='^CutOut moves the pixels'):
        adapt_transforms(TRANSFORMS.build(
            wrapped(dict(type='CutOut', n_holes=1, cutout_shape=(4, 4)))[wrapper]))


OPTIONS = dict(FixScaleResize=dict(scale=(8, 8)), InstaBoost=None, RandomMosaic=None,
               CutOut=dict(n_holes=1, cutout_shape=(4, 4)),
               RandomCenterCropPad=dict(crop_size=(8, 8), ratios=(1.0, ), mean=[0, 0, 0],
                                        std=[1, 1, 1], to_rgb=False, border=4,
                                        test_pad_mode=None))


@pytest.mark.parametrize('kind', REFUSED)
def test_refused_by_name_when_the_data_set_is_built(tiny, kind):
    options = OPTIONS.get(kind, {})
    if options is None:
        pytest.skip('needs a package that is not installed')
    step = dict(type=kind, **options)
    with pytest.raises(ValueError, match=f'^{kind} moves .*instead use {REFUSED[kind][:6]}'):
        tiny.build(pipeline=[*LOAD, step, PACK])
    dataset = tiny.build(pipeline=LOAD)
    for mix in (ResamplingMixDataset, MultiImageMixDataset):
        config = dict(type=mix.__name__, dataset=dataset, pipeline=[step, PACK])
        if mix is ResamplingMixDataset:
            config['type'] = 'mmpanseg.ResamplingMixDataset'
        with pytest.raises(ValueError, match=f'^{kind} moves'):
            DATASETS.build(config)


def test_instances_may_use_them():
    """Without an index map mmdet's transforms stay as they are."""
    pad = TRANSFORMS.build(dict(type='Pad', size=(80, 70)))
    assert pad.pad_val == dict(img=0, seg=255)


def test_data_sets_and_mixes_fill_with_void(tiny):
    pads = [dict(type='Pad', size=(12, 12)),
            dict(type='Pad', size=(12, 12), pad_val=dict(img=(1, 2, 3)))]
    for pad in pads:
        for data in (tiny.build(pipeline=[*LOAD, pad, PACK]),
                     ResamplingMixDataset(tiny.build(pipeline=LOAD), [pad, PACK])):
            index_map = data[0]['data_samples'].gt_segments.map
            assert index_map.shape == (12, 12)
            assert index_map[-1].unique().tolist() == [-1]


class FlipMask:
    """What HorizontalFlip and PadIfNeeded of albumentations do together."""

    def __init__(self, **_):
        pass

    def __call__(self, data):
        for key in set(data) & {'image', 'mask'}:
            if data[key].dtype not in (np.uint8, np.int16):
                raise TypeError(f'{key} is {data[key].dtype}')
            border = BORDER if key == 'image' else 0
            data[key] = cv2.copyMakeBorder(np.ascontiguousarray(data[key][:, ::-1]), 0, 10, 0, 6,
                                           cv2.BORDER_CONSTANT, value=(border, ) * 3)
        return data


@pytest.fixture
def albumentations(monkeypatch):
    """A stand-in with what mmdet's wrapper needs."""
    class Composed:
        def __init__(self, transforms, **_):
            self.transforms = transforms

        def __call__(self, **data):
            for transform in self.transforms:
                data = transform(data)
            return data
    module = types.ModuleType('albumentations')
    module.FlipMask, module.Compose, module.BboxParams = FlipMask, Composed, dict
    monkeypatch.setitem(sys.modules, 'albumentations', module)
    monkeypatch.setattr(mmdet_transforms, 'albumentations', module)
    monkeypatch.setattr(mmdet_transforms, 'Compose', Composed)


@pytest.mark.parametrize('count', [12, 300])
def test_albumentations(albumentations, count):
    albu = dict(type='Albu', transforms=[dict(type='FlipMask')])
    nested = dict(type='RandomApply', transforms=[albu], prob=1.0)
    for config in (albu, nested):
        results = scene()
        results['gt_segment_labels'] = np.zeros(count, np.int64)
        expected = np.full((70, 70), -1, np.int32)
        expected[:60, :64] = results['gt_seg_map'][:, ::-1]
        results = adapt_transforms([TRANSFORMS.build(config)])[0](results)
        np.testing.assert_array_equal(results['gt_seg_map'], expected)
        assert results['gt_seg_map'].dtype == np.int32 and agree(results) == 1
    without = adapt_transforms(TRANSFORMS.build(albu))(dict(img=scene()['img']))
    assert without['img'].shape == (70, 70, 3) and 'gt_seg_map' not in without


@TRANSFORMS.register_module()
class Careless(BaseTransform):
    """A transform of a user that forgets the map, or fills it with something."""

    def __init__(self, fill=None):
        self.fill = fill

    def transform(self, results):
        if self.fill is None:
            results['img'] = results['img'][1:]
        else:
            results['gt_seg_map'][0, 0] = self.fill
        return results


class SegFields(BaseTransform):
    """Moves the maps that ``seg_fields`` names, as transforms of mmsegmentation do."""

    def __init__(self):
        self.seg_pad_val = 255

    def transform(self, results):
        results['img'] = np.roll(results['img'], 3, axis=1)
        for name in results.get('seg_fields', []):
            results[name] = np.roll(results[name], 3, axis=1)
            results[name][:, :3] = self.seg_pad_val
        return results


def test_transforms_of_mmsegmentation(tiny):
    plain, moved = (tiny.build(pipeline=[*LOAD, *step, PACK])[0]['data_samples'].gt_segments.map
                    for step in ((), (SegFields(), )))
    assert (moved[:, :3] == -1).all() and (moved[:, 3:] == plain[:, :-3]).all()


@pytest.mark.parametrize('fill, text', [
    (None, r'\.png: after the transforms the image has .* pixels and its map of segments'),
    (255, r'\.png: .* \(gt_seg_map\) has the value 255, but there are 2 segments and -1 is void'),
    (-2, 'has the value -2')])
def test_maps_that_do_not_fit_any_more(tiny, fill, text):
    data = tiny.build(pipeline=[*LOAD, dict(type='Careless', fill=fill), PACK])
    with pytest.raises((ValueError, RuntimeError), match=text):
        data[0]
