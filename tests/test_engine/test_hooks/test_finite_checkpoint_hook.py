"""Checkpoints with numbers that are not finite: not written, not read."""
import math
from pathlib import Path

import pytest
import torch
from mmdet.apis import init_detector
from mmengine.hooks import Hook

from mmpanseg.apis import PanopticInferencer
from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.engine import UsageError

from .poison import Poison

PLACES = {
    'weights': 'state_dict.panoptic_head.cls_embed.bias (1 of 4 numbers)',
    'running statistics': 'state_dict.backbone.bn1.running_var (1 of 8 numbers)',
    'average': 'ema_state_dict.module.panoptic_head.cls_embed.bias (1 of 4 numbers)',
    'optimizer': 'exp_avg_sq'}


class Break(Hook):
    """Makes one number NaN after step 4, before the checkpoint of that step."""

    def __init__(self, place):
        self.place = place

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 != 4:
            return
        if self.place == 'running statistics':
            runner.model.backbone.bn1.running_var[3] = math.nan
        elif self.place == 'optimizer':
            parameter = runner.model.panoptic_head.cls_embed.bias
            runner.optim_wrapper.optimizer.state[parameter]['exp_avg_sq'][0] = math.inf
        else:  # the average is swapped with the weights when it is written
            average, = (hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
            model = average.ema_model.module if self.place == 'weights' else runner.model
            model.panoptic_head.cls_embed.bias.data[0] = math.nan


@pytest.mark.parametrize('place', PLACES)
def test_nothing_is_written(tiny_run, place):
    def change(cfg):
        cfg.custom_hooks = [dict(type='EMAHook', update_buffers=place == 'running statistics')]

    runner = tiny_run(change)
    runner.register_hook(Break(place))
    with pytest.raises(UsageError, match='no checkpoint is written after step 4') as error:
        runner.train()
    assert '\n' not in str(error.value)
    assert PLACES[place].removeprefix('state_dict.').removeprefix('ema_state_dict.') in str(
        error.value)
    if place in ('weights', 'average'):
        assert PLACES[place] in str(error.value)
    assert [path.name for path in Path(runner.work_dir).glob('iter_*')] == ['iter_2.pth']
    assert (Path(runner.work_dir) / 'last_checkpoint').read_text().endswith('iter_2.pth')


def test_averages_stay_finite_over_a_skipped_step(tiny_run):
    def change(cfg):
        cfg.custom_hooks = [dict(type='EMAHook', update_buffers=True),
                            dict(type='mmpanseg.NonFiniteHook', action='skip')]

    runner = tiny_run(change)
    runner.register_hook(Poison('image', (2, 3)))
    runner.train()
    content = torch.load(Path(runner.work_dir) / 'iter_4.pth', weights_only=False)
    assert all(tensor.isfinite().all() for key in ('state_dict', 'ema_state_dict')
               for tensor in content[key].values())


@pytest.fixture
def broken(tiny_run, tmp_path):
    """A checkpoint with one weight that is NaN."""
    runner = tiny_run(train_cfg__max_iters=2)
    runner.train()
    path = Path(runner.work_dir) / 'iter_2.pth'
    content = torch.load(path, weights_only=False)
    content['state_dict']['backbone.conv1.weight'][0, 0, 0, 0] = math.nan
    torch.save(content, tmp_path / 'broken.pth')
    return tmp_path / 'broken.pth'


def test_such_weights_do_not_predict(broken, tiny_config, tool, tmp_path):
    text = r'holds NaN or infinity in 1 of \d+ tensors: backbone.conv1.weight \(1 of 1176 numbers\)'
    work_dir = ('--work-dir', tmp_path / 'test')
    for attempt in (
            lambda: tool('test', tiny_config, broken, *work_dir),
            lambda: tool('train', tiny_config, '--resume', broken, *work_dir),
            lambda: init_detector(str(tiny_config), str(broken), device='cpu'),
            lambda: PanopticInferencer(str(tiny_config), str(broken), device='cpu'),
            lambda: tool('image_demo', tiny_config.parent / 'images/000.png', tiny_config, broken,
                         '--device', 'cpu')):
        with pytest.raises((CheckpointError, UsageError), match=text) as error:
            attempt()
        assert '\n' not in str(error.value)
