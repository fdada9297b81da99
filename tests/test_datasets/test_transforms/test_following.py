"""Every transform of mmcv and mmdet: map and masks follow the image, or it is refused by name."""
import copy
import random

import cv2
import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS as MMDET
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.registry import TRANSFORMS as ROOT

from mmpanseg.datasets import PackPanopticInputs
from mmpanseg.datasets.transforms.following import (
    check_following,
    probe_sample,
    unknown_transforms,
)
from mmpanseg.datasets.transforms.foreign_transforms import (
    REFUSED,
    REFUSED_WITH_MASKS,
    adapt_transforms,
    check_mmdet_pipeline,
    refuse_with_masks,
)
from mmpanseg.registry import TRANSFORMS
from mmpanseg.structures.encoded_masks import EncodedMasks

FOLLOW = {
    'Rotate': dict(prob=1.0, level=9, max_mag=40.0),
    'ShearX': dict(prob=1.0, level=8),
    'ShearY': dict(prob=1.0, level=8),
    'TranslateX': dict(prob=1.0, level=6, max_mag=0.5),
    'TranslateY': dict(prob=1.0, level=6, max_mag=0.5),
    'Pad': dict(size=(200, 180)),
    'mmcv.Pad': dict(size=(200, 180)),
    'Expand': dict(prob=1.0, ratio_range=(1.5, 2)),
    'CenterCrop': dict(crop_size=(150, 70), auto_pad=True, pad_cfg=dict(type='Pad')),
    'Resize': dict(scale=(151, 133)),
    'mmcv.Resize': dict(scale=(151, 133)),
    'FixShapeResize': dict(width=190, height=160, keep_ratio=True),
    'ResizeShortestEdge': dict(scale=133, max_size=260),
    'RandomResize': dict(scale=(170, 170), ratio_range=(0.7, 2.0), keep_ratio=True),
    'RandomChoiceResize': dict(scales=[(131, 133)]),
    'RandomCrop': dict(crop_size=(70, 60)),
    'RandomFlip': dict(prob=1.0, direction='diagonal'),
    'mmcv.RandomFlip': dict(prob=1.0),
    'RandomFlip_GLIP': dict(prob=1.0),
    'RandomErasing': dict(n_patches=2, ratio=0.3)}
# only one of these moves the masks of instances as well, the others are not for them
FOLLOW_WITH_MASKS = {
    **{name: options for name, options in FOLLOW.items() if name not in (
        'mmcv.Pad', 'mmcv.Resize', 'mmcv.RandomFlip', 'CenterCrop')},
    'MinIoURandomCrop': dict(min_ious=(0.1, ), min_crop_size=0.5),
    'FilterAnnotations': dict(min_gt_bbox_wh=(1, 1), by_mask=True)}
STAY = {
    'AutoContrast': {}, 'Brightness': {}, 'Color': {}, 'Contrast': {}, 'Equalize': {}, 'Invert': {},
    'Posterize': {}, 'Solarize': {}, 'SolarizeAdd': {}, 'Sharpness': {},
    'PhotoMetricDistortion': {}, 'YOLOXHSVRandomAug': {},
    'RandomGrayscale': dict(prob=1.0, channel_weights=(0.3, 0.3, 0.4), keep_channels=True),
    'Normalize': dict(mean=[1, 2, 3], std=[4, 5, 6])}
# containers, whose parts are adapted and refused; loading and packing; boxes, texts, videos, lines
CONTAINERS = {
    'AutoAugment', 'Compose', 'KeyMapper', 'MultiBranch', 'MultiScaleFlipAug',
    'ProposalBroadcaster', 'RandAugment', 'RandomApply', 'RandomChoice', 'RandomOrder',
    'TestTimeAug', 'TransformBroadcaster'}
OTHERS = {
    'ImageToTensor', 'InferencerLoader', 'LoadAnnotations', 'LoadEmptyAnnotations',
    'LoadImageFromFile', 'LoadImageFromNDArray', 'LoadMultiChannelImageFromFiles',
    'LoadPanopticAnnotations', 'LoadProposals', 'LoadTextAnnotations', 'LoadTrackAnnotations',
    'PackDetInputs', 'PackReIDInputs', 'PackTrackInputs', 'ToTensor', 'WrapFieldsToLists',
    'BaseFrameSample', 'UniformRefFrameSample', 'GTBoxSubOne_GLIP', 'RandomSamplingNegPos',
    'ImageAug', 'LinesToArray', 'PackLineDetectionInputs', 'LoadLineAnnotations',
    'LoadOneDLSegmentation',
    # abstract bases of those above
    'ColorTransform', 'GeomTransform'}
