"""Image files of all kinds are read as Pillow reads them, or refused with the reason."""
import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmpanseg.structures.image_file import ImageError, decode_image, read_header

from ..fuzz import cases

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
# color modes that each format stores
MODES = {'PNG': ('1', 'L', 'LA', 'P', 'RGB', 'RGBA'), 'JPEG': ('1', 'L', 'RGB', 'CMYK', 'YCbCr'),
         'BMP': ('1', 'L', 'P', 'RGB', 'RGBA'), 'WEBP': ('L', 'RGB', 'RGBA'),
         'TIFF': ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'YCbCr'),
         'PPM': ('1', 'L', 'RGB'), 'GIF': ('1', 'L', 'P')}


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize('kind, mode', [(k, mode) for k, modes in MODES.items() for mode in modes])
def test_as_pillow_reads_it(kind, mode):
    data = encode(PICTURE.convert(mode), kind)
    try:
        expected = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))
    except OSError as error:  # YCbCr of Pillow 12.3
        pytest.skip(f'Pillow cannot read what it wrote: {error}')
    found = decode_image(data, 'a').pixels[..., ::-1]
    assert found.dtype == np.uint8
    # conversions from CMYK and YCbCr round differently
    assert np.abs(found.astype(int) - expected).max() <= (1 if mode in ('CMYK', 'YCbCr') else 0)


@pytest.mark.parametrize('ending', ['.png', '.tiff'])
@pytest.mark.parametrize('channels', [1, 3])
def test_16_bits_are_read_as_their_upper_8(ending, channels):
    data = cv2.imencode(ending, PIXELS[..., :channels].astype(np.uint16) * 256 + 77)[1].tobytes()
    assert read_header(data).bits == 16
    expected = PIXELS[..., :channels].repeat(3 // channels, axis=2)
    # OpenCV divides the values of TIFFs with colors by 257, others by 256
    wrong = np.abs(decode_image(data, 'a').pixels.astype(int) - expected).max()
    assert wrong <= (1 if (ending, channels) == ('.tiff', 3) else 0)
    whole = decode_image(data, 'a', 'unchanged').pixels
    assert whole.dtype == np.uint16 and (whole & 255 == 77).all()


@pytest.mark.parametrize('color', ['color', 'grayscale', 'color_ignore_orientation'])
@pytest.mark.parametrize('values', [
    PIXELS / 255, PIXELS.astype(float), PIXELS[..., 0] / 255, PIXELS[..., 0].astype(float)])
def test_floats_are_not_scaled(values, color):
    data = cv2.imencode('.tiff', values.astype(np.float32))[1].tobytes()
    with pytest.raises(ImageError, match="a.tif has samples of 32 bits.*color_type='unchanged'"):
        decode_image(data, 'a.tif', color)
    if values.ndim == 2:
        assert np.array_equal(decode_image(data, 'a.tif', 'unchanged').pixels,
                              values.astype(np.float32))


def test_integers_of_16_bits_in_ppm():
    data = cv2.imencode('.pgm', PIXELS[..., 0].astype(np.uint16) * 256)[1].tobytes()
    assert read_header(data).bits == 16
    assert np.array_equal(decode_image(data, 'a').pixels[..., 0], PIXELS[..., 0])


@pytest.mark.parametrize('kind', ['PNG', 'GIF', 'WEBP', 'TIFF'])
def test_first_frame(kind):
    options = dict(lossless=True) if kind == 'WEBP' else {}
    other = Image.fromarray(255 - PIXELS)
    data = encode(PICTURE, kind, save_all=True, append_images=[other, PICTURE], **options)
    single = encode(PICTURE, kind, **options)
    assert read_header(data).frames == 3 and read_header(single).frames == 1
    assert np.array_equal(decode_image(data, 'a').pixels, decode_image(single, 'a').pixels)


@cases(100)
@given(kind=st.sampled_from([(k, mode) for k, modes in MODES.items() for mode in modes]),
       size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
       cut=st.floats(0, 1), changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)),
                                             max_size=4))
def test_damaged_files(kind, size, cut, changes):
    data = bytearray(encode(PICTURE.resize(size).convert(kind[1]), kind[0]))
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    data = bytes(data[:round(cut * len(data))] if cut < 0.5 else data)
    try:
        image = decode_image(data, 'name.of.file')
    except ImageError as error:
        assert 'name.of.file' in str(error) and '\n' not in str(error)
    else:
        assert image.pixels.dtype == np.uint8 and image.pixels.ndim == 3
        assert min(image.pixels.shape) > 0


@cases(100)
@given(data=st.one_of(st.binary(max_size=200), st.builds(
    lambda head, rest: head + rest, st.sampled_from(
        [b'\xff\xd8\xff\xe0', b'\x89PNG\r\n\x1a\n', b'II*\0', b'MM\0*', b'BM', b'GIF89a', b'P6\n',
         b'RIFF\0\0\0\0WEBP', b'P5 3 3 255\n', b'#?RADIANCE\n']), st.binary(max_size=200))))
def test_arbitrary_bytes(data):
    try:
        decode_image(data, 'name.of.file')
    except ImageError as error:
        assert 'name.of.file' in str(error)
