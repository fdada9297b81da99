"""What the command lines share: files, flags, and starting without a GPU."""
import pytest
import torch
from mmengine.config import Config

from mmpanseg.engine import launch
from mmpanseg.engine.launch import UsageError


def test_load_config(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text("model = dict(depth=50, name='x')\n")
    cfg = launch.load_config(str(path), {'model.depth': 18})
    assert cfg.model.depth == 18 and cfg.model.name == 'x'
    with pytest.raises(UsageError, match='absent.py does not exist'):
        launch.load_config(str(tmp_path / 'absent.py'))
    path.write_text("_base_ = './missing_base.py'\n")
    with pytest.raises(UsageError, match='missing_base.py'):
        launch.load_config(str(path))


def test_work_dir_comes_from_argument_then_config_then_name():
    cfg = Config(dict(work_dir='from_config'))
    launch.set_work_dir(cfg, 'given', 'configs/x.py')
    assert cfg.work_dir == 'given'
    cfg = Config(dict(work_dir='from_config'))
    launch.set_work_dir(cfg, None, 'configs/x.py')
    assert cfg.work_dir == 'from_config'
    cfg = Config(dict())
    launch.set_work_dir(cfg, None, 'configs/x.py')
    assert cfg.work_dir.replace('\\', '/') == 'work_dirs/x'


def test_resume(tmp_path):
    cfg = Config(dict(resume=False, load_from='pretrained.pth'))
    launch.set_resume(cfg, None)
    assert cfg.resume is False and cfg.load_from == 'pretrained.pth'
    launch.set_resume(cfg, 'auto')
    assert cfg.resume is True and cfg.load_from is None
    path = tmp_path / 'a.pth'
    path.write_bytes(b'weights')
    launch.set_resume(cfg, str(path))
    assert cfg.load_from == str(path)
    with pytest.raises(UsageError, match='gone.pth does not exist'):
        launch.set_resume(cfg, 'gone.pth')


def test_checkpoints_may_be_urls():
    url = 'https://example.org/a.pth'
    assert launch.check_checkpoint(url) == url


def test_amp(monkeypatch):
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD'))))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    launch.use_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    launch.use_amp(cfg)
    assert cfg.optim_wrapper.type == 'mmpanseg.BFloat16OptimWrapper'
    assert 'loss_scale' not in cfg.optim_wrapper
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(UsageError, match='ApexOptimWrapper'):
        launch.use_amp(cfg)


def test_auto_scale_lr():
    cfg = Config(dict(auto_scale_lr=dict(enable=False, base_batch_size=16)))
    launch.use_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr.enable is True
    with pytest.raises(UsageError, match='base_batch_size'):
        launch.use_auto_scale_lr(Config(dict()))


def test_launchers_on_a_machine_without_gpu(monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    cfg = Config(dict())
    launch.set_launcher(cfg, 'none')
    assert cfg.launcher == 'none' and 'model_wrapper_cfg' not in cfg
    with pytest.raises(UsageError, match='tools/dist_train.sh'):
        launch.set_launcher(cfg, 'pytorch')
    with pytest.raises(UsageError, match='needs GPUs'):
        launch.set_launcher(cfg, 'slurm')
