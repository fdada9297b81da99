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


def test_smaller_images_are_padded_with_exact_zeros():
    data = batch((30, 20), (33, 40))
    images = data['inputs']
    out = FixedSizeDataPreprocessor((65, 97), **OPTIONS)(data)
    assert out['inputs'].shape == (2, 3, 65, 97)
    for padded, image, sample in zip(out['inputs'], images, out['data_samples']):
        height, width = image.shape[1:]
        assert torch.allclose(padded[:, :height, :width], (image.flip(0) - 127.5) / 127.5)
        assert padded[:, height:].abs().max() == padded[..., width:].abs().max() == 0
        assert sample.batch_input_shape == (65, 97) and sample.img_shape == (height, width)


@pytest.mark.parametrize('size, padded', [
    ((65, 97), (65, 97)), ((66, 30), (97, 97)), ((10, 98), (65, 129)), ((97, 129), (97, 129))])
def test_larger_images(size, padded):
    out = FixedSizeDataPreprocessor((65, 97), **OPTIONS)(batch(size))
    assert out['inputs'].shape[-2:] == padded


def test_pixels_that_are_not_real_are_zero():
    data = batch((8, 9))
    real = torch.rand(8, 9) < 0.5
    data['data_samples'][0].real_pixels = real
    out = FixedSizeDataPreprocessor((33, 33), **OPTIONS)(data, training=True)['inputs'][0]
    expected = (data['inputs'][0].flip(0) - 127.5) / 127.5
    assert torch.allclose(out[:, :8, :9][:, real], expected[:, real])
    assert (out[:, :8, :9][:, ~real] == 0).all()


def test_without_samples():
    out = FixedSizeDataPreprocessor((33, 33), **OPTIONS)(
        dict(inputs=[torch.zeros(3, 5, 6, dtype=torch.uint8)]))
    assert out['inputs'].shape == (1, 3, 33, 33)


def test_no_size_takes_the_next_one_that_fits():
    out = FixedSizeDataPreprocessor(None, **OPTIONS)(batch((30, 65), (33, 40)))
    assert out['inputs'].shape == (2, 3, 33, 65)
