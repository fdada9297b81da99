"""Positions in a training: steps of validation, steps within an epoch."""
from bisect import bisect

from mmengine.runner import EpochBasedTrainLoop, Runner


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
        if ends_within_epoch(runner, epoch, step):
            return False
        position, end = epoch, loop.max_epochs
    interval = loop.dynamic_intervals[bisect(loop.dynamic_milestones, position + 1) - 1]
    return position >= loop.val_begin and (position % interval == 0 or position == end)


def ends_within_epoch(runner: Runner, epoch: int, step: int) -> bool:
    """Check whether a training by epochs has further steps in its current epoch.

    Args:
        runner: with a built training loop.
        epoch: number of finished epochs.
        step: number of finished steps.
    """
    loop = runner.train_loop
    return isinstance(loop, EpochBasedTrainLoop) and step != epoch * len(loop.dataloader)


def position_meta(runner: Runner, epoch: int, step: int) -> dict[str, int]:
    """Return the entries of a checkpoint's ``meta`` that describe a position.

    Args:
        runner: with a built training loop.
        epoch: number of finished epochs.
        step: number of finished steps.

    Returns:
        ``epoch``, ``iter``, and within an epoch ``epoch_length``, its number of steps.
    """
    meta = dict(epoch=epoch, iter=step)
    if ends_within_epoch(runner, epoch, step):
        meta['epoch_length'] = len(runner.train_dataloader)
    return meta
