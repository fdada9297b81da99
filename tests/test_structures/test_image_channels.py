"""Images with any number of channels, against what other libraries wrote."""
import io
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from mmpanseg.structures.image_channels import (
    as_channels,
    channels_of_picture,
    channels_to_rgb,
    decode_channels,
)
from mmpanseg.structures.image_file import ImageError
from mmpanseg.structures.sample_image import read_sample_image


def values(channels, dtype=np.uint8, seed=0):
    limit = 256 if dtype == np.uint8 else 30000
    return np.random.default_rng(seed).integers(0, limit, (9, 7, channels)).astype(dtype)


def encode(pixels, kind='PNG', **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def tiff(pixels, **options):
    tifffile = pytest.importorskip('tifffile', reason='reads TIFF of many channels')
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def array(pixels):
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_png_of_pillow(channels):
    pixels = values(channels)
    found = decode_channels(encode(pixels[..., 0] if channels == 1 else pixels), 'a.png').pixels
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)


def test_png_of_16_bits():
    pixels = values(4, np.uint16)
    # OpenCV writes B, G, R, A
    for count, stored in ((1, pixels[..., 0]), (3, pixels[..., 2::-1]),
                          (4, pixels[..., [2, 1, 0, 3]])):
        data = cv2.imencode('.png', stored)[1].tobytes()
        found = decode_channels(data, 'a.png').pixels
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, pixels[..., :count])


def test_palettes_are_colors():
    picture = Image.fromarray(values(3)[..., 0] % 4).convert('P')
    picture.putpalette([k * 3 % 256 for k in range(768)])
    file = io.BytesIO()
    picture.save(file, 'PNG')
    np.testing.assert_array_equal(decode_channels(file.getvalue(), 'a.png').pixels,
                                  np.asarray(picture.convert('RGB')))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize('channels', [1, 3, 4, 5, 9])
def test_tiff_of_tifffile(channels, dtype):
    pixels = values(channels, dtype)
    layouts = [dict(photometric='minisblack', planarconfig='contig')]
    if channels == 3 and dtype in (np.uint8, np.uint16):
        layouts.append(dict(photometric='rgb'))
    for options in layouts:
        data = tiff(pixels if channels > 1 else pixels[..., 0], **options)
        found = decode_channels(data, 'a.tif').pixels
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, pixels)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if channels > 1:
        for options in (dict(photometric='minisblack', planarconfig='separate'),
                        dict(photometric='minisblack')):  # the latter are pages
            np.testing.assert_array_equal(
                decode_channels(tiff(planes, **options), 'a.tif').pixels, pixels)


def test_pages_without_tifffile(monkeypatch):
    pixels = values(5, np.uint16)
    data = tiff(np.ascontiguousarray(pixels.transpose(2, 0, 1)), photometric='minisblack')
    samples = tiff(pixels, photometric='minisblack', planarconfig='contig')
    colors = encode(values(3), 'TIFF')
    import sys
    monkeypatch.setitem(sys.modules, 'tifffile', None)
    np.testing.assert_array_equal(decode_channels(data, 'a.tif').pixels, pixels)
    np.testing.assert_array_equal(decode_channels(colors, 'a.tif').pixels, values(3))
    with pytest.raises(ImageError, match='^b.tif is a TIFF .* pip install tifffile'):
        decode_channels(samples, 'b.tif')


def test_smaller_copies_of_a_page_are_left_out():
    tifffile = pytest.importorskip('tifffile')
    file, pixels = io.BytesIO(), values(2)
    with tifffile.TiffWriter(file) as writer:
        writer.write(pixels[..., 0], photometric='minisblack')
        writer.write(pixels[::2, ::2, 0], photometric='minisblack', subfiletype=1)
        writer.write(pixels[..., 1], photometric='minisblack')
    np.testing.assert_array_equal(decode_channels(file.getvalue(), 'a.tif').pixels, pixels)


def test_orientation_of_a_tiff_of_many_channels():
    pixels = values(5, np.uint16)
    data = tiff(pixels, photometric='minisblack', planarconfig='contig',
                extratags=[(274, 'H', 1, 8, True)])
    image = decode_channels(data, 'a.tif')
    assert image.orientation == 8
    np.testing.assert_array_equal(image.pixels, np.rot90(pixels))


def test_pages_of_other_sizes():
    tifffile = pytest.importorskip('tifffile')
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(values(1)[..., 0], photometric='minisblack')
        writer.write(values(1)[:4, :, 0], photometric='minisblack')
    with pytest.raises(ImageError, match='^a.tif: .*page 0 is 7x9, page 1 7x4'):
        decode_channels(file.getvalue(), 'a.tif')


@pytest.mark.parametrize('dtype, kept', [
    (np.uint8, np.uint8), (np.uint16, np.uint16), (np.int16, np.int16), (np.float32, np.float32),
    (np.float64, np.float32), (np.int64, np.float32), (np.float16, np.float32)])
