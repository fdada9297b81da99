"""A hook that breaks single steps of a training."""
import copy
import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class Poison(Hook):
    """Breaks some steps.

    Args:
        what: 'image' makes a pixel NaN, 'gradient' makes one gradient infinite.
        steps: numbers of the steps, from 1.
        rank: process to break, None for all.
    """

    def __init__(self, what: str, steps: tuple[int, ...], rank: int | None = None) -> None:
        self.what, self.steps, self.rank = what, steps, rank
        self.seen: list[list[str]] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter + 1 not in self.steps or self.rank not in (None, runner.rank):
            return
        self.weights = copy.deepcopy(runner.model.state_dict())
        self.seen.append([sample.img_path for sample in data_batch['data_samples']])
        if self.what == 'image':
            image = data_batch['inputs'][0].float()
            image[0, 3, 4] = math.nan
            data_batch['inputs'][0] = image
        else:
            model = getattr(runner.model, 'module', runner.model)
            parameter = model.panoptic_head.cls_embed.weight
            handle = parameter.register_hook(
                lambda grad: handle.remove() or grad * math.inf)
