"""The runner with what users bring: hooks, loaders, loops, norms, checkpoints."""
import json
from pathlib import Path

import pytest
import torch
from mmdet.registry import RUNNERS
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.runner import Runner
from torch import nn

from mmpanseg.engine import PanopticRunner, UsageError
from mmpanseg.engine.hooks import ClassConsistencyHook, LoadSummaryHook


def scalars(runner: Runner, name: str) -> dict[int, float]:
    """Values by step of what was logged under a name."""
    lines = (Path(runner.log_dir) / 'vis_data/scalars.json').read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return {entry['step']: entry[name] for entry in entries if name in entry}


@pytest.mark.parametrize('replaced', [False, True])
def test_scores_are_logged_at_training_steps(tiny_run, replaced):
    """Also where a config brings a logger hook of its own."""
    def change(cfg):
        if replaced:
            cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
    runner = tiny_run(change, train_cfg__val_interval=2)
    runner.train()
    assert list(scalars(runner, 'panoptic/PQ')) == [2, 4]
    assert set(scalars(runner, 'loss')) >= {1, 2, 3, 4}


def test_higher_scores_are_better_for_every_metric(tiny_run):
    evaluator = [dict(type='mmpanseg.PanopticMetric', boundary_width=0.02, by_size=True),
                 dict(type='mmpanseg.InstanceMetric'), dict(type='mmpanseg.BoundaryAPMetric'),
                 dict(type='mmpanseg.SemanticMetric', source='panoptic')]
    runner = tiny_run(val_evaluator=evaluator, model__test_cfg=dict(
        instance_on=True, semantic_on=True))
    names = [*runner.val(), *(f'queries/{name}' for name in ('mIoU-L_1', 'Util_0'))]
    assert {'panoptic/PQ', 'panoptic/boundary_SQ_st', 'panoptic/PQ_small_th', 'instance/AP50',
            'boundary/AP', 'semantic/fwIoU', 'semantic/mAcc'} <= set(names)
    def rules(name, **options):
        runner.register_hooks(
            dict(checkpoint=dict(type='CheckpointHook', save_best=name, **options)),
            [dict(type='mmengine.EarlyStoppingHook', monitor=name, **options)])
        found = [hook for hook in runner.hooks
                 if isinstance(hook, (CheckpointHook, EarlyStoppingHook))]
        runner.hooks.clear()
        return [rule for hook in found
                for rule in getattr(hook, 'rules', None) or [hook.rule]]

    runner.hooks.clear()
    for name in names:
        assert rules(name) == ['greater', 'greater'], name
    assert rules('loss') == rules('panoptic/PQ', rule='less') == ['less', 'less']


def test_best_checkpoint_and_early_stopping(tiny_run, tmp_path):
    """Without learning the score stays: the first is the best, and the run ends early."""
    runner = tiny_run(
        default_hooks__checkpoint__save_best='panoptic/PQ', train_cfg__val_interval=1,
        optim_wrapper__optimizer__lr=0.0, model__backbone__norm_eval=True,
        custom_hooks=[dict(type='EarlyStoppingHook', monitor='panoptic/PQ', patience=1)])
    runner.train()
    assert runner.iter == 2
    assert [path.name for path in tmp_path.glob('run/best_*')] == ['best_panoptic_PQ_iter_1.pth']


def test_checks_stay_with_other_custom_hooks(tiny_run, tmp_path):
    runner = tiny_run(custom_hooks=[dict(type='EMAHook')], model__num_things_classes=2)
    with pytest.raises(ValueError, match='model.num_things_classes=1'):
        runner.train()
    torch.save(dict(state_dict=dict(other=torch.ones(1))), tmp_path / 'x.pth')
    with pytest.raises(UsageError, match='no tensor of the checkpoint'):
        tiny_run(custom_hooks=[], load_from=str(tmp_path / 'x.pth')).train()


@pytest.mark.parametrize('default_hooks', [True, False])
def test_checks_are_there_once(tiny_run, default_hooks):
    def change(cfg):
        if not default_hooks:
            cfg.default_hooks = None
    runner = tiny_run(change, custom_hooks=[dict(type='mmpanseg.ClassConsistencyHook'),
                                            dict(type='mmpanseg.LoadSummaryHook')])
    for kind in (ClassConsistencyHook, LoadSummaryHook):
        assert sum(isinstance(hook, kind) for hook in runner.hooks) == 1


def test_mmdets_tools_build_this_runner(tiny_run):
    """Their tools/train.py builds what the config's runner_type names."""
    cfg = tiny_run().cfg
    cfg.experiment_name += 'again'
    cfg.custom_hooks = [dict(type='EMAHook')]
    assert 'runner_type' in cfg
    runner = RUNNERS.build(cfg)
    assert type(runner) is PanopticRunner
    assert any(isinstance(hook, ClassConsistencyHook) for hook in runner.hooks)


