"""Reading and writing of panoptic PNGs, against PIL and arithmetic on the channels."""
import numpy as np
import pytest
from PIL import Image

from mmpanseg.structures.panoptic_png import read_panoptic_png, write_panoptic_png


def _random_rgb(seed: int = 0, size: tuple = (7, 11)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def _ids(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.int64) @ [1, 256, 65536]


def test_read_matches_pil(tmp_path):
    rgb = _random_rgb()
    Image.fromarray(rgb).save(tmp_path / 'a.png')
    ids = read_panoptic_png(tmp_path / 'a.png')
    assert ids.dtype == np.int32 and ids.flags.c_contiguous
    assert np.array_equal(ids, _ids(rgb))
    assert np.array_equal(read_panoptic_png(str(tmp_path / 'a.png')), ids)


def test_write_matches_pil(tmp_path):
    rgb = _random_rgb(1)
    write_panoptic_png(tmp_path / 'new' / 'b.png', _ids(rgb))
    assert np.array_equal(np.array(Image.open(tmp_path / 'new' / 'b.png')), rgb)


def test_palette_file_is_read_as_colors(tmp_path):
    rgb = np.kron(_random_rgb(2, (2, 3)), np.ones((4, 4, 1), np.uint8))
    Image.fromarray(rgb).convert('P', palette=Image.Palette.ADAPTIVE).save(tmp_path / 'p.png')
    expected = _ids(np.array(Image.open(tmp_path / 'p.png').convert('RGB')))
    assert np.array_equal(read_panoptic_png(tmp_path / 'p.png'), expected)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.png'):
        read_panoptic_png(tmp_path / 'nowhere.png')


@pytest.mark.parametrize('damage', ['empty', 'text', 'header', 'half', 'end', 'flipped'])
def test_damaged_file(tmp_path, damage):
    path = tmp_path / 'broken.png'
    Image.fromarray(_random_rgb(3, (40, 40))).save(path)
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1:]
    path.write_bytes(dict(empty=b'', text=b'no image', header=data[:20],
                          half=data[:middle], end=data[:-20], flipped=flipped)[damage])
    with pytest.raises(ValueError, match='broken.png'):
        read_panoptic_png(path)


@pytest.mark.parametrize('alpha', [0, 128, 255])
def test_transparency_does_not_count(tmp_path, alpha):
    """As in the official evaluation, which takes the first three of PIL's channels."""
    rgba = np.dstack([_random_rgb(), np.full((7, 11), alpha, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / 'a.png')
    expected = _ids(np.array(Image.open(tmp_path / 'a.png'))[..., :3])
    assert np.array_equal(read_panoptic_png(tmp_path / 'a.png'), expected)


@pytest.mark.parametrize('mode', ['L', 'LA', 'I;16'])
def test_other_pixel_formats(tmp_path, mode):
    Image.new(mode, (4, 5)).save(tmp_path / 'gray.png')
    with pytest.raises(ValueError, match='gray.png is not an 8-bit RGB image'):
        read_panoptic_png(tmp_path / 'gray.png')
