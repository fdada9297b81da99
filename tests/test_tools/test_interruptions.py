"""Interruptions of real processes of tools/train.py."""
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from .. import forked

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == 'win32', reason='signals')]
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1',
       'CUDA_VISIBLE_DEVICES': ''}
LONG = ['--cfg-options', 'train_cfg.max_iters=100000', 'default_hooks.checkpoint.interval=100000']


@pytest.fixture
def started(tmp_path):
    """Starts trainings, and ends those that still run."""
    running = []

    def start(*command: object) -> forked.Process:
        process = forked.Process(command, cwd=tmp_path, env=ENV, merged=True,
                                 fresh=command[0] == '-m')
        running.append(process)
        return process
    yield start
    for process in running:
        process.kill()


def last_step(folder: Path) -> int:
    return int(Path((folder / 'last_checkpoint').read_text()).stem.removeprefix('iter_'))


@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_exit_status_and_resume(tiny_config, started, tmp_path, number, status):
    folder = tmp_path / 'run'
    command = [ROOT / 'tools/train.py', tiny_config, '--work-dir', folder, *LONG,
               'train_dataloader.num_workers=1']
    process = started(*command)
    process.wait_for('Iter(train) [     3/')
    refused = forked.run(command, cwd=tmp_path, env=ENV)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(
        f'train.py: error: another training writes to {folder}: process {process.pid} on ')
    assert 'Traceback' not in refused.stderr
    process.send_signal_to_group(number)  # as a terminal and Slurm do
    process.wait(120)
    output = process.stdout
    assert process.returncode == status, output
    assert 'Traceback' not in output
    step = last_step(folder)
    assert f'{number.name}: the training stopped after step {step}, --resume continues' in output
    rest = forked.run([*command, '--resume', '--cfg-options', f'train_cfg.max_iters={step + 2}'],
                      cwd=tmp_path, env=ENV)
    assert rest.returncode == 0, rest.stdout + rest.stderr
    assert last_step(folder) == step + 2


def test_two_processes_stop_at_one_step(tiny_config, started, tmp_path):
    """Although only one of them gets the signal."""
    folder = tmp_path / 'run'
    launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
                ROOT / 'tools/train.py', tiny_config, '--work-dir', folder]
    process = started(*launcher, *LONG, '--launcher', 'pytorch')
    process.wait_for('Iter(train) [     3/')
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    second, = (child for child in children
               if b'\0RANK=1\0' in Path(f'/proc/{child}/environ').read_bytes())
    os.kill(int(second), signal.SIGTERM)
    process.wait(120)
    output = process.stdout
    step = last_step(folder)
    assert output.count(f'SIGTERM: the training stopped after step {step}') == 1
    assert 'exitcode  : 143' in output
    assert not list(folder.glob('.*'))


def test_ctrl_c_with_a_launcher(tiny_config, started, tmp_path):
    """The terminal sends it to all processes, and the launcher forwards it."""
    folder = tmp_path / 'run'
    process = started('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
                      ROOT / 'tools/train.py', tiny_config, '--work-dir', folder, *LONG,
                      '--launcher', 'pytorch')
    process.wait_for('Iter(train) [     3/')
    process.send_signal_to_group(signal.SIGINT)
    assert process.wait(120) != 0
    output = process.stdout
    assert f'SIGINT: the training stopped after step {last_step(folder)}' in output
    assert not list(folder.glob('.*'))


def test_a_second_training_of_two_processes_ends(tiny_config, started, tmp_path):
    """Both of its processes learn of the refusal."""
    folder = tmp_path / 'run'
    first = started(ROOT / 'tools/train.py', tiny_config, '--work-dir', folder, *LONG)
    first.wait_for('Iter(train) [     1/')
    began = time.monotonic()
    second = started('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
                     ROOT / 'tools/train.py', tiny_config, '--work-dir', folder, *LONG,
                     '--launcher', 'pytorch')
    assert second.wait(200) == 1
    output = second.stdout
    assert f'another training writes to {folder}: process {first.pid} on ' in output
    assert time.monotonic() - began < 150
