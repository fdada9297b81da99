"""Free space for the checkpoints of a training, compared with their size before the first step."""
from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmpanseg.engine.command_line import UsageError
from mmpanseg.utils.atomic_files import free_space, readable_size
from mmpanseg.utils.modules import unwrap_model

# Tensors of the size of a parameter that an optimizer has after its first step; 2 for others.
_STATES = {'SGD': 0, 'ASGD': 1, 'Adagrad': 1, 'RMSprop': 1, 'Rprop': 2, 'Adafactor': 1}
# Config, log and message hub.
_OTHER = 1 << 20


def check_space(runner: Runner, hook: CheckpointHook) -> str:
    """Compare the free space of a disk with the checkpoints that a training will write.

    Args:
        runner: before its first step, with model and optimizer built.
        hook: writes checkpoints to a local folder.

    Returns:
        One line if the space is not sufficient for all of them; '' if it is.

    Raises:
        UsageError: it is not sufficient for one.
    """
    free = free_space(hook.out_dir)
    if free is None:
        return ''
    one = checkpoint_size(runner, hook)
    best = _weights_size(runner) * len(hook.save_best or ())
    count = _planned(runner, hook)
    if count == 0:
        return ''
    text = (f'{hook.out_dir} has {readable_size(free)} of free space, and a checkpoint takes '
            f'about {readable_size(one)}')
    if free < one:
        raise UsageError(f'{text}: free the space, or name a folder on another disk with '
                         '--work-dir')
    if free < count * one + 2 * best:
        return (f'{text}: {readable_size(count * one + 2 * best)} are needed for {count} of them'
                f'{" and the best ones" if best else ""}; free the space, or set '
                'default_hooks.checkpoint.max_keep_ckpts')
    return ''


def checkpoint_size(runner: Runner, hook: CheckpointHook) -> int:
    """Estimate the bytes of a checkpoint from the weights and the states of the optimizer."""
    size = _weights_size(runner) + _OTHER
    return size + _states_size(runner.optim_wrapper) if hook.save_optimizer else size


def _weights_size(runner: Runner) -> int:
    size = _bytes(unwrap_model(runner.model).state_dict().values())
    averaged = sum(isinstance(other, EMAHook) for other in runner.hooks)
    return size * (1 + averaged)


def _states_size(wrapper: Any) -> int:
    if not hasattr(wrapper, 'optimizer'):  # several optimizers
        return sum(map(_states_size, wrapper.values()))
    optimizer: torch.optim.Optimizer = wrapper.optimizer
    states = _bytes(chain.from_iterable(state.values() for state in optimizer.state.values()))
    if states:
        return states
    size = 0
    for group in optimizer.param_groups:
        count = _STATES.get(type(optimizer).__name__, 2)
        count += bool(group.get('amsgrad')) + (count == 0 and bool(group.get('momentum')))
        size += count * _bytes(param for param in group['params'] if param.requires_grad)
    return size


def _bytes(values: Iterable[Tensor | nn.Parameter | Any]) -> int:
    return sum(value.numel() * value.element_size() for value in values
               if isinstance(value, Tensor))


def _planned(runner: Runner, hook: CheckpointHook) -> int:
    """Count the checkpoints that will be on the disk in addition to those that are there."""
    position, length = ((runner.epoch, runner.max_epochs) if hook.by_epoch
                        else (runner.iter, runner.max_iters))
    count = 0 if hook.interval <= 0 else length // hook.interval - position // hook.interval
    count += bool(hook.save_last and position < length
                  and (hook.interval <= 0 or length % hook.interval))
    if hook.max_keep_ckpts > 0:
        # a new one is complete before the oldest is removed
        present = len(getattr(hook, 'keep_ckpt_ids', ()))
        count = min(count, max(hook.max_keep_ckpts - present, 0) + 1)
    return count
