"""Optimizer groups by type of module, and mixed precision without loss scaling."""
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS
from mmengine.runner import autocast
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm, _InstanceNorm
from torch import nn

from mmpanseg.engine.parameter_names import check_keys, unknown_name
from mmpanseg.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from mmpanseg.utils.modules import unwrap_model

# Parameters of Swin and ConvNeXt only; schedules for all backbones contain them.
_OF_SOME_BACKBONES = ('relative_position_bias_table', 'absolute_pos_embed', '.gamma')
_KEYS = ('lr_mult', 'decayed_embeddings', 'undecayed')
_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ModuleTypeOptimConstructor:
    """Optimizer constructor without weight decay of norms, embedding tables and named parameters.

    In mmengine's default constructor a name (``backbone``) overrides the rule for norms, and each
    parameter is a group. Here both rules apply, and parameters of equal settings share a group,
    which the optimizer updates in one step.

    Args:
        optim_wrapper_cfg: config of the wrapper with its ``optimizer``.
        paramwise_cfg: ``lr_mult``: {part of a parameter's name: factor}, the longest match applies;
            ``decayed_embeddings``: parts of the names of embedding tables with weight decay;
            ``undecayed``: parts of the names of further parameters without. Default: none.

    Raises:
        ValueError: for an unknown key of ``paramwise_cfg`` and for a name that matches no
            parameter, trainable or frozen; the text lists similar names.
        TypeError: for a value of another type.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)
        options = dict(paramwise_cfg or {})
        check_keys(options, _KEYS, type(self).__name__)
        self.lr_mult = _factors(options.get('lr_mult', {}))
        self.decayed_embeddings = _names(options, 'decayed_embeddings')
        self.undecayed = _names(options, 'undecayed')

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper for a model."""
        model = unwrap_model(model)
        config = dict(self.optim_wrapper_cfg)
        config.setdefault('type', 'OptimWrapper')
        optimizer = dict(config.pop('optimizer'))
        optimizer['params'] = self.groups(
            model, optimizer['lr'], optimizer.get('weight_decay', 0.0))
        return OPTIM_WRAPPERS.build(
            config, default_args=dict(optimizer=OPTIMIZERS.build(optimizer)))

    def groups(self, model: nn.Module, lr: float, weight_decay: float) -> list[dict]:
        """Group the trainable parameters by learning rate and weight decay.

        Args:
            model: the model, not wrapped.
            lr: base learning rate.
            weight_decay: weight decay of parameters that decay.

        Returns:
            Groups as torch's optimizers expect them.
        """
        groups = defaultdict(list)
        seen = set()
        names = []
        for prefix, module in model.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter in seen or not parameter.requires_grad:
                    continue
                seen.add(parameter)
                name = f'{prefix}.{name}' if prefix else name
                names.append(name)
                decay = weight_decay if self._decays(name, module) else 0.0
                groups[lr * self._factor(name), decay].append(parameter)
        self._check_names(model, names)
        return [dict(params=parameters, lr=rate, weight_decay=decay)
                for (rate, decay), parameters in groups.items()]

    def _check_names(self, model: nn.Module, trainable: list[str]) -> None:
        every = [name for name, _ in model.named_parameters()]
        for key in _KEYS:
            for part in getattr(self, key):
                if any(part in name for name in trainable):
                    continue
                if any(part in name for name in every):
                    print_log(f'optim_wrapper.paramwise_cfg.{key}: all parameters with {part!r} in '
                              'their names are frozen', logger='current')
                elif part not in _OF_SOME_BACKBONES:
                    raise unknown_name(key, part, every)

    def _factor(self, name: str) -> float:
        matches = [part for part in self.lr_mult if part in name]
        return self.lr_mult[max(matches, key=len)] if matches else 1.0

    def _decays(self, name: str, module: nn.Module) -> bool:
        if isinstance(module, nn.Embedding):
            return any(part in name for part in self.decayed_embeddings)
        return not isinstance(module, _NORMS) and not any(part in name for part in self.undecayed)


def _factors(value: object) -> dict[str, float]:
    if not isinstance(value, dict) or not all(
            isinstance(factor, (int, float)) for factor in value.values()):
        raise TypeError('optim_wrapper.paramwise_cfg.lr_mult must be a dict of factors by parts of '
                        f"parameters' names, e.g. dict(backbone=0.1), not {value!r}")
    return dict(value)


def _names(options: dict, key: str) -> list[str]:
    value = options.get(key, [])
    if isinstance(value, str) or not all(isinstance(part, str) for part in value):
        raise TypeError(f"optim_wrapper.paramwise_cfg.{key} must be a list of parts of parameters' "
                        f'names, not {value!r}')
    return list(value)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes in bfloat16 where autocast allows it; weights and updates remain float32.

    bfloat16 has the range of float32, so gradients need no scaling. Unlike mmengine's
    ``AmpOptimWrapper`` it supports CPUs. It is fast on machines with bfloat16 instructions.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
