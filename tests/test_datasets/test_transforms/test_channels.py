"""Pipelines on images of one to seven channels and several types, against channels alone."""
import copy
import random

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.registry import TRANSFORMS

from mmpanseg.datasets.transforms import (
    ChannelJitter,
    LoadChannels,
    LoadImageFromFile,
    PanopticCopyPaste,
)
from mmpanseg.datasets.transforms.channel_groups import COLORS, MOVE_PIXELS, adapt_to_channels
from mmpanseg.datasets.transforms.foreign_transforms import adapt_transforms
from mmpanseg.structures.image_file import ImageError

MOVES = {
    'Rotate': dict(prob=1.0, level=9, max_mag=40.0, img_border_value=7.0),
    'ShearX': dict(prob=1.0, level=8, img_border_value=7.0),
    'ShearY': dict(prob=1.0, level=8),
    'TranslateX': dict(prob=1.0, level=6, max_mag=0.5),
    'TranslateY': dict(prob=1.0, level=6, max_mag=0.5),
    'Pad': dict(size=(80, 70), pad_val=9),
    'mmcv.Pad': dict(size=(80, 70), pad_val=dict(img=9, seg=255)),
    'Expand': dict(prob=1.0, mean=(9, 9, 9), ratio_range=(1.5, 2)),
    'CenterCrop': dict(crop_size=(80, 40), auto_pad=True, pad_cfg=dict(type='Pad', pad_val=9)),
    'FixShapeResize': dict(width=90, height=60, keep_ratio=True),
    'RandomErasing': dict(n_patches=2, ratio=0.3, img_border_value=9),
    'CutOut': dict(n_holes=2, cutout_shape=(9, 9), fill_in=(9, 9, 9)),
    'RandomCrop': dict(crop_size=(30, 40)),
    'RandomFlip': dict(prob=1.0, direction='diagonal'),
    'Resize': dict(scale=(51, 33), keep_ratio=True),
    'Resize area': dict(scale=(23, 21), interpolation='area'),
    'RandomResize': dict(scale=(70, 70), ratio_range=(0.5, 2.0), keep_ratio=True),
    'RandomChoiceResize': dict(scales=[(31, 33)], keep_ratio=True),
    'ResizeShortestEdge': dict(scale=33, max_size=60)}


def sample(pixels):
    return dict(img=pixels, img_shape=pixels.shape[:2], ori_shape=pixels.shape[:2],
                img_path='a.npy', gt_seg_map=np.zeros(pixels.shape[:2], np.int32),
                gt_segment_labels=np.zeros(1, np.int64))


def build(kind, options):
    step = TRANSFORMS.build(dict(type=kind.split()[0], **copy.deepcopy(options)))
    # CutOut is for data without maps
    return adapt_to_channels([step if kind in {'CutOut', *COLORS} else adapt_transforms(step)],
                             always=True)[0]


def run(step, pixels):
    random.seed(3)
    np.random.seed(3)
    return step(sample(np.ascontiguousarray(pixels)))


@pytest.mark.parametrize('kind', MOVES)
def test_channels_move_together(kind):
    rng = np.random.default_rng(0)
    step = build(kind, MOVES[kind])
    for channels, dtype in ((1, np.uint8), (2, np.uint16), (4, np.uint8), (5, np.float32),
                            (7, np.int16)):
        pixels = rng.integers(0, 250, (60, 64, channels)).astype(dtype)
        found = run(step, pixels)
        assert found['img'].dtype == dtype
        assert found['img'].shape == (*found['gt_seg_map'].shape, channels)
        after = random.random(), np.random.rand()
        for k in range(channels):
            # three equal channels need no groups
            alone = run(step, np.repeat(pixels[..., k:k + 1], 3, axis=2))
            error = np.abs(alone['img'].astype(float) - found['img'][..., k:k + 1]).max()
            # OpenCV rounds differently for other numbers of channels
            assert error <= (0.01 if dtype == np.float32 else 1), (channels, k)
            np.testing.assert_array_equal(alone['gt_seg_map'], found['gt_seg_map'])
        assert after == (random.random(), np.random.rand())


def test_all_that_move_pixels_are_tested():
    # the last three need boxes, and are refused for maps of segments
    assert MOVE_PIXELS - {kind.split('.')[-1] for kind in MOVES} == {
        'MinIoURandomCrop', 'RandomAffine', 'RandomShift'}


def test_fill_values_per_channel():
    pixels = np.zeros((6, 8, 5), np.uint8)
    found = run(build('Pad', dict(size=(10, 10), pad_val=dict(img=(1, 2, 3, 4, 5), seg=255))),
                pixels)
    assert found['img'][-1, -1].tolist() == [1, 2, 3, 4, 5] and not found['img'][:6, :8].any()
    with pytest.raises(ValueError, match=r'^Pad has 3 fill values \(1, 2, 3\) and the image 5'):
        run(build('Pad', dict(size=(10, 10), pad_val=dict(img=(1, 2, 3), seg=255))), pixels)


OPTIONS = {
    'Normalize': dict(mean=[0, 0, 0], std=[1, 1, 1]), 'ColorTransform': None, 'Mosaic': {},
    'InstaBoost': None, 'RandomMosaic': None, 'SSDColorJitter': {},
    'RandomCenterCropPad': dict(crop_size=(8, 8), ratios=(1.0, ), mean=[0, 0, 0], std=[1, 1, 1],
                                to_rgb=False, border=4, test_pad_mode=None)}


