"""Which checkpoint a run resumes, whatever earlier runs left."""
import os
import struct
import time
import zipfile
from pathlib import Path

import pytest
import torch

from mmpanseg.checkpoints.writing import write_checkpoint
from mmpanseg.engine import UsageError
from mmpanseg.engine.checkpoint_files import incomplete_reason, latest_checkpoint
from mmpanseg.utils.atomic_files import FileWriteError, remove_partial_files, write_file


@pytest.fixture
def saved(tmp_path):
    """Writes the checkpoint of a step."""
    def save(name, value=1.0):
        path = tmp_path / name
        write_checkpoint(dict(state_dict=dict(weight=torch.full((2000,), value))), path)
        return path
    return save


def damaged(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == 'missing':
        path.unlink()
    elif how == 'zero bytes':
        path.write_bytes(b'')
    elif how == 'zeros':
        path.write_bytes(bytes(len(content)))
    elif how == 'hole':  # a block that never came to the disk
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes(512) + content[middle + 512:])
    elif how == 'text':
        path.write_text('<html>quota exceeded</html>')
    else:
        path.write_bytes(content[:int(len(content) * float(how))])


@pytest.mark.parametrize('how', ['missing', 'zero bytes', 'zeros', 'hole', 'text', '0.01', '0.5',
                                 '0.999'])
def test_the_newest_complete_one_replaces_a_damaged_one(saved, tmp_path, how):
    for step in (8, 10, 9):  # by step: neither by name nor by time
        path = saved(f'iter_{step}.pth')
    pointer = tmp_path / 'last_checkpoint'
    pointer.write_text(str(tmp_path / 'iter_10.pth'))
    assert latest_checkpoint(str(tmp_path)).path == str(tmp_path / 'iter_10.pth')
    assert latest_checkpoint(str(tmp_path)).warning == ''
    damaged(tmp_path / 'iter_10.pth', how)
    choice = latest_checkpoint(str(tmp_path))
    assert choice.path == str(path)
    assert str(tmp_path / 'iter_10.pth') in choice.warning and str(path) in choice.warning
    assert '\n' not in choice.warning


@pytest.mark.parametrize('content', [None, '', '\n', '\0\0\0\0'])
def test_pointers_that_name_nothing(saved, tmp_path, content):
    if content is not None:
        (tmp_path / 'last_checkpoint').write_text(content)
    path = saved('iter_2.pth')
    saved('best_panoptic_PQ_iter_7.pth')
    saved('pretrained.pth')
    choice = latest_checkpoint(str(tmp_path))
    assert choice.path == str(path)
    assert f'{tmp_path}/last_checkpoint' in choice.warning and str(path) in choice.warning


def test_every_cut_of_a_checkpoint_is_noticed(saved, tmp_path):
    """At each place where a write may have ended."""
    path = saved('iter_1.pth')
    content = path.read_bytes()
    assert incomplete_reason(path) == ''
    for size in range(0, len(content), 61):
        path.write_bytes(content[:size])
        assert incomplete_reason(path), size
    path.write_bytes(content[:-1])
    assert incomplete_reason(path)


def test_a_record_that_is_another_is_noticed(saved):
    path = saved('iter_1.pth')
    with zipfile.ZipFile(path) as archive:
        entry = next(entry for entry in archive.infolist() if '/data/' in entry.filename)
    content = bytearray(path.read_bytes())
    name, extra = struct.unpack('<HH', content[entry.header_offset + 26:entry.header_offset + 30])
    content[entry.header_offset + 30 + name + extra + 100] ^= 1  # one bit
    path.write_bytes(content)
    assert 'damaged' in incomplete_reason(path)


def test_files_of_the_old_form_and_folders(tmp_path):
    path = tmp_path / 'iter_1.pth'
    torch.save(dict(a=torch.ones(2)), path, _use_new_zipfile_serialization=False)
    assert incomplete_reason(path) == ''
    folder = tmp_path / 'iter_2.pth'
    folder.mkdir()
    assert 'empty folder' in incomplete_reason(folder)
    (folder / 'mp_rank_00_model_states.pt').write_bytes(b'x')
    assert incomplete_reason(folder) == ''


def test_by_epoch_and_by_step(saved, tmp_path):
    """The checkpoint of a signal within an epoch has the name of its step."""
    epoch, step = saved('epoch_3.pth'), saved('iter_35.pth')
    os.utime(epoch, (1, 1))
    assert latest_checkpoint(str(tmp_path)).path == str(step)
    now = time.time()
    os.utime(epoch, (now + 5, now + 5))
    assert latest_checkpoint(str(tmp_path)).path == str(epoch)


def test_checkpoints_of_another_folder(saved, tmp_path):
    other = tmp_path / 'disk/run'
    other.mkdir(parents=True)
    path = saved('disk/run/iter_4.pth')
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    assert latest_checkpoint(str(work_dir), [str(other)]).path == str(path)
    (work_dir / 'last_checkpoint').write_text(str(other / 'iter_6.pth'))
    assert latest_checkpoint(str(work_dir)).path == str(path)


def test_a_moved_work_dir(saved, tmp_path):
    path = saved('iter_4.pth')
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/run/iter_4.pth')
    assert latest_checkpoint(str(tmp_path)).path == str(path)


def test_remote_checkpoints_are_mmengines(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('s3://bucket/iter_4.pth\n')
    assert latest_checkpoint(str(tmp_path)).path == 's3://bucket/iter_4.pth'


def test_an_empty_folder_and_one_with_other_files(saved, tmp_path):
    assert latest_checkpoint(str(tmp_path / 'new')).path is None
    saved('pretrained.pth')
    assert latest_checkpoint(str(tmp_path)) == latest_checkpoint(str(tmp_path / 'new'))


@pytest.mark.parametrize('left', ['iter_2.pth', 'best_panoptic_PQ_iter_2.pth', 'last_checkpoint'])
def test_nothing_to_resume_although_a_training_ran_here(saved, tmp_path, left):
    path = saved(left)
    if left == 'last_checkpoint':
        path.write_text(str(tmp_path / 'iter_9.pth'))
    elif left == 'iter_2.pth':
        damaged(path, '0.5')
    with pytest.raises(UsageError) as error:
        latest_checkpoint(str(tmp_path))
    text = str(error.value)
    assert f'no checkpoint in {tmp_path} can be resumed' in text and '\n' not in text
    assert '--resume PATH' in text and '--work-dir' in text
    assert ('iter_9.pth' if left == 'last_checkpoint' else left) in text


def test_partial_files_of_ended_processes_are_removed(tmp_path):
    ended = os.fork()
    if not ended:
        os._exit(0)
    os.waitpid(ended, 0)
    for name in (f'.iter_4.pth.{ended}.partial', f'.iter_4.pth.{os.getppid()}.partial',
                 '.notes.partial', 'iter_4.pth'):
        (tmp_path / name).write_text('x')
    assert remove_partial_files(tmp_path) == [f'.iter_4.pth.{ended}.partial']
    assert len(list(tmp_path.iterdir())) == 3


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / 'file'
    write_file(path, b'earlier')
    with pytest.raises(FileWriteError, match='folder .*gone does not exist'):
        write_file(tmp_path / 'gone/file', b'x')
    class Refused:
        def __reduce__(self):
            raise ValueError('cannot be pickled')
    with pytest.raises(ValueError, match='cannot be pickled'):
        write_checkpoint(dict(a=torch.ones(3), b=Refused()), path)
    assert path.read_bytes() == b'earlier' and os.listdir(tmp_path) == ['file']