def test_no_workers(tiny_run):
    """Options of workers that are inherited go with the workers."""
    options = dict(num_workers=0, persistent_workers=True, prefetch_factor=4,
                   multiprocessing_context='fork', timeout=5)
    runner = tiny_run(**{f'{split}_dataloader__{key}': value for key, value in options.items()
                         for split in ('train', 'val', 'test')}, train_cfg__max_iters=1)
    runner.train()
    runner.test()
    assert runner.iter == 1 and runner.test_dataloader.num_workers == 0
    assert not runner.train_dataloader.persistent_workers
    loader = dict(runner.cfg.train_dataloader, num_workers=1, timeout=5)
    built = PanopticRunner.build_dataloader(loader)
    assert built.persistent_workers and built.prefetch_factor == 4 and built.timeout == 5


EPOCHS = dict(train_cfg__type='EpochBasedTrainLoop', train_cfg__max_epochs=2,
              train_cfg__val_interval=1)


def by_epochs(cfg):
    cfg.param_scheduler = dict(
        type='MultiStepLR', by_epoch=True, end=2, milestones=[1], gamma=0.1)


def test_training_by_epochs_ends(tiny_run, log_of):
    """Each epoch sees each image once, in an order of its own; rates fall by epochs."""
    seen = []
    runner = tiny_run(by_epochs, **EPOCHS)
    runner.register_hook(_Watch(seen))
    runner.train()
    epochs = [[name for batch in seen[k:k + 3] for name in batch] for k in (0, 3)]
    assert [sorted(epoch) for epoch in epochs] == [[f'{k:03d}.png' for k in range(6)]] * 2
    assert epochs[0] != epochs[1]
    rates = scalars(runner, 'lr')
    assert [rates[step] for step in range(1, 7)] == pytest.approx([1e-3] * 3 + [1e-4] * 3)
    assert list(scalars(runner, 'panoptic/PQ')) == [3, 6]
    log = log_of(runner)
    assert 'InfiniteSampler, which has no end, is replaced by DefaultSampler' in log
    assert 'train_cfg.max_iters is not used' in log
    assert '2 epochs, 6 iterations; 2 images a step (1 x 2)' in log


class _Watch(CheckpointHook):
    """Notes the images of every step."""

    def __init__(self, seen):
        super().__init__(save_last=False)
        self.seen = seen

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append([Path(s.img_path).name for s in data_batch['data_samples']])


@pytest.mark.parametrize('key', ['sampler', 'batch_sampler'])
def test_other_endless_samplers_are_refused_for_epochs(tiny_run, key):
    def change(cfg):
        cfg.train_dataloader[key] = dict(
            type='MultiSourceSampler', batch_size=2, source_ratio=[1, 1])
    with pytest.raises(ValueError, match=f'dataloader.{key} MultiSourceSampler has no '
                       "end.*sampler=dict.*'DefaultSampler'.*'IterBasedTrainLoop'"):
        tiny_run(change, **EPOCHS).train()


def test_validation_and_test_end(tiny_run):
    def change(cfg):
        for split in ('val', 'test'):
            cfg[f'{split}_dataloader'].sampler = dict(type='InfiniteSampler')
    runner = tiny_run(change, train_cfg__max_iters=1)
    runner.train()
    runner.test()
    for loader in (runner.val_dataloader, runner.test_dataloader):
        assert list(loader.sampler) == list(range(6))


def test_norms_without_gpu(tiny_run, log_of, monkeypatch):
    monkeypatch.setattr('mmpanseg.engine.runner.get_device', lambda: 'cpu')
    runner = tiny_run(model__backbone__norm_cfg=dict(type='SyncBN'), sync_bn='torch',
                      train_cfg__max_iters=1)
    runner.train()
    norms = [part for part in runner.model.modules()
             if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    assert norms and not any(isinstance(part, nn.SyncBatchNorm) for part in norms)
    assert log_of(runner).count('Without a GPU batch norms are not synchronized') == 1
    assert runner.cfg.sync_bn == 'torch'


def test_missing_checkpoints(tiny_run, tmp_path, log_of):
    with pytest.raises(UsageError, match='gone.pth does not exist'):
        tiny_run(load_from='gone.pth')
    runner = tiny_run(resume=True, train_cfg__max_iters=1)
    runner.train()
    assert f'WARNING - no checkpoint to resume in {tmp_path / "run"}: training starts' in (
        log_of(runner))
    for path in tmp_path.glob('run/*.pth'):
        path.unlink()
    with pytest.raises(UsageError, match='iter_1.pth, which cannot be resumed: it does not exist'):
        tiny_run(resume=True).train()
