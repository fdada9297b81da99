"""Normalization of any number of channels, against numpy and mmdet's class."""
import numpy as np
import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor

from mmpanseg.models.data_preprocessors import ChannelDataPreprocessor, FixedSizeDataPreprocessor


def images(channels, dtype=torch.uint8):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 200, (channels, *size), generator=generator).to(dtype)
            for size in ((5, 7), (6, 4))]


@pytest.mark.parametrize('channels', [1, 2, 4, 5, 9])
@pytest.mark.parametrize('swap', [False, True])
def test_normalized_and_padded(channels, swap):
    if swap and channels < 3:
        pytest.skip('no colors')
    mean, std = np.arange(1, channels + 1) * 10.0, np.arange(1, channels + 1) / 2
    data = dict(inputs=images(channels, torch.float32), data_samples=None)
    found = ChannelDataPreprocessor(mean=mean.tolist(), std=std.tolist(), pad_size_divisor=8,
                                    bgr_to_rgb=swap)(data)['inputs']
    order = [2, 1, 0, *range(3, channels)] if swap else list(range(channels))
    assert found.shape == (2, channels, 8, 8)
    for padded, image in zip(found, images(channels)):
        height, width = image.shape[1:]
        expected = (image.numpy()[order] - mean[:, None, None]) / std[:, None, None]
        np.testing.assert_allclose(padded[:, :height, :width], expected, rtol=1e-6)
        assert not padded[:, height:].any() and not padded[:, :, width:].any()


@pytest.mark.parametrize('channels, options', [
    (3, dict(mean=[1, 2, 3], std=[4, 5, 6], bgr_to_rgb=True)), (1, dict(mean=[3], std=[2])),
    (3, dict(mean=[3], std=[2], rgb_to_bgr=True)), (3, dict())])
def test_as_mmdet_for_one_and_three(channels, options):
    data = dict(inputs=images(channels), data_samples=None)
    for ours, theirs in zip(ChannelDataPreprocessor(pad_size_divisor=4, **options)(data)['inputs'],
                            DetDataPreprocessor(pad_size_divisor=4, **options)(data)['inputs']):
        assert torch.equal(ours, theirs)


def test_fixed_size_of_five_channels():
    data = dict(inputs=images(5), data_samples=[])
    found = FixedSizeDataPreprocessor((33, 33), mean=[1] * 5, std=[2] * 5)(data)['inputs']
    assert found.shape == (2, 5, 33, 33)
    assert torch.equal(found[0, :, :5, :7], (images(5)[0].float() - 1) / 2)


@pytest.mark.parametrize('options, text', [
    (dict(mean=[1.0] * 5), 'has only one of mean and std'),
    (dict(mean=[1.0] * 5, std=[1.0] * 4), 'has 5 values of mean and 4 of std'),
    (dict(mean=[1.0] * 2, std=[1.0, 0.0]), r'std=\[1.0, 0.0\] must be positive')])
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=f'^model.data_preprocessor.*{text}'):
        ChannelDataPreprocessor(**options)
