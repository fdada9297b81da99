"""What surrounds a training: the lock of its folder, and signals that stop it."""
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.runner import Runner

from mmpanseg.engine.console import leave_screen
from mmpanseg.engine.main_process import decide_on_main
from mmpanseg.engine.stop_signals import StopSignals, TrainingStopped
from mmpanseg.engine.work_dir_lock import WorkDirLock


@contextmanager
def guarded_training(runner: Runner) -> Iterator[None]:
    """Lock the work dir of a run and handle signals within the context.

    Args:
        runner: the runner, before the first step.

    Raises:
        UsageError: another training writes to the work dir.
        TrainingStopped: a signal stopped the training.
    """
    lock = WorkDirLock(runner.work_dir)

    def leave() -> None:
        lock.release()
        leave_screen()

    with lock, StopSignals(leave):
        former = decide_on_main(lock.acquire)
        if former:
            runner.logger.warning(former)
            Runner.dump_config(runner)  # omitted while the folder was locked
        try:
            yield
        except TrainingStopped:
            runner.visualizer.close()
            raise
