"""Comparison of intervals and learning rate schedule with the length of the training."""
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim.scheduler.param_scheduler import INF
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmpanseg.registry import HOOKS

# At the end of their range these restore the base learning rate.
_WARM_UPS = ('LinearLR', 'ConstantLR')
_SLACK = 1  # some schedules end one step after the run


@HOOKS.register_module()
class ScheduleConsistencyHook(Hook):
    """Warns before training if a schedule or an interval is that of a run of another length.

    ``train_cfg.max_iters`` changes only the length of a run, not the steps of the learning rate,
    validations and checkpoints. The warning names both values and the setting to change.
    """

    def before_train(self, runner: Runner) -> None:
        for text in schedule_problems(runner):
            runner.logger.warning(text)


def schedule_problems(runner: Runner) -> list[str]:
    """Describe settings that do not fit the length of the training.

    Args:
        runner: with its training loop and schedulers built.

    Returns:
        One text per setting.
    """
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    length = dict(epochs=runner.max_epochs, iterations=runner.max_iters)
    problems = list(_intervals(runner, by_epoch))
    done, total = ((runner.epoch, runner.max_epochs) if by_epoch
                   else (runner.iter, runner.max_iters))
    if done >= total:
        unit = 'epochs' if by_epoch else 'iterations'
        problems.append(f'the resumed run has completed {done} {unit}, and {_length_key(unit)} is '
                        f'{total}: no step remains')
    resumed = list(_resumed(runner))
    if resumed:  # a change of the config would have no effect
        return problems + resumed
    ends = []
    for key, scheduler in _schedulers(runner):
        name = type(scheduler).__name__
        unit = 'epochs' if scheduler.by_epoch else 'iterations'
        if scheduler.by_epoch and not by_epoch:
            problems.append(
                f'{key} ({name}) counts epochs (by_epoch=True), but training counts iterations, '
                f'so that it has no effect: set by_epoch=False and its range in iterations of '
                f'train_cfg.max_iters={runner.max_iters}')
            continue
        made_for = _made_for(scheduler)
        ends.append((made_for, length[unit], key, scheduler, unit))
        if made_for is None:
            late = [step for step in _milestones(scheduler) if step > length[unit]]
            if late:
                problems.append(
                    f'{_length_key(unit)} is {length[unit]}, but {key} ({name}) has milestones at '
                    f'{_listed(late)}, which are never reached: set {key}.milestones')
        elif made_for > length[unit] + _SLACK:
            problems.append(_too_long(key, scheduler, made_for, length[unit], unit))
    if ends and all(made_for is not None and made_for < total - _SLACK
                    for made_for, total, *_ in ends):
        made_for, total, key, scheduler, unit = max(ends, key=lambda end: end[0] / end[1])
        assert made_for is not None  # of all ends, see the condition
        if type(scheduler).__name__ not in _WARM_UPS:
            problems.append(
                f'{_length_key(unit)} is {total}, but {key} ({type(scheduler).__name__}) ends '
                f'after {made_for} {unit}: the learning rate is constant from there; '
                f'set {_fixed(key, scheduler, made_for, total)}')
    return problems


def _schedulers(runner: Runner) -> Iterator[tuple[str, Any]]:
    """Yield pairs of config key and scheduler."""
    found = runner.param_schedulers or []
    groups = found.items() if isinstance(found, dict) else [(None, found)]
    for group, schedulers in groups:
        key = 'param_scheduler' if group is None else f'param_scheduler.{group}'
        for index, scheduler in enumerate(schedulers):
            yield key if len(schedulers) == 1 else f'{key}.{index}', scheduler


def _resumed(runner: Runner) -> Iterator[str]:
    """Yield differences between the schedules of a resumed checkpoint and of the config."""
    configs = runner.cfg.get('param_scheduler')
    configs = configs if isinstance(configs, (list, tuple)) else [configs]
    for (key, scheduler), config in zip(_schedulers(runner), configs):
        if not isinstance(config, dict) or config.get('convert_to_iter_based'):
            continue
        for name, found in (('end', _made_for(scheduler)), ('milestones', _milestones(scheduler))):
            wanted = config.get(name)
            if wanted is not None and wanted != found:
                yield (f'{key}.{name} is {wanted} in the config, but {found} in the resumed '
                       'checkpoint, whose schedule continues: start a new run with '
                       'load_from=CHECKPOINT for another one')


def _milestones(scheduler: Any) -> list[int]:
    return sorted(getattr(scheduler, 'milestones', []))


def _made_for(scheduler: Any) -> int | None:
    """Return the last step of a scheduler, None if it has no end."""
    end = getattr(scheduler, 'end', INF)
    return end if end < INF else None


def _length_key(unit: str) -> str:
    return 'train_cfg.max_epochs' if unit == 'epochs' else 'train_cfg.max_iters'


def _too_long(key: str, scheduler: Any, made_for: int, total: int, unit: str) -> str:
    late = [step for step in _milestones(scheduler) if step >= total]
    what = f', milestones at {_listed(late)} are never reached' if late else ''
    return (f'{_length_key(unit)} is {total}, but {key} ({type(scheduler).__name__}) ends after '
            f'{made_for} {unit}{what}: the run ends in the middle of its schedule; set '
            f'{_fixed(key, scheduler, made_for, total)}')


def _fixed(key: str, scheduler: Any, made_for: int, total: int) -> str:
    """Format the settings of the schedule for another length, for --cfg-options."""
    if type(scheduler).__name__ in _WARM_UPS:
        return f'{key}.end to a part of the run'
    milestones = [round(step * total / made_for) for step in _milestones(scheduler)]
    fixed = [f'{key}.end={total}']
    if milestones:
        fixed.append(f'{key}.milestones=[{",".join(map(str, milestones))}]')
    return ' '.join(fixed)


def _intervals(runner: Runner, by_epoch: bool) -> Iterator[str]:
    """Yield problems of the intervals of validations and checkpoints."""
    loop = runner.train_loop
    total, unit = ((runner.max_epochs, 'epochs') if by_epoch
                   else (runner.max_iters, 'iterations'))
    here = f'{_length_key(unit)} is {total}'
    if runner.val_loop is not None:
        if getattr(loop, 'val_interval', 0) > total:
            yield (f'{here}, train_cfg.val_interval {loop.val_interval}: '
                   'the only validation is at the end')
        if getattr(loop, 'val_begin', 0) > total:
            yield f'{here}, train_cfg.val_begin {loop.val_begin}: there is no validation'
        late = [step for step in getattr(loop, 'dynamic_milestones', []) if step > total]
        if late:
            yield (f'{here}, train_cfg.dynamic_intervals begin at {_listed(late)}: they are '
                   'never reached')
    for hook in runner.hooks:
        if not isinstance(hook, CheckpointHook):
            continue
        if hook.by_epoch and not by_epoch:
            yield ('default_hooks.checkpoint counts epochs (by_epoch=True), but training counts '
                   'iterations: the only checkpoint is at the end; set by_epoch=False and its '
                   'interval in iterations')
            continue
        end = runner.max_epochs if hook.by_epoch else runner.max_iters
        if hook.interval > end:
            yield (f'{_length_key("epochs" if hook.by_epoch else "iterations")} is {end}, '
                   f'default_hooks.checkpoint.interval {hook.interval}: a checkpoint is saved '
                   + ('at the end only' if hook.save_last else 'never'))


def _listed(steps: Sequence[int]) -> str:
    return ', '.join(str(step) for step in steps)
