"""Losses, gradients and weights that are not finite."""
import copy
import math
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmpanseg.engine import UsageError
from mmpanseg.engine.batch_encoding import decode_batch
from mmpanseg.engine.step_files import read_step


class Poison(Hook):
    """Changes one step: 'image' makes a pixel NaN, 'gradient' makes one gradient infinite."""

    def __init__(self, what, *steps):
        self.what, self.steps, self.seen = what, steps, []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 not in self.steps:
            return
        self.weights = copy.deepcopy(runner.model.state_dict())
        self.seen.append([sample.img_path for sample in data_batch['data_samples']])
        if self.what == 'image':
            image = data_batch['inputs'][0].float()
            image[0, 3, 4] = math.nan
            data_batch['inputs'][0] = image
        else:
            parameter = runner.model.panoptic_head.cls_embed.weight
            handle = parameter.register_hook(
                lambda grad: handle.remove() or grad * math.inf)


def hook_config(**options):
    def change(cfg):
        cfg.custom_hooks = [dict(type='mmpanseg.NonFiniteHook', **options)]
    return change


def train(tiny_run, what='image', steps=(3,), change=lambda cfg: None, **options):
    runner = tiny_run(change, **options)
    poison = Poison(what, *steps)
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
