"""What a checkpoint needs beyond weights and optimizer to continue a run exactly."""
from pathlib import Path
from typing import Any

from mmengine.dist import gather_object, get_world_size
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import Tensor

from mmpanseg.engine.random_states import read_generators, write_generators
from mmpanseg.engine.training_loader import data_state, restore_data_state
from mmpanseg.registry import HOOKS
from mmpanseg.utils.modules import unwrap_model


@HOOKS.register_module()
class ResumeHook(Hook):
    """Stores and restores the states that mmengine's checkpoints lack.

    ``random_states`` of a checkpoint are the generators of each process. ``training_state``
    contains the position in the training data, early stopping, gradients of an unfinished
    accumulation, and buffers that differ between processes.

    A validation does not change the generators of the training. One that follows the step of the
    checkpoint runs before the first step, unless the checkpoint was written at its end.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._gathered: dict[str, Any] = {}
        self._loaded: dict[str, Any] | None = None
        self._outside: dict[str, Any] | None = None
        self._is_repeated = False

    def gather(self, runner: Runner) -> None:
        """Collect the states of all processes for a checkpoint; every process must call it."""
        model = unwrap_model(runner.model)
        buffers = {} if get_world_size() == 1 else {
            name: value.cpu() for name, value in model.named_buffers()}
        gathered = gather_object(
            (self._outside or read_generators(), _open_gradients(runner), buffers))
        if gathered is None:  # not the first process
            return
        generators, gradients, buffers_of = zip(*gathered)
        self._gathered = dict(
            random_states=list(generators),
            training_state=dict(
                data=data_state(runner.train_loop),
                is_validated=self._outside is not None and not self._is_repeated,
                early_stopping={
                    hook.monitor: dict(wait_count=hook.wait_count,
                                       best_score=float(hook.best_score))
                    for hook in _early_stopping(runner)},
                gradients=list(gradients),
                buffers=[{name: value for name, value in own.items()
                          if not value.equal(buffers_of[0][name])} for own in buffers_of]))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add what :meth:`gather` collected."""
        checkpoint.update(self._gathered)
        self._gathered = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the states of a checkpoint that a run resumes."""
        if runner._resume:
            self._loaded = {key: checkpoint.get(key)
                            for key in ('random_states', 'training_state')}

    def before_train(self, runner: Runner) -> None:
        """Restore the states, as the last action before the first step."""
        if self._loaded is None:
            return
        loaded, self._loaded = self._loaded, None
        state = loaded['training_state'] or {}
        self._restore(runner, loaded['random_states'], state)
        if not _validation_is_due(runner.train_loop) or runner.val_loop is None:
            return
        if not state.get('is_validated'):
            runner.logger.info('The validation that follows the checkpoint runs first')
            _name_last_checkpoint(runner)
            runner.val_loop.run()
        elif any(_is_stopped(hook) for hook in _early_stopping(runner)):
            runner.train_loop.stop_training = True

    def before_val(self, runner: Runner) -> None:
        """Keep the generators of the training."""
        self._outside, self._is_repeated = read_generators(), False

    def repeat_validation(self) -> None:
        """Let a run that resumes a checkpoint of the current validation repeat that."""
        self._is_repeated = True

    def after_val(self, runner: Runner) -> None:
        """Restore the generators of the training."""
        if self._outside is not None:
            write_generators(self._outside)
        self._outside = None

    @staticmethod
    def _restore(runner: Runner, random_states: list | None, state: dict) -> None:
        """Restore the states of this process as far as they fit."""
        restore_data_state(runner.train_loop, state.get('data'), runner.seed)
        for hook in _early_stopping(runner):
            vars(hook).update(state.get('early_stopping', {}).get(hook.monitor, {}))
        if random_states is None:
            runner.logger.warning(
                'The checkpoint contains no states of random generators: random numbers differ '
                'from those of an uninterrupted run')
        elif len(random_states) != get_world_size():
            runner.logger.warning(
                f'The checkpoint was written by {len(random_states)} processes, this run has '
                f'{get_world_size()}: batches and random numbers differ from those of an '
                'uninterrupted run')
        else:
            model = unwrap_model(runner.model)
            buffers = dict(model.named_buffers())
            for name, value in state['buffers'][runner.rank].items():
                buffers[name].copy_(value)
            parameters = dict(model.named_parameters())
            for name, value in state['gradients'][runner.rank].items():
                parameters[name].grad = value.to(parameters[name].device)
            write_generators(random_states[runner.rank])


def _open_gradients(runner: Runner) -> dict[str, Tensor]:
    """Return the gradients by parameter if further steps will add to them before an update."""
    wrapper = runner.optim_wrapper
    parts = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    # a wrapper that is not built yet has no gradients
    if all(not isinstance(part, OptimWrapper) or part.should_update() for part in parts):
        return {}
    return {name: parameter.grad.cpu()
            for name, parameter in unwrap_model(runner.model).named_parameters()
            if parameter.grad is not None}


def _early_stopping(runner: Runner) -> list[EarlyStoppingHook]:
    return [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]


def _name_last_checkpoint(runner: Runner) -> None:
    """Let CheckpointHook add a new best score to the last checkpoint, as it does without a stop."""
    path = runner.message_hub.runtime_info.get('last_ckpt')
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and path and Path(path).is_file():
            hook.last_ckpt = path


def _is_stopped(hook: EarlyStoppingHook) -> bool:
    """Check whether early stopping has ended the training."""
    limit = hook.stopping_threshold
    return hook.wait_count >= hook.patience or (
        limit is not None and hook.rule_map[hook.rule](hook.best_score, limit))


def _validation_is_due(loop: BaseLoop) -> bool:
    """Check whether a validation follows the step or epoch that a training loop has finished."""
    if isinstance(loop, IterBasedTrainLoop):
        done, end = loop.iter, loop.max_iters
    elif isinstance(loop, EpochBasedTrainLoop):
        done, end = loop.epoch, loop.max_epochs
        if loop.iter != done * len(loop.dataloader):  # in an epoch, whose end the loop will see
            return False
    else:
        return False
    loop._decide_current_val_interval()
    return done > 0 and done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)
