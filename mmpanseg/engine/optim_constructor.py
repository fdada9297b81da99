"""Optimiser groups by kind of module, as the published training scripts build them."""
from collections import defaultdict
from typing import Optional

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm, _InstanceNorm
from torch import nn

from mmpanseg.registry import OPTIM_WRAPPER_CONSTRUCTORS

_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ModuleTypeOptimConstructor:
    """Few parameter groups: no weight decay for norms, embedding tables and named parameters.

    mmengine's default constructor lets a name (``backbone``) override the rule for norms, and
    makes a group of every parameter; here both rules hold together and parameters with the same
    settings share a group, which lets the optimiser step them at once.

    Args:
        optim_wrapper_cfg: config of the wrapper with its ``optimizer``.
        paramwise_cfg: ``lr_mult``: {part of a parameter's name: factor}, the longest match counts;
            ``decayed_embeddings``: parts of the names of embedding tables that do decay;
            ``undecayed``: parts of further names that do not.

    Raises:
        KeyError: for an unknown key of ``paramwise_cfg`` and for a name that matches no parameter.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: Optional[dict] = None) -> None:
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)
        options = dict(paramwise_cfg or {})
        self.lr_mult = dict(options.pop('lr_mult', {}))
        self.decayed_embeddings = list(options.pop('decayed_embeddings', []))
        self.undecayed = list(options.pop('undecayed', []))
        if options:
            raise KeyError(
                f'optim_wrapper.paramwise_cfg: unknown {sorted(options)}; ModuleTypeOptim'
                'Constructor knows lr_mult, decayed_embeddings and undecayed')

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimiser wrapper for a model."""
        if is_model_wrapper(model):
            model = model.module
        config = dict(self.optim_wrapper_cfg)
        config.setdefault('type', 'OptimWrapper')
        optimizer = dict(config.pop('optimizer'))
        optimizer['params'] = self.groups(
            model, optimizer['lr'], optimizer.get('weight_decay', 0.0))
        return OPTIM_WRAPPERS.build(
            config, default_args=dict(optimizer=OPTIMIZERS.build(optimizer)))

    def groups(self, model: nn.Module, lr: float, weight_decay: float) -> list[dict]:
        """Parameter groups, one for each pair of learning rate and weight decay."""
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
        for part in [*self.lr_mult, *self.decayed_embeddings]:
            if not any(part in name for name in names):
                raise KeyError(f'optim_wrapper.paramwise_cfg names {part!r}, but no trainable '
                               'parameter of the model has that in its name')
        return [dict(params=parameters, lr=rate, weight_decay=decay)
                for (rate, decay), parameters in groups.items()]

    def _factor(self, name: str) -> float:
        matches = [part for part in self.lr_mult if part in name]
        return self.lr_mult[max(matches, key=len)] if matches else 1.0

    def _decays(self, name: str, module: nn.Module) -> bool:
        if isinstance(module, nn.Embedding):
            return any(part in name for part in self.decayed_embeddings)
        return not isinstance(module, _NORMS) and not any(part in name for part in self.undecayed)