@pytest.mark.parametrize('kind', sorted(COLORS))
def test_colors_are_refused_by_name(kind):
    options = OPTIONS.get(kind, {})
    if options is None:
        pytest.skip('needs a package that is not installed, or is an abstract class')
    scope = 'mmpanseg.' if kind == 'SSDColorJitter' else ''
    step = build(scope + kind, options)
    for pixels, text in ((np.zeros((6, 8, 5), np.uint8), '5 channels of uint8'),
                         (np.zeros((6, 8, 3), np.uint16), '3 channels of uint16'),
                         (np.zeros((6, 8), np.uint8), '1 channels of uint8')):
        with pytest.raises(ValueError, match=f'^a.npy has {text}, and {kind} computes .*instead '
                                             'use (mmpanseg|mean and std of mmp|RandomCrop)'):
            step(sample(pixels))


def test_pipelines_of_colors_stay_as_they_are():
    steps = [TRANSFORMS.build(dict(type='LoadImageFromFile')),
             TRANSFORMS.build(dict(type='PhotoMetricDistortion'))]
    assert adapt_to_channels(steps) is steps
    inside = Compose([dict(type='mmpanseg.LoadChannels'),
                      dict(type='RandomApply', transforms=[dict(type='PhotoMetricDistortion')])])
    adapt_to_channels(inside)
    with pytest.raises(ValueError, match='PhotoMetricDistortion computes with 3 colors'):
        inside.transforms[1].transforms.transforms[0](sample(np.zeros((6, 8, 5), np.uint8)))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_jitter_is_the_stated_formula(dtype):
    pixels = np.random.default_rng(0).integers(80, 120, (40, 30, 5)).astype(dtype)
    np.random.seed(1)
    found = ChannelJitter(prob=1, contrast=(0.5, 2), brightness=1)(sample(pixels))['img']
    np.random.seed(1)
    np.random.rand()
    factor, shift = np.random.uniform(0.5, 2), np.random.uniform(-1, 1)
    x = pixels.astype(np.float64)
    expected = x.mean((0, 1)) * (1 - factor) + factor * x + shift * x.std((0, 1))
    assert found.dtype == dtype
    tolerance = 1e-3 if dtype == np.float32 else 0.501
    assert np.abs(found - expected.clip(0)).max() <= tolerance
    same = ChannelJitter(prob=0)(sample(pixels))['img']
    assert same is pixels
    apart = ChannelJitter(prob=1, per_channel=True)(sample(pixels))['img'].astype(float)
    assert len({round(float(v), 3) for v in (apart - x).mean((0, 1))}) == 5
    gray = ChannelJitter(prob=1)(sample(pixels[..., 0]))['img']
    assert gray.shape == (40, 30)
    with pytest.raises(ValueError, match='^ChannelJitter: contrast='):
        ChannelJitter(contrast=(2, 1))


def test_copy_paste_of_five_channels():
    step = PanopticCopyPaste(size=(8, 9))
    step._draw = lambda count: np.arange(count)
    first, second = (dict(sample(np.full((6, 8, 5), v, np.uint16)),
                          segments_info=[dict(category=0, is_thing=True)]) for v in (300, 900))
    second['gt_seg_map'][:, 4:] = -1
    found = step(dict(first, mix_results=[second]))
    assert found['img'].shape == (8, 9, 5) and found['img'].dtype == np.uint16
    assert (found['img'][:6, :4] == 900).all() and (found['img'][:6, 4:8] == 300).all()
    other = dict(second, img=np.zeros((6, 8, 3), np.uint16))
    with pytest.raises(ValueError, match='^a.npy has 3 channels, a.npy 5: all images'):
        step(dict(first, img=first['img'], mix_results=[other]))


def test_loader(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4000, (6, 8, 5)).astype(np.uint16)
    path = str(tmp_path / 'a.npy')
    np.save(path, pixels)
    found = LoadChannels()(dict(img_path=path))
    np.testing.assert_array_equal(found['img'], pixels)
    assert found['drawn_channels'] == dict(channels=None, channels_first=False)
    assert found['img_shape'] == found['ori_shape'] == (6, 8)
    chosen = LoadChannels(channels=(4, 1, 0), display=(2, ), to_float32=True)(dict(img_path=path))
    np.testing.assert_array_equal(chosen['img'], pixels[..., [4, 1, 0]].astype(np.float32))
    # as numbers of the file
    assert chosen['drawn_channels']['channels'] == (0, )
    given = LoadChannels(channels=(4, ))(dict(img=pixels))
    np.testing.assert_array_equal(given['img'], pixels[..., [4]])


def test_values_that_are_no_numbers(tmp_path):
    path = str(tmp_path / 'a.tiff')
    cv2.imwrite(path, np.array([[1, np.nan], [2, 3]], np.float32))
    for loader in (LoadImageFromFile(color_type='unchanged'), LoadChannels()):
        with pytest.raises(ImageError, match='a.tiff has 1 values that are NaN or infinite: repl'):
            loader(dict(img_path=path))


@pytest.mark.parametrize('options, text', [
    (dict(num_channels=3), r'a.npy has 5 channels, LoadChannels\(num_channels=3\) expects 3: '),
    (dict(channels=(0, 5)), 'a.npy has 5 channels, numbered from 0, and channel 5 is selected')])
def test_other_numbers_of_channels(tmp_path, options, text):
    np.save(tmp_path / 'a.npy', np.zeros((6, 8, 5), np.uint8))
    with pytest.raises(ImageError, match=text):
        LoadChannels(**options)(dict(img_path=str(tmp_path / 'a.npy')))


@pytest.mark.parametrize('options, text', [
    (dict(channels=()), r'channels=\[\] must be numbers'),
    (dict(channels=(-1, )), r'channels=\[-1\] must be numbers'),
    (dict(display=(0, 1)), r'display=\[0, 1\] must be one channel'),
    (dict(channels=(0, 1), num_channels=3), 'num_channels=3, but channels names 2')])
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=f'^LoadChannels: {text}'):
        LoadChannels(**options)
