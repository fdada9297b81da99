"""Checks of image files: each planted mistake is found, with its place, and nothing else."""
import io

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from mmpanseg.doctor.pixels.inspect_image import inspect_image
from mmpanseg.doctor.pixels.perceptual_hash import SIDE, perceptual_hash
from mmpanseg.doctor.pixels.png_file import PALETTE, RGBA, read_png
from mmpanseg.doctor.problem import Severity
from mmpanseg.doctor.source import ImageRecord, Options, Source

from ..planted_mistakes import encode, jpg, photo, png, rotated

SOURCE = Source('train', 'panoptic', 'a.json', 'images', 'maps')
PHOTO = photo(np.random.default_rng(1), 60, 90)


def inspect(path, data, source=SOURCE, options=None, **record):
    path.write_bytes(data)
    record = dict(image_id=7, file_name=path.name, path=str(path)) | record
    return inspect_image(ImageRecord(**record), source, options or Options())


def checks_of(findings):
    assert all((p.split, p.image_id) == ('train', 7) for p in findings.problems)
    return [(p.check, p.severity) for p in findings.problems]


@pytest.mark.parametrize(('name', 'array', 'form'), [
    ('a.jpg', PHOTO, 'JPEG'), ('a.JPEG', PHOTO, 'JPEG'), ('a.png', PHOTO, 'PNG'),
    ('a.bmp', PHOTO, 'BMP'), ('a.webp', PHOTO, 'WEBP'), ('a.tif', PHOTO, 'TIFF'),
    ('a.png', np.dstack([PHOTO, np.full((60, 90), 255, np.uint8)]), 'PNG')])
def test_clean_files(tmp_path, name, array, form):
    data = encode(array, form)
    findings = inspect(tmp_path / name, data, height=60, width=90)
    assert findings.problems == []
    statistics = findings.statistics
    assert statistics.size == (60, 90) and statistics.depth == 8
    assert statistics.channels == array.shape[2] and len(statistics.digest) == 32


def cmyk():
    return Image.fromarray(PHOTO).convert('CMYK')


def saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def flipped(data):
    """Change one bit in the middle."""
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 4
    return bytes(damaged)


@pytest.mark.parametrize(('name', 'data', 'check', 'severity', 'text'), [
    ('a.jpg', b'', 'PAN101', 3, 'no content'),
    ('a.jpg', jpg(PHOTO)[:-300], 'PAN102', 3, 'truncated'),
    ('a.png', png(PHOTO)[:-300], 'PAN102', 3, 'in the middle'),
    ('a.png', flipped(png(PHOTO)), 'PAN102', 3, 'checksum'),
    ('a.jpg', b'<!DOCTYPE html><html>', 'PAN103', 3, 'a web page'),
    ('a.jpg', b'version https://git-lfs.github.com/spec/v1', 'PAN103', 3, 'Git LFS'),
    ('a.jpg', b'some text', 'PAN103', 3, 'no format'),
    ('a.jpg', png(PHOTO), 'PAN104', 2, 'ends in .jpg, and the content is PNG'),
    ('a.png', jpg(PHOTO), 'PAN104', 2, 'the content is JPEG'),
    ('a.png', png(np.dstack([PHOTO, PHOTO[..., :1]])), 'PAN110', 1, 'transparent'),
    ('a.tif', saved(Image.fromarray(PHOTO), 'TIFF', save_all=True,
                    append_images=[Image.fromarray(PHOTO)]), 'PAN111', 1, '2 frames'),
    ('a.png', cv2.imencode('.png', PHOTO.astype(np.uint16) << 8)[1].tobytes(), 'PAN112', 2,
     '16 bits'),
    ('a.tif', cv2.imencode('.tif', PHOTO.astype(np.float32))[1].tobytes(), 'PAN112', 3, '32 bits'),
    ('a.jpg', jpg(PHOTO[..., 0]), 'PAN113', 1, 'one channel'),
    ('a.jpg', saved(cmyk(), 'JPEG'), 'PAN114', 2, 'CMYK'),
    ('a.png', png(np.full((60, 90, 3), 7, np.uint8)), 'PAN115', 2, 'equal'),
    ('a.jpg', jpg(np.full((60, 90, 3), 7, np.uint8)), 'PAN115', 2, 'equal')])
def test_one_mistake(tmp_path, name, data, check, severity, text):
    findings = inspect(tmp_path / name, data)
    assert checks_of(findings) == [(check, Severity(severity))]
    problem, = findings.problems
    assert text in problem.text and problem.file == name
    readable = check not in ('PAN101', 'PAN102', 'PAN103')
    assert (findings.statistics.size == (60, 90)) is readable


def test_a_missing_file(tmp_path):
    findings = inspect_image(ImageRecord(7, 'a.jpg', str(tmp_path / 'a.jpg')), SOURCE, Options())
    assert checks_of(findings) == [('PAN031', Severity.ERROR)] and not findings.statistics.digest


def test_a_folder_instead_of_a_file(tmp_path):
    findings = inspect_image(ImageRecord(7, 'a', str(tmp_path)), SOURCE, Options())
    assert checks_of(findings) == [('PAN116', Severity.ERROR)]


