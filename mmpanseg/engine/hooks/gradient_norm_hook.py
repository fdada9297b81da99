"""Norms of the gradients of the parts of a model, in the log."""
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from mmpanseg.engine.gradient_parts import loss_scale, norms_by_part
from mmpanseg.registry import HOOKS


@HOOKS.register_module()
class GradientNormHook(Hook):
    """Logs the norm of the gradients of each part: backbone, decoders, class and mask heads.

    Norms are those of the update, of all its accumulated batches, without the loss scale of mixed
    precision, before clipping. They are in the log and, as ``grad_norm/{part}``, in every backend
    of ``visualizer.vis_backends``.

    Args:
        interval: number of updates from one line of the log to the next.

    Raises:
        ValueError: the interval is no positive integer.
    """

    priority = 'HIGHEST'

    def __init__(self, interval: int = 50) -> None:
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
            raise ValueError(f'GradientNormHook.interval={interval!r} must be a number of updates, '
                             '1 or more')
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):
            runner.logger.warning(f'{type(wrapper).__name__}: gradient norms are not logged')
            return
        self._updates = 0
        # of this object only: the wrapper ends with the run
        step = wrapper.step
        vars(wrapper).update(
            step=update_wrapper(partial(self._step, runner, wrapper, step), step))

    def _step(self, runner: Runner, wrapper: OptimWrapper, step: Callable, **kwargs: Any) -> None:
        self._updates += 1
        norms = {} if self._updates % self.interval else norms_by_part(
            runner.model, loss_scale(wrapper))
        if norms:  # a step that NonFiniteHook skips has no gradients
            number = runner.iter + 1
            runner.logger.info(f'gradient norms of step {number}: ' + ', '.join(
                f'{part} {norm:.4g}' for part, norm in norms.items()))
            runner.visualizer.add_scalars(
                {f'grad_norm/{part}': norm for part, norm in norms.items()}, step=number)
        step(**kwargs)
