"""Checkpoints of trainings: the restricted reader gives what a plain load gives, bit by bit."""
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader, Runner
from torch import nn

from mmpanseg.engine import build_runner

sys.path.insert(0, str(Path(__file__).parent))
from identical import assert_identical  # noqa: E402

OPTIMIZERS = [
    dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True), dict(type='Adam', lr=0.1, amsgrad=True),
    dict(type='AdamW', lr=0.1, weight_decay=0.1), dict(type='RMSprop', lr=0.1, centered=True),
    dict(type='Adagrad', lr=0.1), dict(type='Adadelta', lr=0.1), dict(type='Adamax', lr=0.1),
    dict(type='NAdam', lr=0.1), dict(type='RAdam', lr=0.1), dict(type='ASGD', lr=0.1),
    dict(type='Rprop', lr=0.1)]
STEPS = dict(by_epoch=False)
SCHEDULERS = [
    dict(type='PolyLR', end=9), dict(type='MultiStepLR', milestones=[1, 3]),
    dict(type='OneCycleLR', eta_max=0.5, total_steps=9),
    dict(type='CosineAnnealingLR', T_max=9),
    dict(type='CosineRestartLR', periods=[2, 3], restart_weights=[1, 0.5],
         eta_min=0.01),
    dict(type='ExponentialLR', gamma=0.9), dict(type='LinearLR', start_factor=0.1, end=3),
    dict(type='StepLR', step_size=2), dict(type='ConstantLR', factor=0.5, end=3)]


class Model(nn.Linear):
    """Trains without data preprocessor."""

    def train_step(self, data, optim_wrapper):
        loss = self(torch.stack(data)).square().mean()
        optim_wrapper.update_params(loss)
        return dict(loss=loss.detach(), odd=torch.tensor(float('nan')))


def make_runner(folder, optimizer, schedulers=(), **kwargs):
    return Runner(
        Model(3, 2), str(folder), train_dataloader=dict(
            dataset=[torch.full((3, ), value / 7) for value in range(4)], batch_size=1,
            num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(by_epoch=False, max_iters=4), default_scope='mmengine',
        optim_wrapper=dict(optimizer=optimizer), custom_hooks=[EMAHook(momentum=0.3)],
        param_scheduler=[dict(scheduler, **STEPS) for scheduler in schedulers],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
                           logger=dict(type='LoggerHook', interval=1)),
        experiment_name=folder.name, log_level='ERROR', randomness=dict(seed=0), **kwargs)


def both(path):
    return (CheckpointLoader.load_checkpoint(str(path), 'cpu'),
            torch.load(path, map_location='cpu', weights_only=False))


@pytest.mark.parametrize('optimizer', OPTIMIZERS, ids=lambda optimizer: optimizer['type'])
def test_optimizers(tmp_path, optimizer):
    make_runner(tmp_path, optimizer, [dict(type='LinearLR', start_factor=0.5, end=4)]).train()
    found, expected = both(tmp_path / 'iter_4.pth')
    assert {'state_dict', 'optimizer', 'message_hub', 'ema_state_dict', 'param_schedulers',
            'meta'} <= expected.keys()
    assert found['optimizer']['state'][0]  # it has one
    assert_identical(found, expected)
    history = found['message_hub']['log_scalars']['train/loss']
    assert type(history) is HistoryBuffer and history.mean() == expected['message_hub'][
        'log_scalars']['train/loss'].mean()


@pytest.mark.parametrize('scheduler', SCHEDULERS, ids=lambda scheduler: scheduler['type'])
def test_schedulers(tmp_path, scheduler):
    make_runner(tmp_path, OPTIMIZERS[0], [scheduler]).train()
    found, expected = both(tmp_path / 'iter_2.pth')
    assert_identical(found, expected)
    if scheduler['type'] == 'OneCycleLR':
        assert found['param_schedulers'][0]['anneal_func'] is OneCycleParamScheduler._annealing_cos


