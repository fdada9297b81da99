"""What shows only in long runs: memory that grows, and loader workers that die."""
import gc
import os
import signal

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.hooks import Hook

from mmpanseg.apis import PanopticInferencer


def live_tensors() -> tuple[int, int]:
    """Number of tensors that exist, and their bytes."""
    gc.collect()
    # no subclasses: those of a compiler have no size
    found = [value for value in gc.get_objects()
             if type(value) in (torch.Tensor, torch.nn.Parameter)]
    return len(found), sum(value.numel() * value.element_size() for value in found)


class CountTensors(Hook):
    """Counts the tensors after some of the steps."""

    def __init__(self, steps: list[int]) -> None:
        self.steps = steps
        self.found: list[tuple[int, int]] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 in self.steps:
            self.found.append(live_tensors())


@pytest.mark.slow
def test_training_keeps_no_tensors(tiny_run):
    """Beside the log's means, which are no tensors, a step leaves nothing behind."""
    counts = CountTensors([20, 60])
    runner = tiny_run(lambda cfg: cfg.default_hooks.logger.update(interval=10),
                      train_cfg__max_iters=61, train_cfg__val_interval=30)
    runner.register_hook(counts, 'LOWEST')
    runner.train()
    (first, first_bytes), (last, last_bytes) = counts.found
    assert last <= first + 2 and last_bytes <= first_bytes + 4096


@pytest.mark.slow
def test_prediction_keeps_no_tensors_of_many_sizes(tiny_config):
    """Constants are cached for each padded size, and nothing for each image."""
    inferencer = PanopticInferencer(str(tiny_config), show_progress=False)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(3):
        for _ in range(15):
            height, width = rng.integers(33, 129, 2)
            inferencer(rng.integers(0, 255, (height, width, 3), np.uint8))
        found.append(live_tensors())
    # the first 15 images may lack some of the 9 padded sizes, the next ones hardly
    assert found[2][0] <= 1.1 * found[1][0] and found[2][1] <= 1.3 * found[1][1]


@TRANSFORMS.register_module()
class KillOwnWorker(BaseTransform):
    """Ends the worker process that runs it as the system does when memory is short."""

    def transform(self, results: dict) -> dict:
        assert torch.utils.data.get_worker_info() is not None
        os.kill(os.getpid(), signal.SIGKILL)
        return results


def test_a_dead_worker_ends_the_training(tiny_run):
    def change(cfg):
        cfg.train_dataloader.num_workers = 1
        cfg.train_dataloader.dataset.pipeline.insert(0, dict(type='KillOwnWorker'))
    runner = tiny_run(change)
    with pytest.raises(RuntimeError, match=r'DataLoader worker \(pid'):
        runner.train()
    assert not [name for name in os.listdir(runner.work_dir) if name.endswith('.pth')]
