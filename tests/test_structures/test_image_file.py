"""Reading of image files: orientations in every format, depths, sizes."""
import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmpanseg.structures import image_file
from mmpanseg.structures.exif_orientation import ORIENTATIONS, apply_orientation
from mmpanseg.structures.image_file import (
    ImageError,
    decode_image,
    file_orientation,
    read_header,
    to_rgb_uint8,
)
from mmpanseg.structures.sample_image import match_loaded_image, read_sample_image

STORED = np.kron(np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8),
                 np.ones((16, 16, 1), np.uint8))
SETTINGS = dict(JPEG=dict(quality=100, subsampling=0), PNG={}, WEBP=dict(lossless=True), TIFF={})


def encode(kind, orientation, pixels=STORED):
    """RGB pixels as a file that asks to be turned."""
    file, settings = io.BytesIO(), dict(SETTINGS[kind])
    if kind == 'TIFF':
        settings['tiffinfo'] = {0x0112: orientation}
    else:
        settings['exif'] = Image.Exif()
        settings['exif'][0x0112] = orientation
    Image.fromarray(pixels).save(file, kind, **settings)
    return file.getvalue()


@pytest.mark.parametrize('kind', SETTINGS)
@pytest.mark.parametrize('orientation', ORIENTATIONS)
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_upright_in_every_format(kind, orientation, backend):
    data = encode(kind, orientation)
    assert read_header(data) == (kind, (48, 64), orientation, 8, 1)

    def differs(color_type, expected):
        image = decode_image(data, 'x', color_type, backend)
        assert image.pixels.shape[:2] == expected.shape[:2]
        return np.abs(image.pixels[..., ::-1].astype(int) - expected).max(), image.orientation
    # JPEG is not exact
    difference, turned = differs('color', apply_orientation(STORED, orientation))
    assert difference <= 6 and turned == orientation
    for color_type in ('color_ignore_orientation', 'unchanged'):
        difference, turned = differs(color_type, STORED)
        assert difference <= 6 and turned == 1
    gray = decode_image(data, 'x', 'grayscale', backend).pixels
    assert gray.shape == apply_orientation(STORED, orientation).shape[:2]


@pytest.mark.parametrize('value', [0, 9, 77])
def test_orientations_that_are_none(value):
    assert decode_image(encode('PNG', value), 'x').orientation == 1


def test_without_header(tmp_path):
    (tmp_path / 'text.jpg').write_text('no image')
    assert read_header(b'no image') is None and file_orientation(str(tmp_path / 'text.jpg')) == 1
    assert file_orientation('nowhere.jpg') == 1 and file_orientation(None) == 1
    for data in (b'', b'no image', encode('PNG', 1)[:60]):
        with pytest.raises(ImageError, match='a.jpg cannot be read as an image'):
            decode_image(data, 'a.jpg')


def test_depth():
    deep = STORED[..., 0].astype(np.uint16) * 16
    for ending in ('.png', '.tiff'):
        for pixels in (deep, np.dstack([deep] * 3)):
            data = cv2.imencode(ending, pixels)[1].tobytes()
            header = read_header(data)
            assert header is None or header.bits == 16
            np.testing.assert_array_equal(decode_image(data, 'x', 'unchanged').pixels, pixels)
    file = io.BytesIO()
    Image.fromarray(STORED[..., 0].astype(np.float32) / 255).save(file, 'TIFF')
    with pytest.raises(ImageError, match="depth.tif has samples of 32 bits.*'unchanged'"):
        decode_image(file.getvalue(), 'depth.tif')
    np.testing.assert_array_equal(decode_image(file.getvalue(), 'x', 'unchanged').pixels,
                                  STORED[..., 0].astype(np.float32) / 255)


def huge_png(side, rows=None):
    """A PNG of side x side black pixels, made row by row; with fewer rows it is broken."""
    packer = zlib.compressobj(9)
    row = bytes(1 + side)
    rows = b''.join(packer.compress(row) for _ in range(rows or side)) + packer.flush()

    def chunk(name, content):
        return (len(content).to_bytes(4, 'big') + name + content
                + zlib.crc32(name + content).to_bytes(4, 'big'))
    head = side.to_bytes(4, 'big') * 2 + b'\x08\x00\x00\x00\x00'
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', rows)
            + chunk(b'IEND', b''))


def test_decompression_bombs(monkeypatch):
    def decoded(*args, **kwargs):
        raise AssertionError('was decoded')
    bomb = huge_png(9000)
    assert len(bomb) < 100_000
    with monkeypatch.context() as patch:
        patch.setattr(image_file.mmcv, 'imfrombytes', decoded)
        with pytest.raises(ImageError, match='b.png has 9000x9000 pixels, implausibly many for a '
                                             'file of .* MMPANSEG_MAX_IMAGE_PIXELS'):
            decode_image(bomb, 'b.png')
        small = huge_png(600)
        patch.setenv('MMPANSEG_MAX_IMAGE_PIXELS', '1000')
        with pytest.raises(ImageError, match='has 600x600 pixels, more than .*=1000'):
            decode_image(small, 'b.png')
        patch.delenv('MMPANSEG_MAX_IMAGE_PIXELS')
        with pytest.raises(ImageError, match='has 60000x60000 pixels, more than 1073741824'):
            decode_image(huge_png(60000, rows=1), 'b.png')
    assert decode_image(small, 'b.png').pixels.shape == (600, 600, 3)
    monkeypatch.setenv('MMPANSEG_MAX_IMAGE_PIXELS', '100000000')
    assert decode_image(bomb, 'b.png', 'grayscale').pixels.shape == (9000, 9000)


def test_pictures(tmp_path):
    path = str(tmp_path / 'a.webp')
    (tmp_path / 'a.webp').write_bytes(encode('WEBP', 6))
    seen = apply_orientation(STORED, 6)
    np.testing.assert_array_equal(read_sample_image(dict(img_path=path, img_orientation=6)), seen)
    np.testing.assert_array_equal(read_sample_image(dict(img_path=path)), seen)
    np.testing.assert_array_equal(read_sample_image(dict(img_path=path, img_orientation=1)), STORED)
    # OpenCV does not turn this format
    sample = dict(img_path=path, img_orientation=6)
    np.testing.assert_array_equal(match_loaded_image(cv2.imread(path)[..., ::-1], sample), seen)
    other = np.zeros((5, 5, 3), np.uint8)
    assert match_loaded_image(other, sample) is other
    assert match_loaded_image(other, dict(img_path=None)) is other

    values = np.array([[0, 2048], [4095, 1024]], np.uint16)
    cv2.imwrite(str(tmp_path / 'deep.png'), values)
    expected = (values.astype(float) * 255 / 4095).astype(np.uint8)
    shown = read_sample_image(dict(img_path=str(tmp_path / 'deep.png')))
    np.testing.assert_array_equal(shown, np.dstack([expected] * 3))
    assert to_rgb_uint8(np.zeros((2, 2, 4), np.uint8)).shape == (2, 2, 3)
