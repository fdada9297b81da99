"""A check of the data before the first step."""
import copy
import logging
import os
from collections.abc import Sequence
from itertools import islice
from typing import Any

from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpanseg.doctor.problem import Problem, Severity
from mmpanseg.doctor.startup import FirstSamples, start_problems
from mmpanseg.engine.command_line import UsageError
from mmpanseg.engine.main_process import decide_on_main
from mmpanseg.registry import HOOKS

# 0: no check, as tools/train.py --no-data-check
SWITCH = 'MMPANSEG_DATA_CHECK'
_MOST_TRAINING, _MOST_VALIDATION = 32, 8


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Checks the classes and the first images of each worker before the first step.

    It is the fast part of ``mmpanseg doctor``, and takes less than two seconds. Only the main
    process checks, for all of them. An error stops the training, warnings are logged.

    Args:
        enabled: False for no check, as with ``--no-data-check`` or MMPANSEG_DATA_CHECK=0.
        seconds: no image is read after this time.

    Raises:
        UsageError: on every process, if there is an error; the text is its first line.
    """

    def __init__(self, enabled: bool = True, seconds: float = 1.5) -> None:
        self.enabled, self.seconds = enabled, seconds

    def before_train(self, runner: Runner) -> None:
        if not self.enabled:
            return

        def check() -> None:
            if os.environ.get(SWITCH) != '0':
                self._check(runner)

        decide_on_main(check)

    def _check(self, runner: Runner) -> None:
        try:
            samples = [_first_samples('train', runner.train_dataloader, _MOST_TRAINING,
                                      get_world_size())]
            if runner.val_loop is not None:
                samples.append(_first_samples('val', runner.val_dataloader, _MOST_VALIDATION, 1))
            found = start_problems(samples, self.seconds)
        except Exception as error:
            # data sets of any package: what the check does not understand must not stop a run
            runner.logger.warning(f'the data were not checked: {type(error).__name__}: {error}')
            return
        errors = [entry for entry in found if entry.severity == Severity.ERROR]
        for entry in found:
            if entry.severity != Severity.ERROR:
                runner.logger.log(logging.WARNING, problem_line(entry))
        if errors:
            more = f' ({len(errors) - 1} more)' * (len(errors) > 1)
            config = runner.cfg.filename or 'CONFIG'
            raise UsageError(
                f'{problem_line(errors[0])}{more}; `mmpanseg doctor {config}` lists all problems '
                'of the data, --no-data-check trains without this check')


def problem_line(entry: Problem) -> str:
    """Write a problem as one line.

    Args:
        entry: the problem.
    """
    place = [entry.split, entry.file or '']
    if entry.segment_id is not None:
        place.append(f'segment {entry.segment_id}')
    return f'{entry.check} {": ".join(filter(None, place))}: {entry.text}; {entry.mend}'


def _first_samples(split: str, loader: Any, most: int, processes: int) -> FirstSamples:
    """Choose the samples of the first batch of each worker of each process.

    The order of samplers of other packages is unknown; samples are then spread over the data.
    """
    size = getattr(loader.batch_sampler, 'batch_size', None) or loader.batch_size or 1
    count = min(most, size * max(loader.num_workers, 1) * processes)
    sampler, dataset = loader.sampler, loader.dataset
    sampler = getattr(loader.batch_sampler, 'sampler', sampler)
    indices: Sequence[int]
    if type(sampler) is InfiniteSampler:
        # its own iterator would be advanced
        indices = list(islice(sampler._infinite_indices(), count))
    elif type(sampler) is DefaultSampler:
        indices = []
        for rank in range(processes):
            other = copy.copy(sampler)
            other.rank = rank
            indices += list(islice(iter(other), -(-count // processes)))
    else:
        indices = range(0, len(dataset), max(1, len(dataset) // count))[:count]
    return FirstSamples(split, dataset, indices)
