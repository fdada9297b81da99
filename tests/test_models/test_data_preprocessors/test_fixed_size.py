"""Padding to a fixed size after normalization."""
import pytest
import torch
from mmdet.structures import DetDataSample

from mmpanseg.models.data_preprocessors import FixedSizeDataPreprocessor

OPTIONS = dict(mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True)


def batch(*sizes):
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]
    return dict(inputs=images, data_samples=[
        DetDataSample(metainfo=dict(img_shape=size)) for size in sizes])


def assert_padded(found, images, size):
    """Normalized images at the top left, exact zeros elsewhere."""
    assert found.shape == (len(images), 3, *size)
    for padded, image in zip(found, images, strict=True):
        height, width = image.shape[1:]
        expected = torch.zeros(3, *size)
        expected[:, :height, :width] = (image.flip(0) - 127.5) / 127.5
        torch.testing.assert_close(padded, expected)
        assert not padded[expected == 0].any()


def test_smaller_images_are_padded_with_exact_zeros():
    data = batch((30, 20), (33, 40))
    images = data['inputs']
    out = FixedSizeDataPreprocessor((65, 97), **OPTIONS)(data)
    assert_padded(out['inputs'], images, (65, 97))
    for image, sample in zip(images, out['data_samples']):
        assert sample.batch_input_shape == (65, 97) and sample.img_shape == image.shape[1:]


@pytest.mark.parametrize('size, padded', [
    ((65, 97), (65, 97)), ((66, 30), (97, 97)), ((10, 98), (65, 129)), ((97, 129), (97, 129))])
def test_larger_images(size, padded):
    data = batch(size)
    out = FixedSizeDataPreprocessor((65, 97), **OPTIONS)(data)
    assert_padded(out['inputs'], data['inputs'], padded)


def test_pixels_that_are_not_real_are_zero():
    data = batch((8, 9))
    real = torch.rand(8, 9) < 0.5
    data['data_samples'][0].real_pixels = real
    out = FixedSizeDataPreprocessor((33, 33), **OPTIONS)(data, training=True)['inputs'][0]
    expected = (data['inputs'][0].flip(0) - 127.5) / 127.5
    assert torch.allclose(out[:, :8, :9][:, real], expected[:, real])
    assert (out[:, :8, :9][:, ~real] == 0).all()


def test_without_samples():
    images = batch((5, 6))['inputs']
    out = FixedSizeDataPreprocessor((33, 33), **OPTIONS)(dict(inputs=images))
    assert_padded(out['inputs'], images, (33, 33))


def test_no_size_takes_the_next_one_that_fits():
    data = batch((30, 65), (33, 40))
    out = FixedSizeDataPreprocessor(None, **OPTIONS)(data)
    assert_padded(out['inputs'], data['inputs'], (33, 65))
