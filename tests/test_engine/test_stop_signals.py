"""Signals end a training after its step, with a checkpoint from which it goes on."""
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmpanseg.engine.checkpoint_files import latest_checkpoint

pytestmark = pytest.mark.skipif(sys.platform == 'win32', reason='needs fork')
NEVER = dict(default_hooks__checkpoint__interval=100)


class Send(Hook):
    """Sends signals to this process at a point of the training."""

    priority = 'VERY_HIGH'

    def __init__(self, point, step, *numbers, group=False):
        self.point, self.step, self.numbers, self.group = point, step, numbers, group
        self.images = []

    def _at(self, point, step):
        if point == self.point and step == self.step:
            for number in self.numbers:
                os.kill(0 if self.group else os.getpid(), number)

    def before_train(self, runner):
        self._at('start', runner.iter)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.images += [sample.img_id for sample in data_batch['data_samples']]
        self._at('step', runner.iter + 1)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._at('batch', batch_idx + 1)


def load(path):
    return torch.load(path, weights_only=False)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.is_dir()}


@pytest.fixture
def stopped(tiny_run, in_child, tmp_path):
    """Trains until a signal in another process: exit status, and output."""
    def run(send, change=lambda cfg: None, **options):
        def train():
            runner = tiny_run(change, **NEVER, **options)
            runner.register_hook(send)
            try:
                runner.train()
            finally:
                print('images', *send.images)
        return in_child(train)
    return run