# what they do depends on their arguments: tried on a picture when the data set is built
TRIED = {'Albu', 'Transpose'}
MASKS = dict(polygons=PolygonMasks, bitmaps=BitmapMasks, runs=EncodedMasks)


def registered():
    return {name for registry in (ROOT, MMDET) for name, kind in registry.module_dict.items()
            if kind.__module__.partition('.')[0] in ('mmcv', 'mmdet', 'mmpanseg')}


def test_every_transform_is_classified():
    known = {name.removeprefix('mmcv.') for name in (*FOLLOW, *FOLLOW_WITH_MASKS, *STAY)}
    known |= CONTAINERS | OTHERS | TRIED | set(REFUSED)
    assert registered() - known == set()


def build(kind, options):
    return MMDET.build(dict(type=kind, **copy.deepcopy(options)))


def run(step, sample, seed):
    random.seed(seed)
    np.random.seed(seed)
    return step(sample)


def agreement(image, index, colors, void=-1):
    """Share of pixels inside of segments that show the color of their segment."""
    inner = np.s_[2:-2, 2:-2]
    same = np.ones(index[inner].shape, bool)
    for y in range(5):
        for x in range(5):
            same &= index[y:y + same.shape[0], x:x + same.shape[1]] == index[inner]
    same &= index[inner] != void
    assert same.sum() > 300
    shown = np.abs(image[inner][same][:, None].astype(int) - colors.astype(int)).sum(2).argmin(1)
    return float((shown == index[inner][same]).mean())


@pytest.mark.parametrize('kind', FOLLOW)
def test_maps_follow(kind):
    step = adapt_transforms(build(kind, FOLLOW[kind]))
    for seed in range(2):
        sample, colors = probe_sample(seed)
        before = sample['gt_seg_map'].copy()
        results = run(step, sample, seed)
        index = results['gt_seg_map']
        assert index.shape == results['img'].shape[:2]
        assert agreement(results['img'], index, colors) > 0.99
        assert not np.array_equal(index, before)
        # what the transform added is void, not a segment
        added = (results['img'] == 0).all(2) | (results['img'] == 128).all(2)
        assert (index[added] == -1).mean() > 0.97 if added.sum() > 20 else True


@pytest.mark.parametrize('masks', [
    'polygons', 'bitmaps', pytest.param('runs', marks=pytest.mark.slow)])
@pytest.mark.parametrize('kind', FOLLOW_WITH_MASKS)
def test_masks_follow(kind, masks):
    step = build(kind, FOLLOW_WITH_MASKS[kind])
    loader = MMDET.build(dict(type='LoadAnnotations', with_bbox=True, with_mask=True,
                              poly2mask=masks == 'bitmaps'))
    if kind in ('RandomErasing', 'Expand') and masks != 'bitmaps':
        with pytest.raises(ValueError, match=f'^{kind} needs the pixels of masks'):
            refuse_with_masks([step], loader)
        return
    refuse_with_masks([step], loader)
    for seed in range(1, 2):
        sample, colors = probe_sample(seed, masks=MASKS[masks])
        results = run(step, sample, seed)
        found = results['gt_masks']
        assert (found.height, found.width) == results['img'].shape[:2]
        index = np.full((found.height, found.width), -1)
        for label, mask in zip(results['gt_bboxes_labels'], found.to_ndarray()):
            index[mask > 0] = label
        assert agreement(results['img'], index, colors) > 0.99


