"""Reaction to losses, gradients and weights that are not finite."""
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmpanseg.engine.anomaly import AnomalyDetection, AnomalyError
from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.engine.gradient_parts import loss_scale, norms_by_part, total_norm
from mmpanseg.engine.step_files import (
    BufferCopies,
    StepState,
    image_names,
    loss_terms,
    start_of_step,
    write_step,
)
from mmpanseg.registry import HOOKS
from mmpanseg.utils.device import deliver
from mmpanseg.utils.finite import describe_non_finite, named_tensors
from mmpanseg.utils.modules import unwrap_model

ACTIONS = ('stop', 'skip')
# faults of one process, added up
_LOSS, _GRADIENTS, _SCALE = 1, 2, 4
# Smallest positive number of half precision: below, scaling does not reach the gradients anymore.
_LEAST_SCALE = 2.0 ** -24
# entry of the message hub, which checkpoints contain
_SKIPPED = 'skipped_steps'
# losses, parts and images that a text lists
_NAMED = 8


class NonFiniteError(UsageError):
    """A loss, a gradient or a weight is not finite; its text is one line."""


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stops a training whose loss or gradients are not finite, before the optimizer's step.

    The batch, the weights before the step and the states of the random generators are written to
    ``{work dir}/non_finite_step_{step}.pth``, by every process with the fault, for
    ``tools/analysis_tools/replay_batch.py``. All processes stop, or skip the step, together.

    The check reads the sum of the losses and the norm of the gradients in one copy to the host,
    after the backward pass; gradients are then clipped with the same norm. With a loss scale (mixed
    precision in float16) infinite gradients belong to the search for the scale: there the loss is
    checked, and that the scale does not vanish. With accumulated gradients each of the batches is
    checked, and one with a fault drops the whole update.

    After a test or a validation it logs the number of queries that the fusion head has left out,
    as their logits were not finite. Every run contains this hook; ``custom_hooks`` changes its
    options.

    Args:
        action: 'stop', or 'skip' to leave out the step: weights, running statistics and the state
            of the optimizer stay as they are.
        max_skips: with 'skip', number of steps of the whole training (resumed ones included) that
            may be left out; the next one stops it.
        detect_anomaly: search for the module and the operation where the numbers stop to be finite.
            Steps take several times as long. ``tools/train.py --detect-anomaly`` sets it.

    Raises:
        ValueError: an option has an impossible value.
        NonFiniteError: in training, with the step, the faults, the images and the file.
    """

    # before hooks that read the losses of the step
    priority = 'HIGHEST'

    def __init__(self, action: str = 'stop', max_skips: int = 10,
                 detect_anomaly: bool = False) -> None:
        if action not in ACTIONS:
            raise ValueError(f'NonFiniteHook.action={action!r} must be one of '
                             f'{", ".join(map(repr, ACTIONS))}')
        if isinstance(max_skips, bool) or not isinstance(max_skips, int) or max_skips < 0:
            raise ValueError(f'NonFiniteHook.max_skips={max_skips!r} must be a number of steps, '
                             '0 or more')
        self.action = action
        self.max_skips = max_skips
        self.detect_anomaly = detect_anomaly
        self._handles: list[Any] = []

    def before_train(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):
            runner.logger.warning(f'{type(wrapper).__name__}: losses and gradients that are not '
                                  'finite are not noticed')
            return
        model = unwrap_model(runner.model)
        self._buffers = BufferCopies(model)
        self._step_of_file = _Step()
        self._norm: Tensor | None = None
        self._dropped = self._skipped_now = False
        self._anomalies: AnomalyDetection | None = None
        if self.detect_anomaly:
            self._anomalies = AnomalyDetection(model)
            self._handles.append(self._anomalies)
            runner.logger.warning('anomaly detection checks every module and operation: steps take '
                                  'several times as long; switch it off when the cause is found')
        self._handles.append(model.register_forward_hook(self._keep_losses))
        preprocessor = getattr(model, 'data_preprocessor', None)
        if isinstance(preprocessor, nn.Module):
            self._handles.append(preprocessor.register_forward_pre_hook(
                partial(self._keep_start, model)))
        self._replace(wrapper, 'backward', partial(self._backward, runner, wrapper,
                                                   wrapper.backward))
        self._replace(wrapper, 'step', partial(self._step, wrapper.step))
        clip = dict(wrapper.clip_grad_kwargs or {})
        if 'max_norm' in clip and clip.pop('norm_type', 2) == 2 and list(clip) == ['max_norm'] and (
                getattr(wrapper, 'loss_scaler', None) is None):
            self._replace(wrapper, 'clip_func', partial(self._clip, wrapper.clip_func))

    def _replace(self, owner: object, name: str, function: Callable) -> None:
        """Replace a method of one object until the training ends."""
        self._handles.append(_Replaced(owner, name))
        # schedulers mark the method of the optimizer that they count
        setattr(owner, name, update_wrapper(function, getattr(owner, name)))

    def after_train(self, runner: Runner) -> None:
        for handle in reversed(self._handles):
            handle.remove()
        self._handles = []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        if not self._handles:
            return
        if self._skipped_now and outputs:
            # they would make the means of the log NaN for many steps
            outputs.clear()
        self._skipped_now = False
        self._step_of_file = _Step()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._report_dropped(runner)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._report_dropped(runner)

    def _report_dropped(self, runner: Runner) -> None:
        """Log how many queries the fusion head of all processes has left out."""
        deliver()
        dropped = getattr(getattr(unwrap_model(runner.model), 'panoptic_fusion_head', None),
                          'dropped', None)
        if dropped is None:
            return
        counts = torch.tensor([dropped.images, dropped.queries], device=get_device())
        all_reduce(counts)
        images, queries = counts.tolist()
        dropped.images = dropped.queries = 0
        if images:
            runner.logger.warning(
                f'{queries} queries of {images} images, tiles or views had NaN or infinite logits '
                'and were left out: check the weights and these images')

    def _keep_start(self, model: nn.Module, module: nn.Module, args: tuple) -> None:
        if model.training and args and isinstance(args[0], dict):
            self._step_of_file = _Step(start_of_step(args[0], self._buffers))
            if self._anomalies is not None:
                self._anomalies.clear()

    def _keep_losses(self, module: nn.Module, args: tuple, output: Any) -> None:
        if not module.training or not isinstance(output, dict):
            return
        device = next((tensor.device.type for _, tensor in named_tensors(output)), 'cpu')
        self._step_of_file = self._step_of_file._replace(
            losses=output, autocast=str(torch.get_autocast_dtype(device)).removeprefix('torch.')
            if torch.is_autocast_enabled(device) else None)

    def _backward(self, runner: Runner, wrapper: OptimWrapper, backward: Callable, loss: Tensor,
                  **kwargs: Any) -> None:
        try:
            with nullcontext() if self._anomalies is None else self._anomalies.named():
                backward(loss, **kwargs)
        except AnomalyError as error:
            self._buffers.restore()
            fault = 0 if loss.isfinite().all() else _LOSS
            text = f'{error}; {self._report(runner, wrapper, loss, fault)}'
            self.after_train(runner)
            raise NonFiniteError(f'training stopped in step {runner.iter + 1}, before its update: '
                                 f'{text}') from error
        faults = self._read(wrapper, loss)
        if not any(faults):
            return
        count = int(runner.message_hub.runtime_info.get(_SKIPPED, 0))
        self._buffers.restore()
        stops = self.action == 'stop' or count >= self.max_skips
        text = self._texts(runner, wrapper, loss, faults, stops)
        if stops:
            self.after_train(runner)
            limit = f' ({count} steps were skipped, as max_skips allows)' if count else ''
            raise NonFiniteError(
                f'training stopped in step {runner.iter + 1}{limit}, before its update: {text}')
        runner.message_hub.update_info(_SKIPPED, count + 1)
        runner.logger.warning(f'step {runner.iter + 1} is skipped, number {count + 1} of at most '
                              f'{self.max_skips}: {text}')
        wrapper.zero_grad()
        self._dropped = self._skipped_now = True

    def _step(self, step: Callable, **kwargs: Any) -> None:
        if not self._dropped:
            step(**kwargs)
        self._dropped, self._norm = False, None

    def _clip(self, clip: Callable, parameters: Sequence[Tensor], max_norm: float,
              **kwargs: Any) -> Tensor:
        """Clip with the norm that the check has computed; its value is on the host already."""
        if self._norm is None:
            return clip(parameters, max_norm=max_norm, **kwargs)
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, self._norm)
        return self._host_norm

    def _read(self, wrapper: OptimWrapper, loss: Tensor) -> list[int]:
        """Faults of every process, read in one copy."""
        scale = loss_scale(wrapper)
        value = loss.detach().float().mean()
        faults = (~value.isfinite()).float() * _LOSS
        numbers = [value]
        if scale is None:
            self._norm = total_norm([
                parameter.grad for group in wrapper.optimizer.param_groups
                for parameter in group['params']
                if parameter.requires_grad and parameter.grad is not None]).to(value.device)
            numbers.append(self._norm.float())
            faults = faults + (~self._norm.isfinite()).float() * _GRADIENTS
        else:
            faults = faults + (scale.to(value.device).mean() < _LEAST_SCALE).float() * _SCALE
        every = faults.reshape(1)
        if (processes := get_world_size()) > 1:
            own = torch.arange(processes, device=value.device) == get_rank()
            every = torch.where(own, every, 0)
            all_reduce(every)
        found = torch.cat([torch.stack(numbers), every]).tolist()
        if scale is None:
            self._host_norm = torch.tensor(found[1])
        return [int(fault) for fault in found[len(numbers):]]

    def _texts(self, runner: Runner, wrapper: OptimWrapper, loss: Tensor, faults: list[int],
               stops: bool) -> str:
        """Describe the faults of all processes, in the same words in each of them.

        A loss names the processes at fault. Gradients are the mean over all processes, each of
        which can be the cause.
        """
        rank = get_rank()
        has_loss = any(fault & _LOSS for fault in faults)
        text = ''
        if faults[rank] & _LOSS or not has_loss and faults[rank]:
            text = self._report(runner, wrapper, loss, faults[rank], stops)
            if len(faults) > 1:
                text = f'process {rank}: {text}'
        return '; '.join(text for text in all_gather_object(text) if text)

    def _report(self, runner: Runner, wrapper: OptimWrapper, loss: Tensor, fault: int,
                stops: bool = True) -> str:
        """Describe the fault of this process, and write its file."""
        terms = loss_terms(self._step_of_file.losses) or dict(loss=float(loss.detach()))
        scale = loss_scale(wrapper)
        norms = norms_by_part(runner.model, scale)
        texts = []
        if fault & _LOSS:
            texts.append(_listed('losses', terms))
        if fault & _GRADIENTS:
            texts.append(_listed('gradient norms', norms))
        if fault & _SCALE:
            texts.append(f'the loss scale of mixed precision has fallen below {_LEAST_SCALE:.0e}, '
                         'gradients are not finite at any scale')
        if self._anomalies is not None:
            texts.append(self._anomalies.describe())
        start = self._step_of_file.start
        if start is not None:
            images = image_names(start.batch)
            if images:
                more = f' and {len(images) - _NAMED} more' if len(images) > _NAMED else ''
                texts.append(f'images of the batch: {", ".join(images[:_NAMED])}{more}')
            if stops:
                suffix = f'_rank{get_rank()}' if get_world_size() > 1 else ''
                path = Path(runner.work_dir) / f'non_finite_step_{runner.iter + 1}{suffix}.pth'
                try:
                    write_step(
                        path, start, runner.model, step=runner.iter + 1, rank=get_rank(),
                        processes=get_world_size(), losses=terms, gradient_norms=norms,
                        autocast=self._step_of_file.autocast, device=loss.device.type,
                        optimizer=wrapper.optimizer.state_dict(),
                        loss_scale=1.0 if scale is None else float(scale))
                    texts.append('run the batch again: python tools/analysis_tools/'
                                 f'replay_batch.py CONFIG {path}')
                except OSError as error:
                    texts.append(one_line(error))
        return '; '.join(filter(None, texts))


class _Step(NamedTuple):
    """What the file of a step needs: its start, its losses, the type of its autocast."""
    start: StepState | None = None
    losses: dict[str, Any] = {}
    autocast: str | None = None


def use_anomaly_detection(cfg: Config) -> None:
    """Let the run's :class:`NonFiniteHook` search for the module that makes NaN.

    Args:
        cfg: config of a whole run; changed in place. Other options of the hook stay.
    """
    hooks = [dict(hook) for hook in cfg.get('custom_hooks') or []]
    name = NonFiniteHook.__name__
    found = [hook for hook in hooks if str(hook.get('type')).split('.')[-1] == name]
    if not found:
        found = [dict(type=f'mmpanseg.{name}')]
        hooks += found
    found[0]['detect_anomaly'] = True
    cfg.custom_hooks = hooks


@HOOKS.register_module()
class FiniteCheckpointHook(Hook):
    """Refuses to write checkpoints with numbers that are not finite; every run contains it.

    Raises:
        NonFiniteError: weights, averaged weights or the state of the optimizer contain NaN or
            infinity; the text names the tensors. The earlier checkpoints stay.
    """

    # after hooks that change the content, such as EMAHook
    priority = 'LOWEST'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        for key in ('state_dict', 'ema_state_dict', 'optimizer'):
            text = describe_non_finite(dict(named_tensors(checkpoint.get(key), key)))
            if text:
                raise NonFiniteError(
                    f'no checkpoint is written after step {runner.iter + 1}, because it would hold '
                    f'NaN or infinity in {text}; earlier checkpoints in {runner.work_dir} stay: '
                    'resume from one with a lower learning rate or clipped gradients')


class _Replaced:
    """The value of an attribute of an object before its replacement."""

    def __init__(self, owner: object, name: str) -> None:
        self.owner, self.name = owner, name
        self.own = {key: value for key, value in vars(owner).items() if key == name}

    def remove(self) -> None:
        """Set the former value; a method becomes the one of the class again."""
        vars(self.owner).pop(self.name, None)
        vars(self.owner).update(self.own)


def _listed(what: str, values: dict[str, float]) -> str:
    """Phrase with the values that are not finite."""
    bad = [f'{name} {value}' for name, value in values.items() if not math.isfinite(value)]
    more = f' and {len(bad) - _NAMED} more' if len(bad) > _NAMED else ''
    return f'{len(bad)} of {len(values)} {what} not finite: {", ".join(bad[:_NAMED])}{more}'
