"""Trainings of all systems that end in numbers that are none, in one and in two processes."""
import copy
import os
import socket
from pathlib import Path

import pytest
import torch

from mmpanseg.engine import UsageError
from mmpanseg.engine.step_files import read_step
from mmpanseg.engine.step_replay import replay_step, same_number

from ... import forked
from ...test_models.systems import SYSTEMS
from .poison import Poison


def system(name):
    def change(cfg):
        cfg.model = dict(copy.deepcopy(SYSTEMS[name]), type='mmpanseg.MaskTransformer',
                         num_things_classes=1, num_stuff_classes=2)
    return change


@pytest.mark.parametrize('name', SYSTEMS)
def test_an_image_with_nan_stops(tiny_run, name):
    runner = tiny_run(system(name))
    poison = Poison('image', (2,))
    runner.register_hook(poison)
    with pytest.raises(UsageError, match='stopped in step 2, .* not finite') as stop:
        runner.train()
    assert poison.seen[0][0] in str(stop.value) and '\n' not in str(stop.value)
    content = read_step(Path(runner.work_dir) / 'non_finite_step_2.pth')
    for key, tensor in content['state_dict'].items():
        assert torch.equal(tensor, poison.weights[key]), key
    assert not list(Path(runner.work_dir).glob('iter_*'))


@pytest.mark.parametrize('name', SYSTEMS)
def test_a_huge_learning_rate_stops_and_runs_again(tiny_run, name):
    runner = tiny_run(system(name), optim_wrapper__optimizer__lr=1e6, optim_wrapper__clip_grad=None,
                      train_cfg__max_iters=20, default_hooks__checkpoint__interval=1)
    with pytest.raises(UsageError, match='not finite|would hold NaN or infinity'):
        runner.train()
    for path in Path(runner.work_dir).glob('iter_*'):
        weights = torch.load(path, weights_only=False)['state_dict']
        assert all(tensor.isfinite().all() for tensor in weights.values())
    for path in Path(runner.work_dir).glob('non_finite*'):
        content = read_step(path)
        losses = replay_step(runner.cfg.model, content).losses
        assert losses.keys() == content['losses'].keys()
        assert all(same_number(value, content['losses'][key]) for key, value in losses.items())


CONFIG = """
_base_ = '{base}'
custom_imports = dict(imports=['poison'])
custom_hooks = [dict(type='mmengine.Poison', what='{what}', steps=(2, ), rank=1),
                dict(type='mmpanseg.NonFiniteHook', action='{action}')]
"""


def run_processes(tmp_path, config, count=2):
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        port = server.getsockname()[1]
    root = Path(__file__).resolve().parents[3]
    processes = [forked.Process(
        [root / 'tools/train.py', config, '--launcher', 'pytorch', '--work-dir', tmp_path / 'run'],
        merged=True, env=dict(
            os.environ, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count),
            MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), OMP_NUM_THREADS='1',
            PYTHONPATH=os.pathsep.join([str(root), str(Path(__file__).parent)])))
        for rank in range(count)]
    try:
        status = [process.wait(300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return status, [process.stdout for process in processes]


@pytest.mark.slow
@pytest.mark.parametrize('what', ['image', 'gradient'])
def test_two_processes_stop_together(tmp_path, tiny_config, what):
    """A loss names the process; gradients are the mean of both, and each can be the cause."""
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(base=tiny_config.as_posix(), what=what, action='stop'))
    status, outputs = run_processes(tmp_path, config)
    assert status == [1, 1], outputs
    files = {path.name for path in (tmp_path / 'run').glob('non_finite*')}
    last = [output.splitlines()[-1] for output in outputs]
    # besides the process that says it, all of it is the same
    assert last[0].replace('error: rank 0: ', '') == last[1].replace('error: rank 1: ', '')
    if what == 'image':
        assert 'stopped in step 2, before its update: process 1: ' in last[0]
        assert files == {'non_finite_step_2_rank1.pth'}
        assert 'process 0' not in last[0] and 'losses not finite' in last[0]
    else:
        assert 'gradient norms not finite' in last[0]
        assert files <= {f'non_finite_step_2_rank{rank}.pth' for rank in range(2)} and files


@pytest.mark.slow
def test_two_processes_skip_together(tmp_path, tiny_config):
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(base=tiny_config.as_posix(), what='image', action='skip'))
    status, outputs = run_processes(tmp_path, config)
    assert status == [0, 0], outputs
    assert 'step 2 is skipped, number 1 of at most 10: process 1: ' in outputs[0]
    weights = torch.load(tmp_path / 'run/iter_4.pth', weights_only=False)['state_dict']
    assert all(tensor.isfinite().all() for tensor in weights.values())
