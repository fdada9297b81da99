"""Losses, gradients and weights that are not finite."""
import copy
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmpanseg.engine import UsageError
from mmpanseg.engine.batch_encoding import decode_batch
from mmpanseg.engine.step_files import read_step

from .poison import Poison


def hook_config(**options):
    def change(cfg):
        cfg.custom_hooks = [dict(type='mmpanseg.NonFiniteHook', **options)]
    return change


def train(tiny_run, what='image', steps=(3,), change=lambda cfg: None, **options):
    runner = tiny_run(change, **options)
    poison = Poison(what, steps)
    runner.register_hook(poison)
    try:
        runner.train()
    except UsageError as error:
        return runner, poison, str(error)
    return runner, poison, None


@pytest.mark.parametrize('what', ['image', 'gradient'])
def test_a_training_stops_before_the_update(tiny_run, what):
    runner, poison, text = train(tiny_run, what)
    path = Path(runner.work_dir) / 'non_finite_step_3.pth'
    assert '\n' not in text and 'stopped in step 3, before its update' in text
    assert all(name in text for name in [*poison.seen[0], str(path)])
    assert ('losses not finite: loss_cls nan' in text) == (what == 'image')
    assert what == 'image' or (
        '1 of 8 gradient norms not finite: panoptic_head.cls_embed inf' in text)
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, poison.weights[name]), name
    assert not (Path(runner.work_dir) / 'iter_4.pth').exists()
    content = read_step(path)
    assert content['step'] == 3 and content['processes'] == 1
    for name, tensor in content['state_dict'].items():
        assert torch.equal(tensor, poison.weights[name]), name
    torch.load(path, weights_only=True)
    assert [sample.img_path for sample in decode_batch(content['batch'])['data_samples']
            ] == poison.seen[0]


def test_the_tool_runs_the_step_again(tiny_run, tiny_config, tool, capsys):
    runner, _, text = train(tiny_run)
    path = Path(runner.work_dir) / 'non_finite_step_3.pth'
    capsys.readouterr()
    tool('analysis_tools/replay_batch', tiny_config, path, '--detect-anomaly')
    out = capsys.readouterr().out
    assert '9 of 9 losses are equal to the last bit' in out
    assert 'images: 1 of 2 tensors: inputs.0 (1 of 12288 numbers)' in out
    assert 'weights before the step: finite' in out
    assert 'first module whose output is not finite: data_preprocessor' in out


def test_a_step_runs_again_bit_by_bit(tiny_run, tiny_config, tool, capsys):
    """The gradient is finite again without the hook, so all numbers can be compared."""
    runner, _, text = train(tiny_run, 'gradient')
    path = Path(runner.work_dir) / 'non_finite_step_3.pth'
    content = read_step(path)
    capsys.readouterr()
    tool('analysis_tools/replay_batch', tiny_config, path)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    compared = {words[0]: words[1:] for words in lines if len(words) == 3}
    assert {*content['losses'], *content['gradient_norms']} <= compared.keys()
    assert all(math.isfinite(value) for value in content['losses'].values())
    for name, (before, now) in compared.items():
        if name in content['losses']:
            assert before == now != 'nan', name
    norms = {part: compared[part] for part in content['gradient_norms']}
    assert norms.pop('panoptic_head.cls_embed')[0] == 'inf'
    assert all(before == now for before, now in norms.values())


def test_large_learning_rate_stops(tiny_run):
    _, _, text = train(tiny_run, steps=(), optim_wrapper__optimizer__lr=1e6,
                       optim_wrapper__clip_grad=None)
    assert 'losses not finite' in text or 'gradient norms not finite' in text


