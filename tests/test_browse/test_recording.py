"""What is said about transforms is what they did."""
import re

import numpy as np
import pytest
from mmcv.transforms import BaseTransform, Compose
from mmdet.registry import TRANSFORMS

from mmpanseg.browse.parameters import describe_steps
from mmpanseg.browse.recording import Recorder

IMAGE = np.random.default_rng(1).integers(60, 190, (48, 64, 3)).astype(np.uint8)


def run(*steps, seed=0, **entries):
    """Apply transforms; returns the sample and the texts on them."""
    built = Compose([TRANSFORMS.build(step) if isinstance(step, dict) else step for step in steps])
    recorder = Recorder()
    np.random.seed(seed)
    with recorder.active():
        results = built(dict(img=IMAGE.copy(), img_shape=IMAGE.shape[:2], img_path='a.png',
                             **entries))
    # Compose is a transform itself
    return results, describe_steps(recorder.steps('a.png'))


@pytest.mark.parametrize('seed', range(4))
def test_crop_and_flip(seed):
    results, texts = run(
        dict(type='RandomCrop', crop_size=(20, 30), crop_type='absolute'),
        dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']), seed=seed)
    crop, flip = texts
    width, height, x, y = map(int, re.fullmatch(r'crop (\d+)x(\d+) at x=(\d+), y=(\d+)',
                                                crop).groups())
    expected = IMAGE[y:y + height, x:x + width]
    expected = {'no flip': expected, 'flip horizontal': expected[:, ::-1],
                'flip vertical': expected[::-1]}[flip]
    np.testing.assert_array_equal(results['img'], expected)


def test_scale_and_padding():
    results, texts = run(
        dict(type='RandomResize', scale=(64, 48), ratio_range=(0.5, 2.0), keep_ratio=True),
        dict(type='Pad', size=(128, 128)))
    height, width = results['img_shape'][:2]
    assert (width, height) == (128, 128)
    factor, w, h = re.fullmatch(r'scale ([\d.]+) to (\d+)x(\d+)', texts[0]).groups()
    assert abs(float(factor) * 64 - int(w)) < 1 and abs(float(factor) * 48 - int(h)) < 1
    assert texts[1] == 'pad to 128x128'
    assert run(dict(type='Resize', scale=(32, 48), keep_ratio=False))[1] == [
        'scale 0.5 x 1 to 32x48']
    assert run(dict(type='Resize', scale=(64, 48)), dict(type='Pad', size=(64, 48)))[1] == [
        'scale 1', 'no padding']


@pytest.mark.parametrize('seed', range(6))
def test_color_jitter(seed):
    results, texts = run(dict(type='mmpanseg.SSDColorJitter', saturation=(1, 1), hue=0), seed=seed)
    expected = IMAGE.astype(np.float32)
    for part in texts[0].split(', '):
        if part.startswith('brightness'):
            expected = (expected + float(part.split()[1])).clip(0, 255)
        elif part.startswith('contrast'):
            expected = (expected * float(part.split()[1][1:])).clip(0, 255)
    # values in the text are rounded, and a change of the hue by 0 rounds colors
    assert np.abs(results['img'] - expected).mean() < 2.5


@pytest.mark.parametrize('seed', range(3))
def test_channel_jitter(seed):
    results, texts = run(dict(type='mmpanseg.ChannelJitter', prob=1.0), seed=seed)
    contrast, brightness = map(float, re.fullmatch(
        r'contrast x([\d.]+), brightness ([+-][\d.]+) std', texts[0]).groups())
    mean, std = IMAGE.mean((0, 1)), IMAGE.std((0, 1))
    expected = (mean + contrast * (IMAGE - mean) + brightness * std).clip(0, 255)
    assert np.abs(results['img'] - expected).max() < 2
    assert run(dict(type='mmpanseg.ChannelJitter', prob=0.0))[1] == ['no channel jitter']


def test_photometric_distortion():
    texts = {run(dict(type='PhotoMetricDistortion'), seed=seed)[1][0] for seed in range(12)}
    words = ' '.join(texts)
    for word in ('brightness', 'contrast x', 'saturation x', 'hue', 'channels'):
        assert word in words
    assert len(texts) > 8


def test_geometric_transforms_tell_the_sign():
    angles = set()
    for seed in range(6):
        results, texts = run(dict(type='Rotate', prob=1.0, level=5), seed=seed)
        matrix = results['homography_matrix']
        angle = float(re.fullmatch(r'rotate (-?[\d.]+) deg', texts[0])[1])
        assert angle == pytest.approx(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])), abs=0.06)
        angles.add(np.sign(angle))
    assert angles == {-1, 1}
    assert run(dict(type='ShearX', prob=0.0))[1] == ['no ShearX']


def test_nested_transforms_and_others():
    class Paint(BaseTransform):
        def transform(self, results):
            return results

    _, texts = run(dict(type='RandomApply', prob=1.0, transforms=[
        dict(type='RandomFlip', prob=1.0)]), Paint())
    assert texts == ['flip horizontal', 'Paint']
    assert run(dict(type='RandomApply', prob=0.0, transforms=[
        dict(type='RandomFlip', prob=1.0)]))[1] == ['RandomApply (random_apply=False)']


def test_transforms_are_as_before():
    step = TRANSFORMS.build(dict(type='RandomFlip', prob=0.5))
    before, call = dict(vars(step)), BaseTransform.__call__
    recorder = Recorder()
    drawn = []
    for active in (False, True):
        np.random.seed(3)
        for _ in range(8):
            sample = dict(img=IMAGE.copy(), img_shape=(48, 64), img_path='a.png')
            if active:
                with recorder.active():
                    drawn.append(step(sample)['flip'])
            else:
                drawn.append(step(sample)['flip'])
    assert drawn[:8] == drawn[8:] and len(set(drawn)) == 2
    assert vars(step) == before and BaseTransform.__call__ is call
    with pytest.raises(KeyError), recorder.active():
        step(dict(img_path='a.png'))
    assert BaseTransform.__call__ is call


def test_steps_of_rejected_samples_are_left_out():
    rejected = iter([True, True, False])

    class Reject(BaseTransform):
        def transform(self, results):
            return None if next(rejected) else results

    flip, reject = TRANSFORMS.build(dict(type='RandomFlip', prob=1.0)), Reject()
    recorder = Recorder()
    with recorder.active():
        for path in ('b.png', 'a.png', 'a.png'):
            reject(flip(dict(img=IMAGE, img_shape=(48, 64), img_path=path)))
    assert describe_steps(recorder.steps('a.png')) == ['flip horizontal', 'Reject']
    assert describe_steps(recorder.steps('b.png')) == [
        'flip horizontal', 'Reject rejects the sample']
