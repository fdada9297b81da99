"""A resumed training ends as if it had not been interrupted."""
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EarlyStoppingHook
from mmengine.registry import METRICS

MATRIX = Path(__file__).resolve().parents[1] / 'kill_matrix.py'
matrix = runpy.run_path(str(MATRIX))
compare = matrix['compare_checkpoints']
STEPS = 6


@METRICS.register_module()
class CountedScore(BaseMetric):
    """Scores 1, 3, 2, 2, ... by the number of the validation, and uses random numbers."""

    count = 0
    scores = (1., 3., 2.)

    def process(self, data_batch, data_samples):
        torch.rand(1)
        self.results.append(None)

    def compute_metrics(self, results):
        CountedScore.count += 1
        return dict(PQ=self.scores[min(CountedScore.count, 3) - 1])


@pytest.fixture
def trained(tiny_run, tmp_path):
    """Trains six steps, or continues after the checkpoint of a step in a folder of its own."""
    def train(change=lambda cfg: None, after=None, num_workers=0, name='part'):
        def prepare(cfg):
            cfg.randomness = dict(seed=None)
            cfg.work_dir = str(tmp_path / (f'{name}{after}' if after else 'whole'))
            cfg.train_dataloader.num_workers = num_workers
            cfg.train_dataloader.dataset.pipeline.insert(-1, dict(
                type='mmpanseg.LargeScaleJitter', size=(64, 64)))
            cfg.train_cfg.max_iters = STEPS
            cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1)
            cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
            change(cfg)
            if after:
                folder = Path(cfg.work_dir)
                folder.mkdir()
                shutil.copy(tmp_path / f'whole/iter_{after}.pth', folder)
                cfg.resume, cfg.load_from = True, str(folder / f'iter_{after}.pth')
        runner = tiny_run(prepare)
        runner.train()
        return runner
    return train


def last(runner):
    return Path(runner.work_dir) / f'iter_{STEPS}.pth'


def rich(cfg):
    """Averages of weights, three steps for an update, dropout."""
    cfg.custom_hooks = [dict(type='EMAHook', momentum=0.1)]
    cfg.optim_wrapper.accumulative_counts = 4
    cfg.model.panoptic_head.transformer_decoder.dropout = 0.2


def by_epochs(cfg):
    """Epochs of three steps, with checkpoints inside them."""
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
    cfg.default_hooks.checkpoint.by_epoch = False
    cfg.optim_wrapper.type = 'mmpanseg.BFloat16OptimWrapper'


def finite(cfg):
    """Passes of three steps without epochs."""
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)


@pytest.mark.parametrize('change, after, num_workers', [
    (rich, 3, 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        (finite, 4, 0), (rich, 1, 0), (by_epochs, 2, 0), (by_epochs, 3, 2)))])
def test_resumed_run_equals_uninterrupted_one(trained, change, after, num_workers):
    """Bit by bit, without a seed in the config, and with another number of workers."""
    whole = trained(change)
    assert compare(last(whole), Path(whole.work_dir) / 'iter_5.pth')
    runner = trained(change, after, num_workers)
    assert not compare(last(whole), last(runner))
    assert runner.seed == whole.seed


@pytest.mark.slow
def test_checkpoint_at_the_end_of_an_epoch(trained):
    """By mmengine's own checkpoints of epochs."""
    def change(cfg):
        by_epochs(cfg)
        cfg.default_hooks.checkpoint.by_epoch = True

    whole = trained(change)
    folder = Path(whole.work_dir)
    shutil.copy(folder / 'epoch_1.pth', folder / 'iter_1.pth')
    part = trained(change, 1)
    assert not compare(folder / 'epoch_2.pth', Path(part.work_dir) / 'epoch_2.pth')


def with_scores(cfg):
    """Validations after steps 2, 4 and 6, of which the second has the best score."""
    cfg.train_cfg.val_interval = 2
    cfg.val_dataloader, cfg.val_cfg = cfg.test_dataloader, dict(type='ValLoop')
    cfg.val_evaluator = dict(type='CountedScore', _scope_='mmengine')
    cfg.default_hooks.checkpoint.save_best = 'PQ'
    cfg.custom_hooks = [dict(type='EarlyStoppingHook', monitor='PQ', patience=4)]


def stopping(runner):
    hook, = (hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook))
    return hook.wait_count, hook.best_score


@pytest.mark.parametrize('after, validations_before', [
    (4, 2), pytest.param(3, 1, marks=pytest.mark.slow), pytest.param(6, 2, marks=pytest.mark.slow)])
