"""FSDP on two processes without GPUs: the weights of a plain training, read as such."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmpanseg.engine import UsageError, launch
from mmpanseg.engine.strategies import ShardedOptimWrapper, use_strategy

ROOT = Path(__file__).resolve().parents[2]
FSDP = ROOT / 'configs/_base_/strategies/fsdp.py'


def run(folder: Path, tool: str, *args) -> str:
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHON=sys.executable,
               PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
    done = subprocess.run(['bash', ROOT / 'tools' / tool, *map(str, args)], cwd=folder, env=env,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='checks machines without a GPU')
def test_fsdp(tiny_config, tmp_path):
    common = ("randomness = dict(seed=0, diff_rank_seed=True)\n"
              "optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict("
              "lr_mult=0.1)}))\n")
    blocks = "activation_checkpointing = ['backbone.layer*']\n"
    # mmengine's runner: PanopticRunner gives every sample generators of its own
    (tmp_path / 'plain.py').write_text(f"_base_ = '{tiny_config.as_posix()}'\n{common}"
                                       "runner_type = 'Runner'\n")
    (tmp_path / 'fsdp.py').write_text(f"_base_ = ['{tiny_config.as_posix()}', "
                                      f"'{FSDP.as_posix()}']\n{common}{blocks}")
    for name in ('plain', 'fsdp'):
        out = run(tmp_path, 'dist_train.sh', f'{name}.py', 2, '--work-dir', name)
        assert 'Iter(train) [4/4]' in out and 'panoptic/PQ' in out
    plain, fsdp = (torch.load(tmp_path / name / 'iter_4.pth', weights_only=False)
                   for name in ('plain', 'fsdp'))
    assert fsdp['state_dict'].keys() == plain['state_dict'].keys()
    for name, value in plain['state_dict'].items():
        if value.is_floating_point() and 'running_' not in name:
            torch.testing.assert_close(fsdp['state_dict'][name], value, rtol=1e-3, atol=1e-4,
                                       msg=name)
    # read by the config without the strategy
    out = run(tmp_path, 'dist_test.sh', 'plain.py', 'fsdp/iter_4.pth', 2, '--work-dir', 'test')
    assert 'panoptic/PQ' in out


def config(**strategy) -> Config:
    return Config(dict(launcher='pytorch', strategy=strategy,
                       optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1))))


def test_what_a_strategy_needs(monkeypatch):
    with pytest.raises(UsageError, match='needs the package deepspeed: pip install deepspeed'):
        use_strategy(config(type='DeepSpeedStrategy'))
    cfg = config(type='FSDPStrategy')
    cfg.launcher = 'none'
    with pytest.raises(UsageError, match='among processes: start with tools/dist_train.sh'):
        use_strategy(cfg)
    cfg = config(type='FSDPStrategy')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    with pytest.raises(UsageError, match='mixed_precision.param_dtype'):
        use_strategy(cfg)
    cfg = config(type='FSDPStrategy')
    cfg.resume = True
    with pytest.raises(UsageError, match='cannot resume'):
        use_strategy(cfg)
    cfg = config(type='DeepSpeedStrategy')
    cfg.optim_wrapper.clip_grad = dict(max_norm=0.01, norm_type=2)
    cfg.activation_checkpointing = True
    monkeypatch.setattr('importlib.util.find_spec', lambda name: name)
    use_strategy(cfg)
    assert cfg.optim_wrapper == dict(type='DeepSpeedOptimWrapper',
                                     optimizer=dict(type='SGD', lr=0.1))
    assert cfg.strategy.gradient_clipping == 0.01
    assert cfg.custom_hooks == [dict(type='mmpanseg.ActivationCheckpointingHook')]
    cfg = Config(dict(launcher='none', runner_type='mmpanseg.PanopticRunner'))
    use_strategy(cfg)
    assert cfg.runner_type == 'mmpanseg.PanopticRunner'


def test_configs_of_strategies(monkeypatch, repo_root):
    for path in sorted((repo_root / 'configs/_base_/strategies').glob('*.py')):
        cfg = launch.load_config(str(path))
        cfg.launcher = 'pytorch'
        monkeypatch.setattr('importlib.util.find_spec', lambda name: name)
        use_strategy(cfg)
        assert cfg.runner_type == 'FlexibleRunner', path


@pytest.mark.parametrize('max_norm', [0.1, 100.0])
def test_clipping_equals_torchs_in_one_process(max_norm):
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.randn(5)),
                  torch.nn.Parameter(torch.zeros(2))]
    for parameter in parameters[:2]:
        parameter.grad = torch.randn_like(parameter)
    expected = [x.grad.clone() for x in parameters[:2]]
    copies = [torch.nn.Parameter(x.detach().clone()) for x in parameters[:2]]
    for copy, grad in zip(copies, expected):
        copy.grad = grad
    torch.nn.utils.clip_grad_norm_(copies, max_norm)
    wrapper = ShardedOptimWrapper(torch.optim.SGD(parameters, 0.1),
                                  clip_grad=dict(max_norm=max_norm))
    wrapper._clip_grad()
    for parameter, copy in zip(parameters, copies):
        torch.testing.assert_close(parameter.grad, copy.grad)
    wrapper = ShardedOptimWrapper(torch.optim.SGD(parameters, 0.1),
                                  clip_grad=dict(max_norm=max_norm, norm_type=1))
    with pytest.raises(ValueError, match='norm_type=1 must be 2 with FSDP'):
        wrapper._clip_grad()
