"""SSDColorJitter against a slow definition, pixel by pixel."""
import colorsys

import numpy as np
import pytest

from mmpanseg.datasets import SSDColorJitter

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def _jitter(image, contrast_first=True, brightness=None, contrast=None, saturation=None, hue=None):
    jitter = SSDColorJitter()
    jitter._draw = lambda: (contrast_first, [brightness, contrast, saturation, hue])
    return jitter(dict(img=image))['img']


def _hue_and_saturation(pixel, saturation, hue):
    """A BGR pixel as a float formula, hue in units of 2 degrees."""
    h, s, v = colorsys.rgb_to_hsv(*(pixel[::-1] / 255.))
    h = (h * 180 + hue) % 180 / 180
    return np.array(colorsys.hsv_to_rgb(h, min(s * saturation, 1), v))[::-1] * 255


@pytest.mark.parametrize('offset', [-31.7, 0.4, 25.])
def test_brightness(offset):
    expected = np.clip(IMAGE.astype(np.float32) + np.float32(offset), 0, 255).astype(np.uint8)
    assert np.array_equal(_jitter(IMAGE, brightness=offset), expected)


@pytest.mark.parametrize('factor', [0.5, 1.3])
@pytest.mark.parametrize('contrast_first', [True, False])
def test_contrast(factor, contrast_first):
    expected = np.clip(IMAGE.astype(np.float32) * np.float32(factor), 0, 255).astype(np.uint8)
    assert np.array_equal(_jitter(IMAGE, contrast_first, contrast=factor), expected)


@pytest.mark.parametrize('saturation, hue', [(0.5, 0), (1.4, 0), (1, 18), (1, -18), (0.7, 9)])
def test_saturation_and_hue(saturation, hue):
    expected = np.array([[_hue_and_saturation(p, saturation, hue) for p in row] for row in IMAGE])
    result = _jitter(IMAGE, saturation=saturation if saturation != 1 else None, hue=hue or None)
    # 8-bit hue and saturation in between: a step of hue is 4 gray levels at most, in each rounding
    assert np.abs(result - expected).max() < 10
    assert np.abs(result - expected).mean() < 1.5


def test_contrast_before_or_after_the_colors():
    # contrast 1.5 saturates the bright channel only when it comes first
    image = np.full((1, 1, 3), (100, 150, 200), np.uint8)
    first = _jitter(image, True, contrast=1.5, saturation=0.5)
    last = _jitter(image, False, contrast=1.5, saturation=0.5)
    # saturation halved: the distances to the largest channel are
    assert np.allclose(first, [[[202, 240, 255]]], atol=2)
    assert np.allclose(last, [[[225, 255, 255]]], atol=2)


def test_draws_lie_in_their_ranges_and_each_step_half_of_the_time():
    np.random.seed(0)
    jitter = SSDColorJitter()
    first, draws = zip(*[jitter._draw() for _ in range(2000)])
    assert 0.45 < np.mean(first) < 0.55
    for values, low, high in zip(zip(*draws), (-32, .5, .5, -18), (32, 1.5, 1.5, 18)):
        chosen = [v for v in values if v is not None]
        assert 0.45 < len(chosen) / 2000 < 0.55
        assert low <= min(chosen) < low + (high - low) * .1
        assert high >= max(chosen) > high - (high - low) * .1


def test_given_image_stays_as_it_is_and_the_type_too():
    image = IMAGE.copy()
    np.random.seed(3)
    for _ in range(20):
        result = SSDColorJitter()(dict(img=image))['img']
        assert result.dtype == np.uint8 and result.shape == IMAGE.shape
    assert np.array_equal(image, IMAGE)


def test_needs_8_bit():
    with pytest.raises(ValueError, match='8-bit image, got float32'):
        SSDColorJitter()(dict(img=IMAGE.astype(np.float32)))