@pytest.mark.parametrize('kind', STAY)
def test_photometric_transforms_move_nothing(kind):
    step = adapt_transforms(build(kind, STAY[kind]))
    for seed in range(2):
        sample, colors = probe_sample(seed)
        index, image = sample['gt_seg_map'].copy(), sample['img'].copy()
        results = run(step, sample, seed)
        np.testing.assert_array_equal(results['gt_seg_map'], index)
        assert results['img'].shape == image.shape
        # inside of its rectangle each color stays one color
        for k in range(34):
            inside = cv2.erode((index == k).astype(np.uint8), np.ones((5, 5))) > 0
            assert np.ptp(results['img'][inside].astype(float), axis=0).max() <= (
                1 if kind == 'YOLOXHSVRandomAug' else 1e-3)  # rounded by other instructions


@pytest.mark.parametrize('kind', FOLLOW)
def test_semantic_maps_of_mmdet(kind):
    """In mmdet's own pipelines 255 is void; what is added must be it, or it is an error."""
    step = build(kind, FOLLOW[kind])
    sample, colors = probe_sample(1)
    sample['gt_seg_map'] = np.where(sample['gt_seg_map'] < 0, 255,
                                    sample['gt_seg_map']).astype(np.uint8)
    if kind == 'Expand':  # without seg_ignore_label
        with pytest.raises(TypeError):
            run(step, sample, 1)
        return
    results = run(step, sample, 1)
    assert agreement(results['img'], results['gt_seg_map'].astype(int), colors, 255) > 0.99


def of_mmdet(*steps):
    return [MMDET.build(dict(type='LoadAnnotations', with_bbox=True, with_mask=True,
                             with_seg=True)), *steps]


@pytest.mark.parametrize('kind', ['CutOut', 'Mosaic', 'RandomAffine', 'RandomShift', 'CopyPaste'])
def test_mmdet_pipelines_that_leave_the_map_behind(kind):
    options = dict(CutOut=dict(n_holes=1, cutout_shape=(4, 4)))
    step = build(kind, options.get(kind, {}))
    with pytest.raises(ValueError, match=f'^{kind} moves .* gt_seg_map, the map of labels'):
        check_mmdet_pipeline(of_mmdet(step))
    check_mmdet_pipeline([step])  # boxes alone
    check_mmdet_pipeline(of_mmdet(build('Rotate', FOLLOW['Rotate'])))


@pytest.mark.parametrize('kind', REFUSED_WITH_MASKS)
def test_masks_are_not_left_behind(kind, tmp_path):
    options = dict(CutOut=dict(n_holes=1, cutout_shape=(4, 4)), RandomMosaic=None,
                   FixScaleResize=dict(scale=(8, 8)),
                   RandomCenterCropPad=dict(crop_size=(8, 8), ratios=(1.0, ), mean=[0, 0, 0],
                                            std=[1, 1, 1], to_rgb=False, border=4,
                                            test_pad_mode=None))
    options = options.get(kind, {})
    if options is None:
        pytest.skip('not in mmdet')
    step = dict(type='RandomApply', transforms=[dict(type=kind, **options)])
    loader = TRANSFORMS.build(dict(type='mmpanseg.LoadInstanceMasks'))
    with pytest.raises(ValueError, match=f'^{kind} moves .* gt_masks'):
        refuse_with_masks([loader, MMDET.build(step)], loader)


def test_mixes_carry_the_masks():
    """CachedMosaic and CachedMixUp stand in for the refused ones."""
    loader = of_mmdet()[0]
    with pytest.raises(ValueError, match=r'^CachedMosaic\(img_scale=\(168, 120\)\) exchanges'):
        refuse_with_masks([build('CachedMosaic', dict(img_scale=(168, 120)))], loader)
    for kind, options in (('CachedMosaic', dict(img_scale=(168, 168), random_pop=False)),
                          ('CachedMixUp', dict(img_scale=(168, 120), random_pop=False,
                                               flip_ratio=0.0, ratio_range=(1.0, 1.0)))):
        step = build(kind, options)
        for seed in range(6):
            sample, colors = probe_sample(0, masks=BitmapMasks)
            results = run(step, sample, seed)
        masks = results['gt_masks']
        assert (masks.height, masks.width) == results['img'].shape[:2]
        assert len(masks) == len(results['gt_bboxes_labels']) > 35
        if kind == 'CachedMosaic':
            index = np.full((masks.height, masks.width), -1)
            for label, mask in zip(results['gt_bboxes_labels'], masks.to_ndarray()):
                index[mask > 0] = label
            assert agreement(results['img'], index, colors) > 0.97