@pytest.mark.parametrize('what', ['image', 'gradient'])
def test_skipped_steps_change_nothing(tiny_run, log_of, what):
    """BatchNorm's running statistics, weights and Adam's state are those of before the step."""
    kept = {}

    class Keep(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            kept[runner.iter + 1] = copy.deepcopy(
                (runner.model.state_dict(), runner.optim_wrapper.optimizer.state_dict()))

    runner = tiny_run(hook_config(action='skip', max_skips=2))
    poison = Poison(what, (2, 3))
    for hook in (poison, Keep()):
        runner.register_hook(hook)
    runner.train()
    before, after, last = kept[1], kept[3], kept[4]
    assert any('running_mean' in name for name in before[0])
    for name, tensor in before[0].items():
        assert torch.equal(tensor, after[0][name]), name
        assert tensor.ndim == 0 or not torch.equal(tensor, last[0][name]), name
    for index, state in before[1]['state'].items():
        for name, tensor in state.items():
            assert torch.equal(tensor, after[1]['state'][index][name])
    assert all(tensor.isfinite().all() for tensor in last[0].values())
    log = log_of(runner)
    assert 'step 2 is skipped, number 1 of at most 2' in log
    assert 'step 3 is skipped, number 2 of at most 2' in log and poison.seen[1][0] in log
    assert runner.message_hub.get_info('skipped_steps') == 2
    # neither the log nor the checkpoint has them as NaN
    assert all(math.isfinite(value) for value in runner.message_hub.get_scalar(
        'train/loss').data[0])
    assert not list(Path(runner.work_dir).glob('non_finite*'))


def test_too_many_skipped_steps_stop_also_after_resuming(tiny_run):
    runner, _, text = train(tiny_run, steps=(1,), change=hook_config(action='skip', max_skips=1),
                            train_cfg__max_iters=2)
    assert text is None

    def resumed(cfg):
        hook_config(action='skip', max_skips=1)(cfg)
        cfg.resume = True
        cfg.load_from = str(Path(runner.work_dir) / 'iter_2.pth')

    runner, _, text = train(tiny_run, steps=(3,), change=resumed)
    assert 'stopped in step 3 (1 steps were skipped, as max_skips allows)' in text


def test_a_skipped_batch_drops_the_accumulated_update(tiny_run):
    weights = {}

    class Keep(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            weights[runner.iter + 1] = copy.deepcopy(dict(runner.model.named_parameters()))

    runner = tiny_run(hook_config(action='skip'), optim_wrapper__accumulative_counts=2,
                      train_cfg__max_iters=6)
    for hook in (Poison('image', (3,)), Keep()):
        runner.register_hook(hook)
    runner.train()
    changed = [step for step in range(2, 7) if any(
        not torch.equal(weights[step - 1][name], weights[step][name]) for name in weights[1])]
    assert changed == [2, 6]  # updates are after steps 2, 4, 6; the one with step 3 is dropped


def test_accumulated_batches_stop_at_the_one_with_the_fault(tiny_run):
    _, poison, text = train(tiny_run, 'image', (3,), optim_wrapper__accumulative_counts=4)
    assert 'stopped in step 3' in text and poison.seen[0][0] in text


def test_finite_trainings_are_equal_with_and_without_the_hook(tiny_run):
    """The norm of the check is the one that clips."""
    from mmpanseg.engine.hooks import NonFiniteHook

    results = []
    for removed in (False, True):
        runner = tiny_run()
        if removed:
            runner._hooks = [hook for hook in runner.hooks if not isinstance(hook, NonFiniteHook)]
        runner.train()
        results.append((runner.model.state_dict(),
                        runner.message_hub.get_scalar('train/grad_norm').data[0]))
    for name, tensor in results[0][0].items():
        assert torch.equal(tensor, results[1][0][name]), name
    assert results[0][1].tolist() == results[1][1].tolist()


@pytest.mark.parametrize(('options', 'text'), [
    (dict(action='x'), "NonFiniteHook.action='x' must be one of 'stop', 'skip'"),
    (dict(max_skips=-1), 'NonFiniteHook.max_skips=-1 must be a number of steps, 0 or more'),
    (dict(max_skips=1.5), 'NonFiniteHook.max_skips=1.5 must be a number')])
def test_impossible_options(tiny_run, options, text):
    with pytest.raises(ValueError, match=text):
        tiny_run(hook_config(**options))


def test_bfloat16_runs_again_bit_by_bit(tiny_run, tiny_config, tool, capsys):
    runner, _, text = train(
        tiny_run, 'gradient', optim_wrapper__type='mmpanseg.BFloat16OptimWrapper')
    path = Path(runner.work_dir) / 'non_finite_step_3.pth'
    assert read_step(path)['autocast'] == 'bfloat16'
    capsys.readouterr()
    tool('analysis_tools/replay_batch', tiny_config, path)
    assert '9 of 9 losses are equal to the last bit' in capsys.readouterr().out


@pytest.fixture
def scaled(monkeypatch):
    """AmpOptimWrapper with its loss scaler, on a CPU."""
    module = 'mmengine.optim.optimizer.amp_optimizer_wrapper'
    monkeypatch.setattr(f'{module}.GradScaler', partial(torch.amp.GradScaler, device='cpu'))
    monkeypatch.setattr(f'{module}.is_cuda_available', lambda: True)

    def change(cfg):
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    return change


def test_infinite_gradients_belong_to_the_loss_scale(tiny_run, scaled):
    runner, _, text = train(tiny_run, 'gradient', (2, 3), change=scaled)
    assert text is None
    assert runner.optim_wrapper.loss_scaler.get_scale() == 65536.0 / 4


def test_a_loss_stops_with_a_loss_scale_too(tiny_run, scaled, tiny_config, tool, capsys):
    runner, _, text = train(tiny_run, change=scaled)
    assert 'losses not finite: loss_cls nan' in text
    content = read_step(Path(runner.work_dir) / 'non_finite_step_3.pth')
    assert content['loss_scale'] == 65536.0 and content['autocast'] == 'bfloat16'


def test_a_vanished_loss_scale_stops(tiny_run, scaled):
    def change(cfg):
        scaled(cfg)
        cfg.optim_wrapper.loss_scale = dict(init_scale=2.0 ** -22)

    _, _, text = train(tiny_run, 'gradient', range(1, 10), change=change, train_cfg__max_iters=9)
    # halved to 2 ** -25 by the first three steps
    assert 'stopped in step 4' in text and 'loss scale of mixed precision has fallen below' in text
