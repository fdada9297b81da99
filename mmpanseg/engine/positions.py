"""Positions in a training: steps of validation, steps within an epoch."""
from bisect import bisect

from mmengine.runner import EpochBasedTrainLoop, Runner

from mmpanseg.engine.epoch_loop import ResumableEpochLoop


def is_validation_step(runner: Runner, epoch: int, step: int) -> bool:
    """Check whether the training loop validates at a position.

    Args:
        runner: with a built training loop.
        epoch: number of finished epochs.
        step: number of finished steps.
    """
    loop = runner.train_loop
    if runner.val_loop is None or not hasattr(loop, 'val_begin'):
        return False
    position, end = step, loop.max_iters
    if isinstance(loop, EpochBasedTrainLoop):
        if steps_in_epoch(runner):
            return False
        position, end = epoch, loop.max_epochs
    interval = loop.dynamic_intervals[bisect(loop.dynamic_milestones, position + 1) - 1]
    return position >= loop.val_begin and (position % interval == 0 or position == end)


def steps_in_epoch(runner: Runner) -> int:
    """Return the steps that a training by epochs has done in its current epoch, else 0.

    Args:
        runner: with a built training loop.
    """
    loop = runner.train_loop
    return loop.steps_in_epoch if isinstance(loop, ResumableEpochLoop) else 0


def position_meta(runner: Runner, epoch: int, step: int) -> dict[str, int]:
    """Return the entries of a checkpoint's ``meta`` that describe a position.

    Args:
        runner: with a built training loop.
        epoch: number of finished epochs.
        step: number of finished steps.

    Returns:
        ``epoch``, ``iter``, and within an epoch ``epoch_steps`` of ``epoch_length``.
    """
    meta = dict(epoch=epoch, iter=step)
    if done := steps_in_epoch(runner):
        meta.update(epoch_steps=done, epoch_length=len(runner.train_dataloader))
    return meta
