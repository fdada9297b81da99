"""The numbers of a run for its screen."""
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmpanseg.engine.hooks.run_summary_hook import device_of
from mmpanseg.engine.live_screen import LiveScreen
from mmpanseg.engine.live_state import (
    RunState,
    Score,
    key_metric,
    next_validation,
    validations_left,
)
from mmpanseg.engine.live_view import image_line, step_line, validation_line


class LiveViewHook(Hook):
    """Keeps the screen of a run up to date.

    Losses, times and learning rates are those of the log file: averages over
    ``log_processor.window_size`` steps. The numbers are read when a picture is drawn; each step
    adds one loss to the trend. Without a terminal, there is a line at each interval of the
    LoggerHook and one for each validation.

    Args:
        screen: shows the numbers.
    """

    priority = 'VERY_LOW'  # after the log and the checkpoint of the step

    def __init__(self, screen: LiveScreen) -> None:
        self._screen = screen
        self._began = self._resumed = 0
        self._began_at = time.monotonic()
        self._first_step: float | None = None
        self._validations: list[float] = []
        self._validated = -1
        self._phase_began = 0.0

    @property
    def _state(self) -> RunState:
        return self._screen.state

    def before_run(self, runner: Runner) -> None:
        """Connect the log."""
        self._screen.connect(runner.logger)
        self._state.log = str(getattr(runner.logger, 'log_file', None) or '')
        self._state.device = device_of(runner.model)
        self._screen.draw(now=True)

    def before_train(self, runner: Runner) -> None:
        """Read the history of a resumed run."""
        state, hub = self._state, runner.message_hub
        self._began = runner.iter
        state.step, state.total, state.phase = runner.iter, runner.max_iters, 'running'
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            state.epochs = runner.max_epochs
        former = hub.log_scalars
        if 'train/loss' in former:
            for value in former['train/loss'].data[0]:
                state.trend.add(float(value))
        names = [name.removeprefix('val/') for name in former if name.startswith('val/')]
        state.metric = self._key_metric(runner, names)
        if state.metric:
            state.scores = [Score(None, float(value))
                            for value in former[f'val/{state.metric}'].data[0]]
        self._screen.refresh = lambda: self._read(runner)
        self._screen.line(f'training {state.name}: steps {state.step + 1} to {state.total}')
        self._screen.line(f'log: {state.log}')
        self._screen.draw(now=True)

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: dict | tuple | list | None = None,
                         outputs: dict | None = None) -> None:
        """Add the loss to the trend, and draw."""
        state = self._state
        state.step, state.phase = runner.iter + 1, 'running'
        if self._first_step is None:
            self._first_step = time.monotonic()
        losses = runner.message_hub.log_scalars.get('train/loss')
        if losses is not None:
            state.trend.add(float(losses.current()))
        if self._screen.live:
            self._screen.draw()
        elif self._is_logged(runner, batch_idx):
            self._read(runner)
            self._screen.line(step_line(state))

    def before_val(self, runner: Runner) -> None:
        """Start the bar of a validation."""
        self._validated = self._state.step
        self._begin_images(runner.val_dataloader, 'validating')

    def after_val_iter(self, runner: Runner, batch_idx: int,
                       data_batch: dict | tuple | list | None = None,
                       outputs: Sequence | None = None) -> None:
        """Count the images."""
        self._count_images(batch_idx, outputs, runner.val_dataloader)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add the score of a validation."""
        state = self._state
        seconds = time.monotonic() - self._phase_began
        self._validations.append(seconds)
        numbers = {name: float(value) for name, value in (metrics or {}).items()
                   if isinstance(value, (int, float))}
        state.metric = state.metric or self._key_metric(runner, numbers)
        if state.metric in numbers:
            state.scores.append(Score(state.step, numbers[state.metric]))
        state.further = {name: value for name, value in numbers.items() if name != state.metric}
        state.phase = 'running'
        self._screen.line(validation_line(state, seconds))
        self._screen.draw(now=True)

    def before_test(self, runner: Runner) -> None:
        """Start the bar of a test."""
        self._screen.refresh = lambda: self._read_test(runner)
        self._screen.line(f'testing {self._state.name}')
        self._screen.line(f'log: {self._state.log}')
        self._begin_images(runner.test_dataloader, 'running')

    def after_test_iter(self, runner: Runner, batch_idx: int,
                        data_batch: dict | tuple | list | None = None,
                        outputs: Sequence | None = None) -> None:
        """Count the images; after the last one the scores are shown as they are logged."""
        loader = runner.test_dataloader
        self._count_images(batch_idx, outputs, loader)
        if self.every_n_inner_iters(batch_idx, _log_interval(runner)):
            self._read_test(runner)
            self._screen.line(image_line(self._state))
        if batch_idx + 1 == len(loader):
            self._state.phase = 'finished'
            self._screen.show_messages()

    def after_train(self, runner: Runner) -> None:
        """Name the last checkpoint."""
        self._read(runner)
        if self._state.checkpoint:
            self._screen.line(f'checkpoint: {self._state.checkpoint}')

    def _is_logged(self, runner: Runner, batch_idx: int) -> bool:
        last = self.is_last_train_iter(runner)
        return last or self.every_n_inner_iters(batch_idx, _log_interval(runner))

    def _begin_images(self, loader: Any, phase: str) -> None:
        state = self._state
        state.images, state.all_images, state.phase = 0, _size(loader), phase
        state.images_per_second = None
        self._phase_began = time.monotonic()
        self._screen.draw(now=True)

    def _count_images(self, batch_idx: int, outputs: Sequence | None, loader: Any) -> None:
        """Count the images of all processes, which are as fast as this one."""
        state = self._state
        done = state.images + len(outputs or ()) * get_world_size()
        state.images = min(done, state.all_images)
        last = batch_idx + 1 == len(loader)
        if last:
            state.images = state.all_images
            if state.phase == 'validating':
                state.phase = 'scoring'
        state.images_per_second = state.images / max(time.monotonic() - self._phase_began, 1e-9)
        self._screen.draw(now=last)

    def _key_metric(self, runner: Runner, names: Any) -> str:
        preferred: list[str] = []
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                preferred += getattr(hook, 'key_indicators', None) or []
        return key_metric(names, preferred)

    def _read_test(self, runner: Runner) -> None:
        state = self._state
        state.elapsed = time.monotonic() - self._began_at
        rate = state.images_per_second
        state.left = (state.all_images - state.images) / rate if rate else None
        self._read_memory(runner)

    def _read(self, runner: Runner) -> None:
        """Read the numbers of a training."""
        state, scalars = self._state, runner.message_hub.log_scalars
        window = runner.log_processor.window_size
        for key, buffer in scalars.items():
            mode, _, name = key.partition('/')
            if mode != 'train' or not len(buffer.data[0]):
                continue
            if name == 'lr' or name.endswith('.lr'):
                state.rates[name] = float(buffer.current())
            elif name == 'time':
                state.step_time = float(buffer.mean(window))
            elif name == 'data_time':
                state.data_time = float(buffer.mean(window))
            elif name == 'loss':
                state.loss = float(buffer.mean(window))
            elif 'loss' in name:
                state.terms[name] = float(buffer.mean(window))
        state.checkpoint = _path(runner.message_hub.runtime_info.get('last_ckpt'))
        state.best_checkpoint = _path(runner.message_hub.runtime_info.get('best_ckpt'))
        self._read_time(runner)
        self._read_memory(runner)

    def _read_time(self, runner: Runner) -> None:
        """Estimate the remaining time from the steps after the first one and the validations."""
        state, now = self._state, time.monotonic()
        state.elapsed = now - self._began_at
        loop, by_epoch = runner.train_loop, bool(state.epochs)
        state.epoch = runner.epoch if by_epoch else 0
        # the validation of a step comes after its hooks
        steps = state.step - (self._validated != state.step)
        where = (max(steps, 0), state.total) if not by_epoch else (runner.epoch, state.epochs)
        state.next_validation, waiting = None, 0
        if runner.val_loop is not None:
            when = (*where, loop.val_interval, loop.val_begin)
            state.next_validation, waiting = next_validation(*when), validations_left(*when)
        done = state.step - self._began - 1
        if self._first_step is None or done < 1:
            state.left = None
            return
        in_validation = now - self._phase_began if state.phase in ('validating', 'scoring') else 0
        training = now - self._first_step - sum(self._validations) - in_validation
        state.left = training / done * (state.total - state.step)
        if self._validations:
            each = sum(self._validations) / len(self._validations)
            state.left += waiting * each + (max(each - in_validation, 0) if in_validation else 0)

    def _read_memory(self, runner: Runner) -> None:
        state = self._state
        device = next((p.device for p in runner.model.parameters()), torch.device('cpu'))
        state.on_gpu = device.type == 'cuda'
        if state.on_gpu:
            state.memory = torch.cuda.max_memory_allocated(device)
            state.memory_limit = torch.cuda.get_device_properties(device).total_memory
        else:
            state.memory = _resident_memory()


def _log_interval(runner: Runner) -> int:
    """Steps between two lines of the log."""
    return next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 50)


def _resident_memory() -> int:
    """Bytes of this process in main memory; without /proc those of its peak."""
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf('SC_PAGE_SIZE')


def _size(loader: Any) -> int:
    dataset = loader.dataset
    return len(dataset) if hasattr(dataset, '__len__') else len(loader)


def _path(path: Any) -> str:
    """Path of a checkpoint, relative to the current folder if it is in it."""
    if path is None:
        return ''
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