def test_limits_of_pixels(tmp_path, monkeypatch):
    assert checks_of(inspect(tmp_path / 'a.jpg', jpg(PHOTO), options=Options(5399))) == [
        ('PAN108', Severity.WARNING)]
    assert checks_of(inspect(tmp_path / 'a.jpg', jpg(PHOTO), options=Options(5400))) == []
    monkeypatch.setenv('MMPANSEG_MAX_IMAGE_PIXELS', '5000')
    assert checks_of(inspect(tmp_path / 'a.jpg', jpg(PHOTO))) == [('PAN109', Severity.ERROR)]


@pytest.mark.parametrize(('orientation', 'size', 'expected'), [
    (1, (60, 90), []), (1, (90, 60), ['PAN105']), (1, (61, 90), ['PAN105']),
    (6, (60, 90), ['PAN106']), (6, (90, 60), ['PAN107']), (6, (61, 90), ['PAN105']),
    (3, (60, 90), ['PAN117'])])
def test_size_and_orientation_of_objects(tmp_path, orientation, size, expected):
    source = Source('train', 'instance', 'a.json', 'images')
    mask = dict(id=1, category_id=1, segmentation=[[5, 5, 50, 5, 50, 50]])
    findings = inspect(tmp_path / 'a.jpg', jpg(PHOTO, **rotated(orientation)), source,
                       height=size[0], width=size[1], annotations=(mask, ))
    assert [p.check for p in findings.problems] == expected
    upright = (60, 90) if orientation in (1, 3) else (90, 60)
    assert findings.statistics.size == upright


def test_declared_upright_annotations_are_no_question(tmp_path):
    source = Source('train', 'instance', 'a.json', 'images', upright_annotations=True)
    mask = dict(id=1, category_id=1, segmentation=[[5, 5, 50, 5, 50, 50]])
    assert not inspect(tmp_path / 'a.jpg', jpg(PHOTO, **rotated(3)), source, height=60, width=90,
                       annotations=(mask, )).problems


def test_channels_that_are_loaded_as_they_are(tmp_path):
    source = Source('train', 'panoptic', 'a.json', 'images', 'maps', color_type='channels')
    array = np.random.default_rng(0).integers(0, 4096, (60, 90, 5)).astype(np.uint16)
    file = io.BytesIO()
    np.save(file, array)
    findings = inspect(tmp_path / 'a.npy', file.getvalue(), source, height=60, width=90)
    assert findings.problems == []
    assert (findings.statistics.channels, findings.statistics.depth) == (5, 16)
    file = io.BytesIO()
    np.save(file, array.transpose(2, 0, 1))
    first = Source('train', 'panoptic', 'a.json', 'images', 'maps', color_type='channels',
                   channels_first=True)
    assert inspect(tmp_path / 'a.npy', file.getvalue(), first).statistics.size == (60, 90)


def test_chunks_of_png_files():
    assert read_png(png(PHOTO))[:3] == (8, 2, False)
    assert read_png(png(np.dstack([PHOTO, PHOTO[..., :1]])))[:3] == (8, RGBA, True)
    palette = Image.fromarray(PHOTO).quantize(8)
    assert read_png(saved(palette, 'PNG', transparency=1))[:3] == (4, PALETTE, True)
    data = png(PHOTO)
    assert all(read_png(data[:k]).damage for k in range(8, len(data)))


def test_hash_has_the_signs_of_the_lowest_frequencies():
    gray = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(float)
    spectrum = dctn(gray, norm='ortho')
    order = sorted((u + v, u, v) for u in range(SIDE) for v in range(SIDE))[1:65]
    values = [spectrum[u, v] for _, u, v in order]
    bits = ''.join('01'[int(value > np.median(values))] for value in values)
    assert perceptual_hash(gray) == int(bits, 2) and bits.count('1') == 32
    assert perceptual_hash(np.full((SIDE, SIDE), 9.)) is None


def test_look_alikes_have_near_hashes(tmp_path):
    def code(pixels, name='a.jpg', **options):
        data = png(pixels) if name.endswith('png') else jpg(pixels, **options)
        return inspect(tmp_path / name, data).statistics.perceptual_hash

    image = photo(np.random.default_rng(2), 240, 360)
    plain = code(image)
    upright = np.ascontiguousarray(np.rot90(image, -1))
    stored = code(np.rot90(upright), **rotated(6))
    for other in (code(cv2.resize(image, (180, 120))), code(image, 'a.png')):
        assert (plain ^ other).bit_count() <= 2
    assert (code(upright) ^ stored).bit_count() <= 2
    assert (plain ^ code(photo(np.random.default_rng(3), 240, 360))).bit_count() > 16
    assert (plain ^ stored).bit_count() > 16


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP', 'GIF', 'PPM'])
def test_damage_of_any_kind_is_no_error(tmp_path, form):
    data, generator = encode(PHOTO[:20, :30], form), np.random.default_rng(0)
    for number in range(12):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data) if number % 2 else 60, 6):
            damaged[place] = generator.integers(256)
        if number % 3 == 0:
            del damaged[generator.integers(len(damaged)):]
        findings = inspect(tmp_path / 'a.jpg', bytes(damaged))
        assert findings.statistics.size is not None or findings.problems
