"""Activation checkpointing: blocks are computed again in the backward pass to save memory."""
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from fnmatch import fnmatchcase
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmpanseg.registry import HOOKS
from mmpanseg.utils.modules import unwrap_model

# Parts of a segmentor without blocks of layers.
_NO_BLOCKS = ('data_preprocessor', 'panoptic_head.criterion', 'panoptic_fusion_head')


def use_activation_checkpointing(cfg: Config) -> None:
    """Replace the config's ``activation_checkpointing`` by :class:`ActivationCheckpointingHook`.

    mmengine's own implementation of this key passes positional arguments only, and computes no
    gradients of a module whose inputs need none, such as the first stage of a backbone.

    Args:
        cfg: changed in place.

    Raises:
        ValueError: the value is neither a bool, nor a name, nor a list of names.
    """
    modules = cfg.pop('activation_checkpointing', None)
    if modules is None or modules is False:
        return
    hook = dict(type='mmpanseg.ActivationCheckpointingHook')
    if modules is not True:
        hook['modules'] = modules
    ActivationCheckpointingHook(**{key: hook[key] for key in hook if key != 'type'})
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


@HOOKS.register_module()
class ActivationCheckpointingHook(Hook):
    """Stores the inputs of blocks in training instead of all of their activations.

    The backward pass computes a block again, with the same random numbers and the same precision,
    and without a second update of the running statistics of batch norms: losses and gradients are
    those without this hook. A config names it by the key ``activation_checkpointing``, True or
    ``modules``.

    Args:
        modules: names of submodules, or patterns with ``*`` such as ``'backbone.layer*'``. None:
            every block of backbone and decoders, see :func:`repeated_blocks`.

    Raises:
        ValueError: ``modules`` is no list of names; before the training: a name fits no module.
    """

    def __init__(self, modules: str | Sequence[str] | None = None) -> None:
        if isinstance(modules, str):
            modules = [modules]
        if modules is not None and (not isinstance(modules, (list, tuple)) or not all(
                isinstance(name, str) for name in modules)):
            raise ValueError(f'activation_checkpointing={modules!r} must be True, False, or a list '
                             "of names of modules such as 'backbone.layer*'")
        self.modules = modules

    def before_train(self, runner: Runner) -> None:
        model = unwrap_model(runner.model)
        names = (repeated_blocks(model) if self.modules is None
                 else find_modules(model, self.modules))
        for name in names:
            checkpoint_activations(model.get_submodule(name))
        runner.logger.info(f'Activation checkpointing of {len(names)} modules: {", ".join(names)}')


def repeated_blocks(model: nn.Module) -> list[str]:
    """Find the blocks of backbone and decoders: members of sequences and lists, outermost first.

    Args:
        model: a segmentor.

    Returns:
        Names of modules with a forward pass and at least two layers with weights.
    """
    found: list[str] = []
    for name, container in model.named_modules():
        if not isinstance(container, (nn.ModuleList, nn.Sequential)):
            continue
        if name.startswith((*_NO_BLOCKS, *(f'{block}.' for block in found))):
            continue
        found.extend(f'{name}.{key}' for key, part in container.named_children() if _is_block(part))
    return found


def _is_block(module: nn.Module) -> bool:
    has_forward = type(module).forward is not nn.Module.forward
    if not has_forward or isinstance(module, (nn.ModuleList, nn.Sequential)):
        return False
    weights = (getattr(part, 'weight', None) for part in module.modules())
    return sum(isinstance(weight, torch.Tensor) and weight.ndim > 1 for weight in weights) > 1


def find_modules(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Find the submodules that patterns name.

    Args:
        model: any model.
        patterns: names, or patterns with ``*``, which also stands for dots.

    Returns:
        Names in the order of the model, without submodules of others among them.

    Raises:
        ValueError: a pattern fits no module, or one without a forward pass.
    """
    names = [name for name, _ in model.named_modules() if name]
    found = set()
    for pattern in patterns:
        fitting = [name for name in names if fnmatchcase(name, pattern)]
        if not fitting:
            parts = ', '.join(name for name in names if name.count('.') < 2)
            raise ValueError(f'activation_checkpointing: no module of the model is named '
                             f'{pattern!r}; there are {parts} and their submodules')
        found.update(fitting)
    outermost = [name for name in names if name in found and not any(
        name.startswith(f'{other}.') for other in found)]
    for name in outermost:
        if type(model.get_submodule(name)).forward is nn.Module.forward or isinstance(
                model.get_submodule(name), nn.ModuleList):
            raise ValueError(f'activation_checkpointing: {name} is a list of modules, which has no '
                             f'forward pass: name its members, {name}.*')
    return outermost


def checkpoint_activations(module: nn.Module) -> None:
    """Let a module store its inputs only, in training; its parameters keep their names."""
    if not isinstance(vars(module).get('forward'), _CheckpointedForward):
        module.forward = _CheckpointedForward(module, module.forward)


class _CheckpointedForward:
    """Forward pass of a module, computed again in the backward pass."""

    def __init__(self, module: nn.Module, forward: Callable) -> None:
        functools.update_wrapper(self, forward, updated=())
        self.module = module
        self.forward = forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not (self.module.training and torch.is_grad_enabled()):
            return self.forward(*args, **kwargs)
        return checkpoint(self.forward, *args, use_reentrant=False, context_fn=self._contexts,
                          **kwargs)

    def _contexts(self) -> tuple[Any, Any]:
        return nullcontext(), frozen_statistics(self.module)


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Let batch norms update copies of their running statistics."""
    norms = [part for part in module.modules()
             if isinstance(part, _BatchNorm) and part.training and part.track_running_stats]
    originals = [dict(norm._buffers) for norm in norms]
    for norm in norms:
        for name, buffer in norm._buffers.items():
            norm._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for norm, buffers in zip(norms, originals):
            norm._buffers.update(buffers)
