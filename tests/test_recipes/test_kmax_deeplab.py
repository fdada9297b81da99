"""Learning rates of kMaX-DeepLab's recipes against the published schedule."""
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

FILES = {'coco': 'kmax_150k_coco', 'cityscapes': 'kmax_60k_cityscapes', 'ade20k': 'kmax_100k'}


@pytest.mark.parametrize('data', FILES)
def test_learning_rate(repo_root, golden, data):
    path = golden / 'kmax_deeplab/manifest_lr_schedule.json'
    published = json.loads(path.read_text())[data]
    config = Config.fromfile(repo_root / f'configs/_base_/schedules/{FILES[data]}.py')
    lr = config.optim_wrapper.optimizer.lr
    assert (lr, config.max_iters) == (published['base_lr'], published['max_iters'])
    assert config.train_cfg.max_iters == config.max_iters
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    schedulers = [PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optimizer))
                  for scheduler in config.param_scheduler]
    optimizer.step()
    for iteration in range(config.max_iters):
        expected = published['learning_rate_at_iteration'].get(str(iteration))
        if expected is not None:
            assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, rel=1e-6)
        for scheduler in schedulers:
            scheduler.step()