class Own(BaseTransform):
    """A transform of a user, made of one function."""

    def __init__(self, function):
        self.function = function

    def transform(self, results):
        results = dict(results)
        self.function(results)
        return results


def flip_image(results):
    results['img'] = results['img'][:, ::-1]


def shift_image(results):
    results['img'] = np.roll(results['img'], 6, axis=1)


def dark_flip(results):
    results['img'] = results['img'][::-1] // 3


def flip_map(results):
    results['gt_seg_map'] = results['gt_seg_map'][:, ::-1]


def sometimes(results):
    if np.random.rand() < 0.4:
        flip_image(results)


def shrink_smoothly(results):
    results['img'] = cv2.resize(results['img'], (84, 60))
    results['gt_seg_map'] = cv2.resize(results['gt_seg_map'].astype(np.float32),
                                       (84, 60)).astype(np.int32)
    results['img_shape'] = (60, 84)


def flip_both(results):
    flip_image(results)
    flip_map(results)


def noise(results):
    results['img'] = (results['img'] + np.random.normal(0, 25, results['img'].shape)).clip(
        0, 255).astype(np.uint8)


def holes(results):
    results['img'] = results['img'].copy()
    for _ in range(8):
        y, x = np.random.randint(100), np.random.randint(140)
        results['img'][y:y + 24, x:x + 24] = 0


def blur(results):
    results['img'] = cv2.GaussianBlur(results['img'], (7, 7), 2)


def negative(results):
    results['img'] = 255 - results['img']


def gray(results):
    results['img'] = np.repeat(results['img'].mean(2, keepdims=True), 3, 2).astype(np.uint8)


def needs_more(results):
    results['depth_path'].upper()


@pytest.mark.parametrize('function', [flip_image, shift_image, dark_flip, flip_map, sometimes])
def test_own_transforms_that_forget_one(tiny, function):
    text = '^Own moves the pixels of the image but not those of gt_seg_map.*follows_map = True'
    load = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap')]
    states = random.getstate(), np.random.get_state()[1].copy()
    with pytest.raises(ValueError, match=text):
        tiny.build(pipeline=[*load, Own(function), PackPanopticInputs()])
    assert states[0] == random.getstate() and (states[1] == np.random.get_state()[1]).all()
    nested = MMDET.build(dict(type='RandomApply', prob=0.1, transforms=[]))
    nested.transforms.transforms.append(Own(function))
    with pytest.raises(ValueError, match=text):
        check_following([nested])
    trusted = Own(function)
    trusted.follows_map = True
    check_following([trusted])


def test_interpolated_maps():
    with pytest.raises(ValueError, match='^Own interpolates gt_seg_map.*INTER_NEAREST'):
        check_following([Own(shrink_smoothly)])


@pytest.mark.parametrize('function', [flip_both, noise, holes, blur, negative, gray, needs_more])
def test_own_transforms_that_are_right(function):
    check_following([Own(function)])


def test_transforms_of_five_channels():
    def swap(results):
        results['img'] = results['img'][..., [0, 1, 4, 3, 2]]

    check_following([Own(swap)], 5)
    with pytest.raises(ValueError, match='moves'):
        check_following([Own(lambda results: (swap(results), flip_image(results)))], 5)


def test_functions_in_a_pipeline():
    def flip(results):
        return dict(results, img=results['img'][:, ::-1])

    with pytest.raises(ValueError, match='flip.* moves the pixels'):
        check_following([flip])
    check_following([lambda results: results, 3, 'text', None])


def test_own_transforms_and_masks():
    def turn(results):
        flip_image(results)
        results['gt_masks'] = results['gt_masks'].flip()

    for masks in (PolygonMasks, BitmapMasks):
        check_following([Own(turn)], masks=masks, label='gt_masks')
        with pytest.raises(ValueError, match='^Own moves .* gt_masks'):
            check_following([Own(flip_image)], masks=masks, label='gt_masks')


def test_transpose_of_the_image_alone():
    step = build('Transpose', dict(keys=['img'], order=[1, 0, 2]))
    # the packing names the image, whose shape differs
    check_following([step])
    assert [type(leaf).__name__ for leaf in unknown_transforms([step])] == ['Transpose']