@pytest.mark.parametrize('number, expected', [
    (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_ends_the_step_and_saves(stopped, tiny_run, tmp_path, number, expected, log_of):
    status, output = stopped(Send('step', 2, number))
    folder = tmp_path / 'run'
    assert status == expected, output
    assert 'Traceback' not in output
    assert f'{number.name}: the training stops after this step' in output
    assert (f'{number.name}: the training stopped after step 2, --resume continues it from '
            f'{folder}/iter_2.pth') in output
    assert {'iter_2.pth', 'last_checkpoint'} <= names(folder) and '.lock' not in names(folder)
    choice = latest_checkpoint(str(folder))
    assert choice.path == f'{folder}/iter_2.pth' and not choice.warning
    runner = tiny_run(resume=True, **NEVER)
    runner.train()
    assert runner.iter == 4 and 'resumed epoch: 0, iter: 2' in log_of(runner)


def test_the_same_signal_again_ends_at_once(stopped, tmp_path):
    status, output = stopped(Send('step', 2, signal.SIGINT, signal.SIGINT))
    assert status == 130 and 'Traceback' not in output
    assert not names(tmp_path / 'run') & {'iter_2.pth', 'last_checkpoint', '.lock'}


def test_other_signals_after_the_first_one(stopped, tmp_path):
    """A launcher sends SIGTERM after the terminal's Ctrl-C."""
    status, output = stopped(Send('step', 2, signal.SIGINT, signal.SIGTERM))
    assert status == 130, output
    assert 'iter_2.pth' in names(tmp_path / 'run')


def test_before_the_first_step_there_is_nothing_to_save(stopped, tmp_path):
    status, output = stopped(Send('start', 0, signal.SIGTERM))
    assert status == 143 and 'Traceback' not in output
    assert not names(tmp_path / 'run') & {'iter_0.pth', 'last_checkpoint', '.lock'}


@pytest.mark.parametrize('number, expected', [
    (signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)])
def test_signals_to_the_workers_as_well(stopped, tmp_path, number, expected):
    """A terminal and Slurm send them to all processes."""
    status, output = stopped(
        Send('step', 2, number, group=True), train_dataloader__num_workers=2,
        train_dataloader__persistent_workers=True)
    assert status == expected, output
    assert 'Traceback' not in output and 'exited unexpectedly' not in output
    assert 'iter_2.pth' in names(tmp_path / 'run')


@pytest.mark.parametrize('averaged', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_interrupted_validation_is_repeated(stopped, tiny_run, tmp_path, log_of, averaged):
    """The checkpoint is that of the step, although the weights of a validation are the averages."""
    def change(cfg):
        if averaged:
            cfg.custom_hooks = [dict(type='EMAHook', momentum=0.3)]
    whole = tiny_run(lambda cfg: (change(cfg), cfg.update(work_dir=str(tmp_path / 'whole'))),
                     train_cfg__val_interval=2)
    whole.train()
    status, output = stopped(Send('batch', 3, signal.SIGTERM), change, train_cfg__val_interval=2)
    folder = tmp_path / 'run'
    assert status == 143, output
    assert 'Iter(val) [3/6]' in output and 'Iter(val) [4/6]' not in output
    assert 'stopped after step 2' in output
    found, expected = load(folder / 'iter_2.pth'), load(tmp_path / 'whole/iter_2.pth')
    assert found['meta']['iter'] == 2
    for part in ('state_dict', *(['ema_state_dict'] if averaged else [])):
        assert found[part].keys() == expected[part].keys()
        for key, value in expected[part].items():
            assert torch.equal(found[part][key], value), key
    runner = tiny_run(change, resume=True, train_cfg__val_interval=2, **NEVER)
    runner.train()
    log = log_of(runner)
    assert log.count('Panoptic quality of 6 images') == 2  # at steps 2 and 4
    assert log.index('Panoptic quality') < log.index('Iter(train) [3/4]')
    best = whole.message_hub.get_scalar('val/panoptic/PQ').data[0][0]
    assert runner.message_hub.get_scalar('val/panoptic/PQ').data[0][0] == best


def test_gradients_of_several_steps_are_not_cut(stopped, tmp_path):
    status, output = stopped(Send('step', 3, signal.SIGINT), train_cfg__max_iters=6,
                             optim_wrapper__accumulative_counts=2)
    assert status == 130, output
    assert {name for name in names(tmp_path / 'run') if name.endswith('.pth')} == {'iter_4.pth'}


def by_epochs(cfg):
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=100)
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1, by_epoch=True,
                                        max_keep_ckpts=1)
    cfg.param_scheduler = dict(type='MultiStepLR', by_epoch=True, milestones=[1], gamma=0.5)


def images_of(output: str) -> list[int]:
    line, = (line for line in output.splitlines() if line.startswith('images'))
    return [int(word) for word in line.split()[1:]]


@pytest.mark.parametrize('step, saved', [(2, 'iter_2.pth'), (4, 'iter_4.pth'), (3, 'epoch_1.pth')])
def test_by_epochs(stopped, tiny_run, tmp_path, step, saved):
    """An epoch that was interrupted goes on with the images that it did not use."""
    folder = tmp_path / 'run'
    status, output = stopped(Send('step', step, signal.SIGINT), by_epochs)
    assert status == 130, output
    assert saved in names(folder)
    assert latest_checkpoint(str(folder)).path == str(folder / saved)
    runner = tiny_run(by_epochs, resume=True)
    runner.register_hook(rest := Send('never', 0))
    runner.train()
    images = images_of(output) + rest.images
    assert [sorted(images[k:k + 6]) for k in (0, 6, 12)] == [list(range(6))] * 3
    assert (runner.epoch, runner.iter) == (3, 9)
    assert {name for name in names(folder) if name.endswith('.pth')} == {'epoch_3.pth'}
    assert runner.optim_wrapper.get_lr()['lr'][0] == pytest.approx(5e-4)


def test_an_epoch_of_another_length_starts_again(stopped, tiny_run, log_of):
    status, output = stopped(Send('step', 4, signal.SIGINT), by_epochs)
    assert status == 130, output
    runner = tiny_run(by_epochs, resume=True, train_dataloader__batch_size=3)
    runner.register_hook(rest := Send('never', 0))
    runner.train()
    assert sorted(rest.images) == sorted([*range(6)] * 2) and runner.epoch == 3
    assert 'within an epoch of 3 steps, here an epoch has 2: epoch 2 starts again' in (
        log_of(runner))


def test_without_a_checkpoint_hook(stopped, tmp_path):
    def change(cfg):
        cfg.default_hooks.checkpoint = None
    status, output = stopped(Send('step', 2, signal.SIGINT), change)
    assert status == 130, output
    assert latest_checkpoint(str(tmp_path / 'run')).path == str(tmp_path / 'run/iter_2.pth')


def test_handlers_return(tiny_run):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    tiny_run(train_cfg__max_iters=1).train()
    assert [signal.getsignal(number) for number in numbers] == before


def test_in_another_thread_signals_are_left_alone(tiny_run):
    runner = tiny_run(train_cfg__max_iters=1)
    thread = threading.Thread(target=runner.train)
    thread.start()
    thread.join()
    assert runner.iter == 1
