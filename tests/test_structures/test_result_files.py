"""Files that are complete or absent, where writing fails as on a full disk."""
import errno
import resource

import numpy as np
import pytest

from mmpanseg.structures.panoptic_png import read_panoptic_png, write_panoptic_png
from mmpanseg.utils.atomic_files import FileWriteError, append_line, result_file
from mmpanseg.visualization.picture_files import write_picture

IDS = np.random.default_rng(0).integers(0, 1 << 24, (200, 200))


@pytest.fixture
def little_space():
    """Files of this process end at 4 kB: the system refuses to write on, with a part written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize('write', [
    lambda path: write_picture(path, (IDS[..., None] % [255, 254, 253]).astype(np.uint8)),
    lambda path: write_panoptic_png(path, IDS)])
def test_no_part_remains(tmp_path, little_space, write):
    path = tmp_path / 'new/a.png'
    with pytest.raises(FileWriteError, match=r'cannot write .*/new/a\.png: file too large, '):
        write(path)
    assert list(path.parent.iterdir()) == []


def test_former_content_remains(tmp_path):
    path = tmp_path / 'a.png'
    write_panoptic_png(path, IDS[:2])
    for error, kind in ((OSError(errno.ENOSPC, 'No space left on device'), FileWriteError),
                        (KeyboardInterrupt(), KeyboardInterrupt)):
        with pytest.raises(kind), result_file(path) as part:
            part.write_bytes(b'a part')
            raise error
        assert [file.name for file in tmp_path.iterdir()] == ['a.png']
        assert np.array_equal(read_panoptic_png(path), IDS[:2])


def test_complete(tmp_path):
    with result_file(tmp_path / 'x/a.txt') as part:
        part.write_text('all')
        assert part.suffix == '.txt' and not (tmp_path / 'x/a.txt').exists()
    assert (tmp_path / 'x/a.txt').read_text() == 'all'


def test_lines_are_appended_or_absent(tmp_path, little_space):
    path = tmp_path / 'new/a.jsonl'
    append_line(path, '1')
    before = '1\n' + 'x' * 4000
    path.write_text(before)
    with pytest.raises(FileWriteError, match=r'cannot write .*/a\.jsonl \(201 bytes\): file too'):
        append_line(path, 'y' * 199)
    assert path.read_text() == before
    # the line of a process that was killed stays for itself
    append_line(path, '{"é": 1}')
    assert path.read_text(encoding='utf-8').splitlines()[2:] == ['{"é": 1}']