@pytest.mark.parametrize('new', [True, False])
def test_everything_else_that_a_training_stores(tmp_path, new):
    scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)
    scaler.scale(torch.ones(1, requires_grad=True)).sum()
    shared, tagged = torch.arange(6.0), torch.ones(2)
    tagged.note = 'an attribute'
    content = dict(
        random_states=dict(
            python=random.Random(3).getstate(), numpy=np.random.RandomState(3).get_state(),
            generator=np.random.default_rng(3).bit_generator.state, torch=torch.get_rng_state()),
        optimizer=dict(loss_scaler=scaler.state_dict(), empty=torch.empty(0, 3)),
        ema_state_dict=dict(view=shared[2:5], part=shared.reshape(2, 3).t(), whole=shared,
                            single=torch.tensor(2.5), number=torch.tensor(3, dtype=torch.int16),
                            half=torch.ones(3, dtype=torch.bfloat16), tagged=tagged,
                            flags=torch.tensor([True, False]), z=torch.ones(2) * 1j,
                            repeated=torch.ones(1).expand(4), parameter=nn.Parameter(shared)),
        message_hub=dict(runtime_info=dict(
            best_score=np.float64('nan'), small=np.float32(-0.0), count=np.int64(3),
            flag=np.bool_(True), cfg='a = 1', big=np.arange(3, dtype='>i4'), text=np.array(['ä']),
            order=np.asfortranarray(np.ones((2, 3))), none=np.empty((0, 2)),
            objects=np.array(['a', None], dtype=object))),
        meta=dict(
            dataset_meta=ConfigDict(classes=('a', ), label2cat={0: 1}, more=dict(x=[1, (2, )])),
            size=torch.Size([1, 2]), device=torch.device('cpu'), dtype=torch.float16,
            kind=np.dtype('f4'), part=slice(1, None), ids={1, 2}, frozen=frozenset('ab'),
            z=1 + 2j, raw=b'\xff\0', array=bytearray(b'\1'), span=range(3), type=float,
            large=1 << 80, low=-0.0, inf=float('inf'), text='ä\n'))
    if new:  # types without a storage class
        content['ema_state_dict'].update(float8=torch.ones(2).to(torch.float8_e5m2),
                                         unsigned=torch.ones(2, dtype=torch.uint16))
    torch.save(content, tmp_path / 'x.pth', _use_new_zipfile_serialization=new)
    found, expected = both(tmp_path / 'x.pth')
    assert_identical(found, expected)
    state = found['ema_state_dict']
    state['whole'][2] = 9  # tensors of one storage share it
    assert state['view'][0] == 9 and state['parameter'][2] == 9


def test_trainings_of_this_library_resume(tiny_config, tmp_path):
    """A training of four steps, and its second half from the file of the first."""
    def runner(name):
        cfg = Config.fromfile(tiny_config)
        cfg.work_dir = str(tmp_path / name)
        cfg.experiment_name = f'state_{name}'
        cfg.randomness = dict(seed=0)
        cfg.custom_hooks = [dict(type='EMAHook', momentum=0.1)]
        cfg.optim_wrapper.type = 'mmpanseg.BFloat16OptimWrapper'
        return cfg

    build_runner(runner('whole'), 'none').train()
    path = tmp_path / 'whole/iter_2.pth'
    found, expected = both(path)
    assert_identical(found, expected)
    cfg = runner('half')
    cfg.resume, cfg.load_from = True, str(path)
    resumed = build_runner(cfg, 'none')
    resumed.train_loop  # noqa: B018
    resumed.call_hook('before_run')
    resumed.load_or_resume()
    assert resumed.iter == 2
    assert_identical(resumed.optim_wrapper.state_dict(), expected['optimizer'])
    log = resumed.message_hub.log_scalars['train/loss']
    assert type(log) is HistoryBuffer
    assert_identical(log, expected['message_hub']['log_scalars']['train/loss'])
