"""Schedules and intervals that belong to runs of another length."""
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import EpochBasedTrainLoop

from mmpanseg.engine.hooks.schedule_consistency_hook import schedule_problems


def problems(schedulers, loop, checkpoint=dict(by_epoch=False, interval=1)):
    """Of configs of schedulers, a loop and a checkpoint hook, for epochs of ten iterations."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 1.0)
    options = dict(val_interval=1, val_begin=1, dynamic_milestones=[0])
    by_epoch = 'max_epochs' in loop
    epochs = loop.get('max_epochs', 1)
    iters = epochs * 10 if by_epoch else loop['max_iters']
    options.update({key: value for key, value in loop.items() if key in options})
    built_loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop) if by_epoch else (
        SimpleNamespace())
    vars(built_loop).update(options)
    built = [PARAM_SCHEDULERS.build(
        dict(scheduler), default_args=dict(optimizer=optimizer, epoch_length=10))
        for scheduler in schedulers]
    return schedule_problems(SimpleNamespace(
        train_loop=built_loop, max_epochs=epochs, max_iters=iters, param_schedulers=built, epoch=0,
        iter=0, cfg={}, val_loop=object(), hooks=[CheckpointHook(**checkpoint)]))


def steps(**options):
    return dict(type='MultiStepLR', by_epoch=False, **options)


def poly(end, **options):
    return dict(type='PolyLR', by_epoch=False, end=end, power=0.9, **options)


WARM_UP = dict(type='LinearLR', by_epoch=False, start_factor=0.1, begin=0, end=100)


@pytest.mark.parametrize('schedulers, loop, expected', [
    ([steps(end=900, milestones=[600, 810])], dict(max_iters=90),
     'train_cfg.max_iters is 90, but param_scheduler (MultiStepLR) ends after 900 iterations, '
     'milestones at 600, 810 are never reached: the run ends in the middle of its schedule; '
     'set param_scheduler.end=90 param_scheduler.milestones=[60,81]'),
    ([steps(milestones=[600, 810])], dict(max_iters=700), 'milestones at 810, which are never'),
    ([WARM_UP, poly(1000)], dict(max_iters=500),
     'param_scheduler.1 (PolyLR) ends after 1000 iterations: the run ends in the middle of its '
     'schedule; set param_scheduler.1.end=500'),
    ([WARM_UP], dict(max_iters=50),
     'param_scheduler (LinearLR) ends after 100 iterations: the run ends in the middle of its '
     'schedule; set param_scheduler.end to a part of the run'),
    ([WARM_UP, poly(1000)], dict(max_iters=5000),
     'train_cfg.max_iters is 5000, but param_scheduler.1 (PolyLR) ends after 1000 iterations: '
     'the learning rate is constant from there; set param_scheduler.1.end=5000'),
    ([dict(type='MultiStepLR', milestones=[30])], dict(max_iters=50),
     'param_scheduler (MultiStepLR) counts epochs (by_epoch=True), but training counts '
     'iterations, so that it has no effect'),
    ([dict(type='MultiStepLR', milestones=[8], end=10)], dict(max_epochs=5),
     'train_cfg.max_epochs is 5, but param_scheduler (MultiStepLR) ends after 10 epochs, '
     'milestones at 8'),
    ([poly(100)], dict(max_epochs=5),
     'train_cfg.max_iters is 50, but param_scheduler (PolyLR) ends'),
    ([], dict(max_iters=50, val_interval=60), 'train_cfg.val_interval 60: the only validation'),
    ([], dict(max_epochs=5, val_interval=60), 'train_cfg.max_epochs is 5, train_cfg.val_interval'),
    ([], dict(max_iters=50, val_begin=60), 'train_cfg.val_begin 60: there is no validation'),
    ([], dict(max_iters=50, dynamic_milestones=[0, 60]), 'begin at 60: they are never reached'),
])
def test_each_is_named_once(schedulers, loop, expected):
    found, = problems(schedulers, loop)
    assert expected in found


@pytest.mark.parametrize('checkpoint, expected', [
    (dict(by_epoch=False, interval=60), 'checkpoint.interval 60: a checkpoint is saved at the end'),
    (dict(by_epoch=False, interval=60, save_last=False), 'a checkpoint is saved never'),
    (dict(interval=1), 'default_hooks.checkpoint counts epochs (by_epoch=True)'),
])
def test_checkpoints(checkpoint, expected):
    found, = problems([], dict(max_iters=50), checkpoint)
    assert expected in found


@pytest.mark.parametrize('schedulers, loop', [
    ([WARM_UP], dict(max_iters=500)),
    ([WARM_UP, steps(milestones=[400])], dict(max_iters=500)),
    ([WARM_UP, poly(501)], dict(max_iters=500)),
    ([poly(50)], dict(max_epochs=5)),
    ([dict(type='CosineAnnealingLR', T_max=5, end=5, convert_to_iter_based=True)],
     dict(max_epochs=5)),
    ([dict(type='ConstantLR', by_epoch=False, factor=1.0)], dict(max_iters=500)),
])
def test_what_fits(schedulers, loop):
    assert problems(schedulers, loop) == []


def test_published_configs_fit(repo_root):
    """One of each system and schedule."""
    paths = {(path.parent.name, path.name.split('_8xb')[-1].split('_')[0]): path
             for path in repo_root.glob('configs/[a-z]*/*.py') if '_8xb' in path.name}
    paths.update({path: path for path in repo_root.glob('configs/kmax_deeplab/*_r50_*.py')})
    paths.update({path: path for path in repo_root.glob('configs/*/*_1xb*.py')})
    assert len(paths) > 15
    for path in paths.values():
        cfg = Config.fromfile(path)
        schedulers = cfg.param_scheduler
        checkpoint = {key: value for key, value in cfg.default_hooks.checkpoint.items()
                      if key in ('by_epoch', 'interval')}
        assert problems(schedulers if isinstance(schedulers, list) else [schedulers],
                        cfg.train_cfg, checkpoint) == [], path


def test_resumed_runs_keep_the_schedule_of_their_checkpoint(tiny_run, log_of):
    """So another one in the config must not pass in silence, nor a length that is reached."""
    tiny_run(train_cfg__max_iters=1, train_cfg__val_interval=1).train()
    runner = tiny_run(resume=True, train_cfg__max_iters=2, param_scheduler__end=20)
    runner.train()
    log = log_of(runner)
    assert ('WARNING - param_scheduler.end is 20 in the config, but 8 in the resumed checkpoint'
            in log)
    assert 'ends after' not in log and 'no step remains' not in log
    runner = tiny_run(resume=True, train_cfg__max_iters=2)
    runner.train()
    assert 'the resumed run has completed 2 iterations, and train_cfg.max_iters is 2' in (
        log_of(runner))
