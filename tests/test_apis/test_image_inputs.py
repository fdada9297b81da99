"""Inputs of an inferencer that are no paths, and folders."""
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmpanseg.apis import ImageError, image_inputs
from mmpanseg.apis.image_inputs import list_images, to_array

BGR = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
RGB = np.ascontiguousarray(BGR[..., ::-1])


def encoded(ending, pixels):
    return cv2.imencode(ending, pixels)[1].tobytes()


@pytest.mark.parametrize('image, color_type, expected', [
    (Image.fromarray(RGB), 'color', BGR),
    (Image.fromarray(BGR[..., 0]), 'color', np.dstack([BGR[..., 0]] * 3)),
    (Image.fromarray(BGR[..., 0]), 'grayscale', BGR[..., 0]),
    (Image.fromarray(np.dstack([RGB, BGR[..., 0]])), 'color', BGR),
    (Image.fromarray(np.dstack([RGB, BGR[..., 0]])), 'unchanged', np.dstack([BGR, BGR[..., 0]])),
    (Image.fromarray(BGR[..., 0] > 99), 'grayscale', (BGR[..., 0] > 99) * np.uint8(255)),
    (Image.fromarray(BGR[..., 0].astype(np.uint16) * 256 + 7), 'grayscale', BGR[..., 0]),
    (Image.fromarray(BGR[..., 0].astype(np.uint16) * 9), 'unchanged',
     BGR[..., 0].astype(np.uint16) * 9),
    (Image.fromarray(BGR[..., 0].astype(np.float32)), 'unchanged',
     BGR[..., 0].astype(np.float32)),
    (encoded('.png', BGR), 'color', BGR),
    (encoded('.png', BGR[..., 0]), 'grayscale', BGR[..., 0])])
def test_pixels_of_images_in_memory(image, color_type, expected):
    pixels = to_array(image, color_type)
    assert pixels.dtype == expected.dtype
    np.testing.assert_array_equal(pixels, expected)


def test_palettes_and_ink():
    palette = Image.fromarray(RGB).quantize(8)
    np.testing.assert_array_equal(to_array(palette)[..., ::-1], np.asarray(palette.convert('RGB')))
    ink = Image.fromarray(RGB).convert('CMYK')
    np.testing.assert_array_equal(to_array(ink), BGR)
    for image in (Image.fromarray(BGR[..., 0].astype(np.float32)),
                  Image.fromarray(BGR[..., 0].astype(np.int32))):
        with pytest.raises(TypeError, match='is not taken; give uint8'):
            to_array(image)


@pytest.mark.parametrize('make, error, text', [
    (lambda bgr: bgr / 255, TypeError, 'float64 is not taken'),
    (lambda bgr: bgr.transpose(2, 0, 1), ValueError, 'put the channels last'),
    (lambda bgr: torch.from_numpy(bgr), TypeError, 'torch tensors are not accepted; give uint8'),
    (lambda bgr: [torch.from_numpy(bgr)], TypeError, 'torch tensors are not accepted'),
    (lambda bgr: dict(img=bgr), TypeError, 'dict is not accepted; give image files'),
    (lambda bgr: 7, TypeError, 'int is not accepted'),
    (lambda bgr: None, TypeError, 'NoneType is not accepted'),
    (lambda bgr: io.StringIO('text'), TypeError, 'must be in binary mode'),
    (lambda bgr: b'no image', ImageError, 'the given image of 8 bytes cannot be read')])
def test_inputs_that_are_no_images(make, error, text):
    with pytest.raises(error, match=text):
        for image in list_images(make(BGR)):
            to_array(image)


def test_folders(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(image_inputs, 'print_log', lambda text, **_: said.append(text))
    for name in ('a.PNG', 'b.Jpeg', 'c.tif', 'notes.txt', '._a.png'):
        (tmp_path / name).touch()
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'sub/d.png').touch()
    assert [Path(p).name for p in list_images(tmp_path)] == ['a.PNG', 'b.Jpeg', 'c.tif']
    assert len(said) == 1 and '1 of 4 files have no suffix of images' in said[0]
    assert 'notes.txt' in said[0]
    for name in ('a.PNG', 'b.Jpeg', 'c.tif'):
        (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=r'none of its 1 files .* its subfolders have 1: '
                                                r"give the pattern '.*/\*\*/\*'"):
        list_images(tmp_path)
