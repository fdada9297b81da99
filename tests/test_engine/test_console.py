"""What a run shows on the console, and what only its log file holds."""
import logging

import pytest
import torch

from mmpanseg.engine.console import ConsoleFilter

FACTS = ('tiny.py', 'Mask2FormerHead, ResNet-18: 0.24 M parameters, 0.24 M of them trainable',
         'weights', 'PanopticDataset, 6 images, 1 thing + 2 stuff classes',
         '4 iterations, 1.3 epochs; 2 images a step (1 x 2)', 'AdamW, learning rate 0.001; PolyLR',
         'every 4 iterations: PanopticMetric', 'every 2 iterations, the last 3 kept', 'float32')


def first_screen(capsys) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    first = next(k for k, line in enumerate(lines) if 'Iter(train)' in line)
    return lines[:first]


def test_first_screen_of_a_training(tiny_run, capsys, log_of):
    """The summary comes once; environment, config and initialization are in the file alone."""
    runner = tiny_run(train_cfg__val_interval=4, param_scheduler__end=4)
    runner.train()
    lines = first_screen(capsys)
    assert len(lines) <= 20, '\n'.join(lines)
    for fact in FACTS:
        found = [line for line in lines if fact in line]
        assert len(found) == (2 if 'PanopticDataset' in fact else 1), (fact, lines)
    assert not any('WARNING' in line for line in lines)
    log = log_of(runner)
    for text in ('System environment', 'param_scheduler = dict(', 'LoggerHook', *FACTS,
                 'backbone.conv1.weight - torch.Size'):
        assert text in log


def test_default_constructor_and_load_from(tiny_run, capsys, tmp_path):
    """Neither a line for each parameter nor lists of missing keys after the summary of a load."""
    runner = tiny_run(train_cfg__val_interval=4)
    runner.train()
    weights = torch.load(tmp_path / 'run/iter_4.pth', weights_only=False)
    weights['state_dict'].pop('panoptic_head.cls_embed.bias')
    weights['state_dict']['extra'] = torch.ones(1)
    torch.save(weights, tmp_path / 'part.pth')
    capsys.readouterr()
    runner = tiny_run(load_from=str(tmp_path / 'part.pth'), param_scheduler__end=4,
                      train_cfg__val_interval=4,
                      optim_wrapper__optimizer__weight_decay=0.1,
                      optim_wrapper__paramwise_cfg=dict(norm_decay_mult=0.0))
    runner.train()
    lines = first_screen(capsys)
    assert len(lines) <= 25, '\n'.join(lines)
    text = '\n'.join(lines)
    assert '1 not in the checkpoint, start anew: panoptic_head.cls_embed.bias' in text
    assert 'missing keys' not in text and 'paramwise_options' not in text


def test_warnings_get_through(tiny_run, capsys):
    """Of the library, and what anybody logs while the run is built."""
    runner = tiny_run(train_cfg__val_interval=5000)
    runner.logger.warning('the disk is nearly full')
    runner.logger.info('a message of a hook')
    runner.train()
    text = '\n'.join(first_screen(capsys))
    for part in ('the disk is nearly full', 'a message of a hook', 'val_interval 5000',
                 'param_scheduler (PolyLR) ends after 8 iterations'):
        assert part in text


def test_debug_level_shows_all(tiny_run, capsys):
    tiny_run(log_level='DEBUG')
    assert 'System environment' in capsys.readouterr().out


@pytest.mark.parametrize('text, level, shown', [
    ('Config:\nmodel = dict()', 'INFO', False),
    ('Config:\nmodel = dict()', 'ERROR', True),
    ('"FileClient" will be deprecated in future. Please use io', 'WARNING', False),
    ('Hooks will follow', 'INFO', True),
    ('The model and loaded state dict do not match exactly\n\n'
     'unexpected key in source state_dict: fc.weight', 'WARNING', False),
    ('The model and loaded state dict do not match exactly\n\n'
     'missing keys in source state_dict: conv1.weight', 'WARNING', True),
])
def test_what_is_left_out(text, level, shown):
    record = logging.LogRecord('x', getattr(logging, level), '', 0, text, None, None)
    console = ConsoleFilter()
    assert console.filter(record) is shown
    with console.mismatch_hidden():
        assert console.filter(record) is (shown and 'match exactly' not in text)
