"""Disks that are full, read-only or gone: one line, and nothing that was there is lost."""
import importlib.util
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmpanseg.checkpoints.writing import write_checkpoint
from mmpanseg.engine import UsageError
from mmpanseg.engine.checkpoint_files import incomplete_reason
from mmpanseg.engine.disk_space import checkpoint_size
from mmpanseg.utils.atomic_files import FileWriteError

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='limits of files')


class AtStep(Hook):
    """Calls a function before a training step."""

    def __init__(self, step, function):
        self.step, self.function = step, function

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.step:
            self.function()


def limit(size):
    """Let every file of this process end at a size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_checkpoint_that_cannot_be_written(tiny_run, in_child, tmp_path):
    def train():
        runner = tiny_run()
        runner.register_hook(AtStep(4, lambda: limit(1 << 20)))
        try:
            runner.train()
        except FileWriteError as error:
            print(f'error: {error}')
    status, output = in_child(train)
    assert status == 0, output
    folder = tmp_path / 'run'
    line, = (line for line in output.splitlines() if line.startswith('error: '))
    assert f'cannot write {folder}/iter_4.pth (3.' in line and 'MB)' in line
    assert 'file too large' in line and 'are free there' in line
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        'iter_2.pth', 'last_checkpoint', 'tiny.py'}
    assert incomplete_reason(folder / 'iter_2.pth') == ''
    assert (folder / 'last_checkpoint').read_text() == f'{folder}/iter_2.pth'


def test_logs_that_cannot_be_written_do_not_end_a_training(tiny_run, in_child, tmp_path):
    """Text, curves and, where it is installed, TensorBoard; one warning each."""
    def change(cfg):
        backends = ['LocalVisBackend', *(['TensorboardVisBackend'] if tensorboard else [])]
        cfg.visualizer = dict(type='mmpanseg.PanopticVisualizer', name='visualizer',
                              vis_backends=[dict(type=backend) for backend in backends])
        cfg.default_hooks.checkpoint = None

    def train():
        runner = tiny_run(change, train_cfg__max_iters=6)
        runner.register_hook(AtStep(2, lambda: limit(100)))
        runner.train()
        print('steps', runner.iter)
    tensorboard = importlib.util.find_spec('tensorboard') is not None
    status, output = in_child(train)
    assert status == 0 and 'steps 6' in output, output
    # no traceback of a file; logs of earlier tests, whose console is closed, may print theirs
    assert 'OSError' not in output, output
    assert output.count('LocalVisBackend cannot write to') == 1
    assert output.count('TensorboardVisBackend cannot write to') <= 1  # its thread is late
    assert sum('messages are lost' in line for line in output.splitlines()) == 1
    assert 'Iter(train) [6/6]' in output


def test_a_removed_folder_is_made_again(tiny_run, in_child, tmp_path):
    def train():
        runner = tiny_run()
        runner.register_hook(AtStep(3, lambda: subprocess.run(['rm', '-r', tmp_path / 'run'])))
        runner.train()
    status, output = in_child(train)
    assert status == 0, output
    assert f'the folder {tmp_path}/run was removed during the training' in output
    assert incomplete_reason(tmp_path / 'run/iter_4.pth') == ''


def test_a_folder_that_cannot_be_made_again(tiny_run, in_child, tmp_path):
    def replace():
        (tmp_path / 'run').rename(tmp_path / 'moved')
        (tmp_path / 'run').write_text('a file')

    def train():
        runner = tiny_run()
        runner.register_hook(AtStep(3, replace))
        try:
            runner.train()
        except FileWriteError as error:
            print(f'error: {error}')
    status, output = in_child(train)
    assert status == 0, output
    assert f'error: cannot write {tmp_path}/run/iter_4.pth' in output
    assert incomplete_reason(tmp_path / 'moved/iter_2.pth') == ''


@pytest.mark.parametrize('optimizer, factor', [
    (dict(type='AdamW', lr=1e-3), 3), (dict(type='AdamW', lr=1e-3, amsgrad=True), 4),
    (dict(type='SGD', lr=1e-3), 1), (dict(type='SGD', lr=1e-3, momentum=0.9), 2)])
def test_the_size_of_a_checkpoint_is_estimated(tiny_run, tmp_path, optimizer, factor):
    """Against the file, which has one header per tensor more."""
    estimated = []

    class Estimate(Hook):
        def before_train(self, runner):
            hook, = (hook for hook in runner.hooks if hasattr(hook, 'save_now'))
            estimated.append(checkpoint_size(runner, hook))
    runner = tiny_run(lambda cfg: cfg.optim_wrapper.update(optimizer=optimizer),
                      train_cfg__max_iters=1)
    runner.register_hook(Estimate())
    runner.train()
    weights = sum(value.nbytes for value in runner.model.state_dict().values())
    size = (tmp_path / 'run/iter_1.pth').stat().st_size
    assert estimated[0] >= weights * factor * 0.95
    assert abs(estimated[0] - size) < 1.5e6


@pytest.mark.parametrize('checkpoints, expected', [
    (0.5, 'error'), (2.5, 'warning'), (6, '')])
def test_free_space_is_compared_before_the_first_step(
        tiny_run, tmp_path, monkeypatch, log_of, checkpoints, expected):
    runner = tiny_run(train_cfg__max_iters=8)  # 4 of them, 3 are kept
    size = 3 * sum(value.nbytes for value in runner.model.state_dict().values()) + (1 << 20)
    monkeypatch.setattr('mmpanseg.engine.disk_space.free_space',
                        lambda folder: int(checkpoints * size))
    if expected == 'error':
        with pytest.raises(UsageError, match=f'{tmp_path}/run has .* MB of free space, and a '
                                             'checkpoint takes about .* MB: free the space'):
            runner.train()
        assert not list(tmp_path.glob('run/*.pth'))
        return
    runner.train()
    assert ('are needed for 4 of them' in log_of(runner)) == (expected == 'warning')


def mounted(folder: Path, size: str) -> bool:
    folder.mkdir()
    return subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'none', folder],
                          capture_output=True).returncode == 0


def test_a_disk_that_is_really_full(tiny_run, in_child, tmp_path):
    disk = tmp_path / 'disk'
    if os.getuid() or not mounted(disk, '9m'):
        pytest.skip('only root can mount a small file system')
    try:
        def train():
            runner = tiny_run(lambda cfg: cfg.update(work_dir=str(disk / 'run')))
            runner.register_hook(AtStep(
                4, lambda: (disk / 'other').write_bytes(bytes(4 << 20))))
            try:
                runner.train()
            except FileWriteError as error:
                print(f'error: {error}')
        status, output = in_child(train)
        assert status == 0, output
        assert f'error: cannot write {disk}/run/iter_4.pth (3.' in output
        assert 'no space left on device' in output
        assert incomplete_reason(disk / 'run/iter_2.pth') == ''
        assert not list((disk / 'run').glob('.*'))
        with pytest.raises(UsageError, match=f'{disk}/run has .* of free space'):
            tiny_run(lambda cfg: cfg.update(work_dir=str(disk / 'run'))).train()
    finally:
        subprocess.run(['umount', '-l', disk], check=True)


def test_a_read_only_disk(tiny_run, tmp_path):
    disk = tmp_path / 'disk'
    if os.getuid() or not mounted(disk, '9m'):
        pytest.skip('only root can mount a small file system')
    try:
        subprocess.run(['mount', '-o', 'remount,ro', disk], check=True)
        with pytest.raises(OSError, match=f'Read-only file system: .*{disk}/run'):
            tiny_run(lambda cfg: cfg.update(work_dir=str(disk / 'run')))
        with pytest.raises(FileWriteError, match=f'cannot write {disk}/a.pth: read-only file'):
            write_checkpoint(dict(a=torch.ones(3)), disk / 'a.pth')
    finally:
        subprocess.run(['umount', '-l', disk], check=True)