def test_arrays_of_numpy(dtype, kept):
    pixels = values(5, dtype)
    found = decode_channels(array(pixels), 'a.npy').pixels
    assert found.dtype == kept
    np.testing.assert_array_equal(found, pixels.astype(kept))
    first = decode_channels(array(pixels.transpose(2, 0, 1)), 'a.npy', channels_first=True)
    np.testing.assert_array_equal(first.pixels, pixels.astype(kept))
    file = io.BytesIO()
    np.savez_compressed(file, other=1, image=pixels)
    np.testing.assert_array_equal(decode_channels(file.getvalue(), 'a.npz').pixels,
                                  pixels.astype(kept))
    assert decode_channels(array(pixels[..., 0]), 'a.npy').pixels.shape == (9, 7, 1)
    assert decode_channels(array(pixels[..., 0] > 3), 'a.npy').pixels.max() == 1


def test_orientation_turns_all_channels():
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = values(4)
    data = encode(pixels, exif=exif)
    image = decode_channels(data, 'a.png')
    assert image.orientation == 6
    np.testing.assert_array_equal(image.pixels, np.rot90(pixels, -1))


BROKEN = np.ones((9, 7, 5), np.float32)
BROKEN[2, 3, 1], BROKEN[0, 0, 0] = np.nan, np.inf


@pytest.mark.parametrize('data, text', [
    (array(BROKEN), 'x has 2 values that are NaN or infinite: replace them'),
    (array(np.ones((5, 90, 100))), r'x has 100 channels and 5 rows: .*channels_first=True'),
    (array(np.ones((2, 5, 9, 7))), r'x has the shape \[2, 5, 9, 7\]: an image is'),
    (array(np.ones((9, 7), complex)), 'x has values of the type complex128'),
    (array(values(5))[:200], 'x cannot be read as an array: the file is damaged'),
    (b'PK\x03\x04 no archive', 'x cannot be read as an array'),
    (b'II*\0 no tiff at all', 'x cannot be read as a TIFF'),
    (b'nothing', 'x cannot be read as an image')])
def test_bad_files_are_named(data, text):
    with pytest.raises(ImageError, match=f'^{text}') as caught:
        decode_channels(data, 'x')
    assert '\n' not in str(caught.value)


def test_code_in_arrays_is_not_executed():
    file = io.BytesIO()
    np.save(file, np.array([dict()], object), allow_pickle=True)
    with pytest.raises(ImageError, match='holds objects'):
        decode_channels(file.getvalue(), 'x.npy')


def test_several_arrays_without_a_known_name():
    file = io.BytesIO()
    np.savez(file, a=1, b=2)
    with pytest.raises(ImageError, match="holds the arrays a, b: name that of the image 'image'"):
        decode_channels(file.getvalue(), 'x.npz')


def test_pil_images():
    for mode, channels in (('L', 1), ('LA', 2), ('RGB', 3), ('RGBA', 4), ('I;16', 1), ('F', 1)):
        pixels = values(channels, dict(F=np.float32).get(mode, np.uint8))
        pixels = pixels.astype(np.uint16) if mode == 'I;16' else pixels
        picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        np.testing.assert_array_equal(channels_of_picture(picture, 'x'), pixels)


def test_pictures_show_chosen_channels(tmp_path):
    pixels = values(5)
    np.testing.assert_array_equal(channels_to_rgb(pixels), pixels[..., :3])
    np.testing.assert_array_equal(channels_to_rgb(pixels, (4, 0, 2)), pixels[..., [4, 0, 2]])
    np.testing.assert_array_equal(channels_to_rgb(pixels, (3, )), pixels[..., [3, 3, 3]])
    np.testing.assert_array_equal(channels_to_rgb(pixels[..., :2]), pixels[..., [0, 0, 0]])
    # of more bits: the range of each channel, without its extreme percent
    deep = np.linspace(100, 4000, 10001).reshape(-1, 1, 1).astype(np.uint16)
    shown = channels_to_rgb(deep)[:, 0, 0]
    assert shown[100] == 0 and shown[-101] in (254, 255)
    assert abs(int(shown[5000]) - 127) <= 1
    assert (channels_to_rgb(np.full((3, 3, 1), 9, np.uint16)) == 0).all()
    np.save(tmp_path / 'a.npy', pixels)
    sample = dict(img_path=str(tmp_path / 'a.npy'))
    np.testing.assert_array_equal(read_sample_image(sample), pixels[..., :3])
    sample['drawn_channels'] = dict(channels=(2, 1, 4), channels_first=False)
    np.testing.assert_array_equal(read_sample_image(sample), pixels[..., [2, 1, 4]])


def test_arrays_given_by_a_user():
    assert as_channels(np.zeros((4, 5), bool), 'x').dtype == np.uint8
    with pytest.raises(ImageError, match=r'shape \[0, 5\]'):
        as_channels(np.zeros((0, 5)), 'x')
