"""Checkpoints that were trained with another config than that of the run that loads them."""
import pytest
import torch

from mmpanseg.engine import UsageError
from mmpanseg.engine.hooks import CheckpointMetaHook

FLIPPED = 'model.data_preprocessor.bgr_to_rgb is True in the checkpoint, False here'


@pytest.fixture(scope='module')
def trained(tiny_config, tmp_path_factory):
    """A checkpoint of the tiny model, as its training writes it."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from mmpanseg.engine import PanopticRunner

    init_default_scope('mmdet')
    cfg = Config.fromfile(tiny_config)
    cfg.train_cfg.max_iters = 1
    cfg.default_hooks.checkpoint.interval = 1
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    cfg.work_dir = str(tmp_path_factory.mktemp('trained'))
    cfg.experiment_name = 'trained'
    PanopticRunner.from_cfg(cfg).train()
    return f'{cfg.work_dir}/iter_1.pth'


@pytest.fixture
def changed(trained, tmp_path):
    """Copies the checkpoint with another meta."""
    def change(**entries):
        content = torch.load(trained, weights_only=False)
        content['meta'].update(entries)
        torch.save(content, tmp_path / 'changed.pth')
        return str(tmp_path / 'changed.pth')
    return change


def flip(cfg):
    cfg.model.data_preprocessor.bgr_to_rgb = False
    cfg.model.data_preprocessor.pad_size_divisor = 16


def test_same_config_is_silent(trained, tiny_run, log_of):
    runner = tiny_run(load_from=trained)
    runner.test()
    assert sum(isinstance(hook, CheckpointMetaHook) for hook in runner.hooks) == 1
    assert 'was trained with other settings' not in log_of(runner)


def test_flipped_channels_in_a_test(trained, tiny_run, log_of):
    runner = tiny_run(flip, load_from=trained)
    runner.test()
    log = log_of(runner)
    assert f'{trained} was trained with other settings: {FLIPPED}' in log
    assert 'pad_size_divisor is 32 in the checkpoint, 16 here' in log
    with pytest.raises(UsageError, match='bgr_to_rgb is True .*; .*pad_size_divisor is 32') as info:
        tiny_run(lambda cfg: (flip(cfg), cfg.merge_from_dict(dict(strict_meta=True))),
                 load_from=trained).test()
    assert '\n' not in str(info.value) and trained in str(info.value)


def test_fine_tuning_compares_channels_only(trained, tiny_run, log_of):
    runner = tiny_run(flip, load_from=trained, train_cfg__max_iters=1)
    runner.train()
    log = log_of(runner)
    assert FLIPPED in log
    assert 'pad_size_divisor is' not in log


def test_resuming_compares_everything(trained, tiny_run, log_of):
    runner = tiny_run(flip, load_from=trained, resume=True, train_cfg__max_iters=2)
    runner.train()
    assert FLIPPED in log_of(runner)
    assert 'pad_size_divisor is 32 in the checkpoint, 16 here' in log_of(runner)


def test_other_names_and_another_split(changed, tiny_run, log_of):
    described = dict(thing_classes=('ball', 'sky'), stuff_classes=('floor', ),
                     classes=('ball', 'sky', 'floor'))
    path = changed(dataset_meta=described)
    runner = tiny_run(load_from=path)
    runner.test()
    assert ("metainfo.classes[2] is 'floor' in the checkpoint, 'ground' here (1 of 3 names differ)"
            in log_of(runner))
    assert 'model.num_things_classes is 2 in the checkpoint, 1 here' in log_of(runner)
    runner = tiny_run(load_from=path, train_cfg__max_iters=1)
    runner.train()  # the classifier keeps its rows: fine-tuning is told, too
    assert "'floor' in the checkpoint, 'ground' here" in log_of(runner)
    with pytest.raises(UsageError, match="'floor' in the checkpoint"):
        tiny_run(load_from=path, strict_meta=True).test()


def test_checkpoint_without_a_description(changed, tiny_run, log_of):
    runner = tiny_run(flip, load_from=changed(cfg='no config', dataset_meta=None))
    runner.test()
    assert 'was trained with other settings' not in log_of(runner)
