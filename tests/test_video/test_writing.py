"""Overlay videos, read again with OpenCV."""
import resource

import numpy as np
import pytest

from mmpanseg.utils.atomic_files import FileWriteError
from mmpanseg.video import video_file

from ..videos import read_video

GRAY = np.linspace(40, 200, 6).astype(np.uint8)


@pytest.mark.parametrize('size, stored', [
    ((48, 64), (48, 64)), ((49, 65), (50, 66)), ((1, 3), (2, 4)), ((33, 20), (34, 20))])
@pytest.mark.parametrize('count', [1, 6])
def test_rate_count_size_and_colors(tmp_path, size, stored, count):
    path = tmp_path / 'new/a.mp4'
    with video_file(path, 12.5) as video:
        for number in range(count):
            video.write(np.full((*size, 3), (GRAY[number], 90, 120), np.uint8))
    rate, frames = read_video(path)
    assert rate == 12.5 and len(frames) == count == video.count
    assert [file.name for file in path.parent.iterdir()] == ['a.mp4']
    for number, frame in enumerate(frames):
        assert frame.shape == (*stored, 3)
        # chroma is quantized by the codec
        np.testing.assert_allclose(frame.reshape(-1, 3).mean(0), (GRAY[number], 90, 120), atol=5)


def test_odd_frames_keep_all_columns(tmp_path):
    frame = np.zeros((31, 31, 3), np.uint8)
    frame[:, 24:] = frame[24:] = 255
    with video_file(tmp_path / 'a.mp4', 0) as video:
        video.write(frame)
    rate, frames = read_video(tmp_path / 'a.mp4')
    assert rate == 25 and frames[0].shape == (32, 32, 3)
    assert frames[0][:, 30:].min() > 200 and frames[0][30:].min() > 200


@pytest.mark.parametrize('error', [KeyboardInterrupt, ValueError])
def test_an_interrupted_video_leaves_the_former_file(tmp_path, error):
    path = tmp_path / 'a.mp4'
    path.write_bytes(b'former')
    with pytest.raises(error), video_file(path, 25) as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
        raise error
    assert path.read_bytes() == b'former'
    assert [file.name for file in tmp_path.iterdir()] == ['a.mp4']


def test_full_disk(tmp_path):
    """OpenCV reports no error when writing fails."""
    rng = np.random.default_rng(0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, before[1]))
    try:
        with pytest.raises(FileWriteError, match=r'cannot write .*/a\.mp4: the file of 40 frames '
                           'is not complete; is the disk full'), \
                video_file(tmp_path / 'a.mp4', 25) as video:
            for _ in range(40):
                video.write(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(FileWriteError, match=r'cannot write .*/file/a\.mp4: '), \
            video_file(tmp_path / 'file/a.mp4', 25) as video:
        video.write(np.zeros((16, 16, 3), np.uint8))


def test_frames_of_another_size(tmp_path):
    with pytest.raises(ValueError, match='a frame of 18x16 pixels is in a video of 16x16 pixels'), \
            video_file(tmp_path / 'a.mp4', 25) as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
        video.write(np.zeros((16, 18, 3), np.uint8))
    assert not list(tmp_path.iterdir())