def test_validations(trained, log_of, monkeypatch, after, validations_before):
    """Early stopping and the best score go on; an unfinished validation runs again.

    The checkpoint of step 4 was written by its validation, that of step 6 before it.
    """
    monkeypatch.setattr(CountedScore, 'count', 0)
    whole = trained(with_scores)
    assert stopping(whole) == (1, 3.0) and CountedScore.count == 3
    monkeypatch.setattr(CountedScore, 'count', validations_before)
    runner = trained(with_scores, after)
    assert CountedScore.count == 3 and stopping(runner) == (1, 3.0)
    assert not compare(last(whole), last(runner))
    assert ('validation that follows the checkpoint runs first' in log_of(runner)) == (after == 6)


@pytest.mark.slow
def test_interrupted_in_the_last_validation(trained, monkeypatch):
    """The last checkpoint receives its best score when the validation runs again."""
    monkeypatch.setattr(CountedScore, 'count', 0)
    monkeypatch.setattr(CountedScore, 'scores', (1., 2.))
    with pytest.raises(IndexError):
        trained(with_scores)
    monkeypatch.setattr(CountedScore, 'count', 2)
    monkeypatch.setattr(CountedScore, 'scores', (1., 2., 3.))
    content = torch.load(last(trained(with_scores, STEPS)), weights_only=False)
    assert content['message_hub']['runtime_info']['best_score'] == 3
    assert content['training_state']['is_validated']


@pytest.mark.slow
def test_a_validation_that_ended_the_training(trained, monkeypatch):
    """Its checkpoint says so, unless the config now asks for more."""
    def change(cfg):
        with_scores(cfg)
        cfg.custom_hooks[0]['stopping_threshold'] = 2.5

    monkeypatch.setattr(CountedScore, 'count', 0)
    assert trained(change).iter == 4
    assert trained(change, 4).iter == 4
    assert trained(with_scores, 4, name='more').iter == STEPS


def test_checkpoints_of_other_runs(trained, log_of):
    """Without states, as of earlier versions, and of another number of processes."""
    whole = trained(finite)
    path = Path(whole.work_dir) / 'iter_4.pth'
    content = torch.load(path, weights_only=False)
    torch.save(dict(content, random_states=content['random_states'] * 2), path)
    runner = trained(finite, 4, name='two')
    assert 'WARNING - The checkpoint was written by 2 processes, this run has 1: ' in (
        log_of(runner))
    del content['random_states'], content['training_state']
    torch.save(content, path)
    runner = trained(finite, 4, name='old')
    assert 'WARNING - The checkpoint contains no states of random generators: ' in log_of(runner)
    data = runner.train_dataloader
    assert (data.position, data.start, runner.train_loop.dataloader_iterator.passes) == (6, 3, 1)


def test_states_of_a_checkpoint_are_data(trained):
    """Nothing but tensors, numbers and containers."""
    whole = trained(rich)
    content = torch.load(Path(whole.work_dir) / 'iter_5.pth', weights_only=False)
    path = Path(whole.work_dir) / 'states.pth'
    torch.save({key: content[key] for key in ('random_states', 'training_state')}, path)
    state = torch.load(path, weights_only=True)['training_state']
    assert state['data'] == dict(position=5, start=0, passes=0, length=None,
                                 sampler_seed=whole.seed)
    assert state['gradients'][0]  # of step 5


@pytest.mark.slow
def test_generators_matter(trained, monkeypatch):
    """The comparison sees what a run would lose."""
    whole = trained()
    monkeypatch.setattr('mmpanseg.engine.hooks.resume_hook.write_generators', lambda states: None)
    assert compare(last(whole), last(trained(after=3)))


@pytest.mark.slow
@pytest.mark.parametrize('system, cases', [
    ('mask2former', ('1-2', '2-0')), ('mp_former', ('1-0', '2-2')),
    ('panoptic_segformer', ('1-0', '2-2')), ('kmax_deeplab', ('1-2', '2-0'))])
def test_killed_twice(system, cases, tmp_path):
    """One and two processes, with 0 and 2 workers each. Each night kills ten times in all cases."""
    done = subprocess.run(
        [sys.executable, str(MATRIX), system, '--cases', *cases, '--kills', '2', '--folder',
         str(tmp_path)], text=True, capture_output=True, timeout=3600,
        env=dict(os.environ, PYTHONPATH=str(MATRIX.parents[1])))
    assert not done.returncode, done.stdout + done.stderr
