"""Stop of a training by a signal."""
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmpanseg.engine.checkpoint_files import write_last_checkpoint
from mmpanseg.engine.hooks.checkpoint_hook import SafeCheckpointHook
from mmpanseg.engine.hooks.resume_hook import ResumeHook
from mmpanseg.engine.stop_signals import StopAgreement, TrainingStopped, current_signals
from mmpanseg.engine.training_loader import steps_in_epoch
from mmpanseg.registry import HOOKS


@HOOKS.register_module()
class InterruptionHook(Hook):
    """Ends a training at a signal: after the current step, with a checkpoint.

    With accumulated gradients it ends after the update of the weights. During a validation it ends
    after the current batch; the resumed run repeats the validation. All processes end at the same
    step. Without a checkpoint hook the checkpoint is ``iter_{step}.pth`` in the work dir.
    """

    priority = 'LOWEST'  # after the checkpoint of the step

    def __init__(self) -> None:
        self._agreement = StopAgreement()
        self._agreed = 0
        self._batches = 0

    def before_train(self, runner: Runner) -> None:
        """Connect the processes; a resumed run has a checkpoint to write from now on."""
        self._agreement.connect()
        if runner._resume:
            self._begin()

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: dict | tuple | list | None = None) -> None:
        """From now on a signal has a checkpoint to write."""
        self._begin()

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: dict | tuple | list | None = None,
                         outputs: dict | None = None) -> None:
        """Stop after this step, unless gradients wait for others or the epoch ends."""
        if not self._ask() or not _weights_are_updated(runner.optim_wrapper):
            return
        # the schedulers of an epoch take their step after its last iteration
        done = steps_in_epoch(runner.train_loop)
        if not done or done < len(runner.train_dataloader):
            self._stop(runner, runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop after the last step of an epoch."""
        if self._agreed and isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._stop(runner, runner.epoch + 1, runner.iter)

    def before_val_epoch(self, runner: Runner) -> None:
        """Find the number of batches that every process validates."""
        if current_signals() is not None:
            self._batches = self._agreement.smallest(len(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, batch_idx: int,
                       data_batch: dict | tuple | list | None = None,
                       outputs: Sequence | None = None) -> None:
        """Stop after this batch of a validation."""
        if current_signals() is None or batch_idx >= self._batches or not self._ask():
            return
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                hook.after_val_epoch(runner)  # the weights of the training return to the model
            elif isinstance(hook, ResumeHook):
                hook.repeat_validation()
        self._stop(runner, runner.epoch, runner.iter)

    def _begin(self) -> None:
        if (signals := current_signals()) is not None:
            signals.training = True

    def _ask(self) -> int:
        signals = current_signals()
        if not self._agreed:
            self._agreed = self._agreement.ask(signals.received if signals else 0)
        return self._agreed

    def _stop(self, runner: Runner, epoch: int, step: int) -> None:
        hook = next((hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)), None)
        if hook is not None:
            path = hook.save_now(runner, epoch, step)
        else:
            path = str(Path(runner.work_dir) / f'iter_{step}.pth')
            runner.save_checkpoint(runner.work_dir, Path(path).name,
                                   meta=dict(epoch=epoch, iter=step), by_epoch=False)
            if is_main_process():
                write_last_checkpoint(runner.work_dir, path)
        # a launcher ends all processes when the first one ends
        self._agreement.wait()
        runner.logger.warning(f'{signal.Signals(self._agreed).name}: the training stopped after '
                              f'step {step}, --resume continues it from {path}')
        raise TrainingStopped(self._agreed)


def _weights_are_updated(wrapper: Any) -> bool:
    """Check that no gradients of earlier steps wait for those of the next one."""
    if isinstance(wrapper, OptimWrapper):
        return wrapper.should_update()
    return all(map(_weights_are_updated, wrapper.values()))
