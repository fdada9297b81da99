"""Gradient norms by part, compared with a direct computation."""
import json
import math
import re
from functools import partial
from pathlib import Path

import pytest
import torch

from mmpanseg.engine.gradient_parts import part_of

PARTS = {'backbone', 'panoptic_head.pixel_decoder', 'panoptic_head.transformer_decoder',
         'panoptic_head.cls_embed', 'panoptic_head.mask_embed'}


@pytest.mark.parametrize('kind', ['plain', 'accumulated', 'scaled'])
def test_norms_equal_a_direct_computation(tiny_run, log_of, monkeypatch, kind):
    module = 'mmengine.optim.optimizer.amp_optimizer_wrapper'
    monkeypatch.setattr(f'{module}.GradScaler', partial(torch.amp.GradScaler, device='cpu'))
    monkeypatch.setattr(f'{module}.is_cuda_available', lambda: True)

    def change(cfg):
        cfg.custom_hooks = [dict(type='mmpanseg.GradientNormHook', interval=1)]
        cfg.optim_wrapper.clip_grad = None
        if kind == 'accumulated':
            cfg.optim_wrapper.accumulative_counts = 2
        if kind == 'scaled':
            cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')

    runner = tiny_run(change)
    expected = {}

    def measure(optimizer, args, kwargs):
        """Called with the gradients that the optimizer uses, unscaled."""
        sums = {}
        for name, parameter in runner.model.named_parameters():
            if parameter.grad is not None:
                part = part_of(name)
                square = parameter.grad.double().square().sum()
                sums[part] = sums.get(part, 0) + float(square)
        expected[runner.iter + 1] = {part: math.sqrt(value) for part, value in sums.items()}

    optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper = optim_wrapper
    optim_wrapper.optimizer.register_step_pre_hook(measure)
    runner.train()
    assert sorted(expected) == ([2, 4] if kind == 'accumulated' else [1, 2, 3, 4])
    assert PARTS <= expected[4].keys()
    path, = Path(runner.work_dir).rglob('scalars.json')
    logged = {entry['step']: entry for entry in map(json.loads, path.read_text().splitlines())
              if 'grad_norm/backbone' in entry}
    assert logged.keys() == expected.keys()
    for step, norms in expected.items():
        for part, norm in norms.items():
            assert logged[step][f'grad_norm/{part}'] == pytest.approx(norm, rel=1e-5)
    lines = re.findall(r'gradient norms of step (\d+): backbone ([\d.e+-]+)', log_of(runner))
    assert [int(step) for step, _ in lines] == sorted(expected)
    assert float(lines[0][1]) == pytest.approx(expected[min(expected)]['backbone'], rel=1e-3)


@pytest.mark.parametrize('interval', [0, -1, 1.5, True])
def test_impossible_interval(tiny_run, interval):
    def change(cfg):
        cfg.custom_hooks = [dict(type='mmpanseg.GradientNormHook', interval=interval)]

    with pytest.raises(ValueError, match='GradientNormHook.interval=.* must be a number'):
        tiny_run(change)
