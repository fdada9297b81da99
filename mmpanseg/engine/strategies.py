"""Training with a strategy of mmengine's FlexibleRunner: FSDP or DeepSpeed."""
import importlib.util

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import all_reduce
from mmengine.optim import OptimWrapper

from mmpanseg.engine.command_line import UsageError
from mmpanseg.registry import OPTIM_WRAPPERS

_WRAPPERS = dict(FSDPStrategy='mmpanseg.ShardedOptimWrapper',
                 DeepSpeedStrategy='DeepSpeedOptimWrapper')


def use_strategy(cfg: Config) -> None:
    """Let mmengine's FlexibleRunner run a config that has a ``strategy``.

    Gradients that FSDP has divided are clipped by :class:`ShardedOptimWrapper`. On CPUs FSDP needs
    other arguments than mmengine's default, which names a GPU.

    Args:
        cfg: config of a run with its launcher; changed in place.

    Raises:
        UsageError: the strategy needs several processes, a package that is not installed, or
            another optimizer wrapper.
    """
    strategy = cfg.get('strategy')
    if strategy is None:
        return
    from mmpanseg.engine.hooks.activation_checkpointing_hook import use_activation_checkpointing

    kind = strategy.get('type')
    if kind == 'DeepSpeedStrategy' and importlib.util.find_spec('deepspeed') is None:
        raise UsageError("strategy.type='DeepSpeedStrategy' needs the package deepspeed: pip "
                         'install deepspeed, or use configs/_base_/strategies/fsdp.py')
    if cfg.launcher == 'none':
        raise UsageError(f"strategy.type='{kind}' divides a model among processes: start with "
                         'tools/dist_train.sh')
    cfg.runner_type = 'FlexibleRunner'
    use_activation_checkpointing(cfg)  # mmengine's runner does not read that key
    wrapper = cfg.get('optim_wrapper')
    if wrapper is not None:
        _use_optim_wrapper(strategy, wrapper)
    if kind != 'FSDPStrategy':
        return
    if cfg.get('resume'):
        raise UsageError("strategy.type='FSDPStrategy' cannot resume, because mmengine passes the "
                         'states of optimizers to torch in another order: set load_from to '
                         'continue with the weights')
    # it compares whole tensors with the shards of a process
    (cfg.get('default_hooks') or {}).pop('load_summary', None)
    if get_device() == 'cpu':
        strategy.model_wrapper = dict(
            strategy.get('model_wrapper') or {}, device_id=torch.device('cpu'))
        if strategy.get('state_dict_cfg') == 'full':
            # without the copy to the host, in which torch crashes if there is no GPU
            whole = dict(offload_to_cpu=False, rank0_only=False)
            strategy.state_dict_cfg = dict(
                state_dict_type='FULL_STATE_DICT',
                state_dict_config=dict(type='FullStateDictConfig', **whole),
                optim_state_dict_config=dict(type='FullOptimStateDictConfig', **whole))


def _use_optim_wrapper(strategy: dict, wrapper: dict) -> None:
    """Replace the optimizer wrapper by that of the strategy, with the same clipping."""
    kind = strategy['type']
    wanted = _WRAPPERS.get(kind)
    name = wrapper.get('type', 'OptimWrapper')
    if wanted is None or name == wanted:
        return
    if name != 'OptimWrapper':
        key = ('model_wrapper.mixed_precision.param_dtype' if kind == 'FSDPStrategy' else
               'bf16.enabled')
        raise UsageError(f"strategy.type='{kind}' needs optim_wrapper.type='OptimWrapper' without "
                         f'--amp, the config has {name}: for mixed precision set strategy.{key}')
    wrapper['type'] = wanted
    if kind == 'DeepSpeedStrategy':
        clip_grad = wrapper.pop('clip_grad', None)
        if clip_grad is not None:
            strategy['gradient_clipping'] = clip_grad['max_norm']


@OPTIM_WRAPPERS.register_module()
class ShardedOptimWrapper(OptimWrapper):
    """Optimizer wrapper that clips by the norm of the gradients of all processes' shards.

    mmengine's clips by the norm of the own shard, so that every process would scale by another
    factor. Arguments are those of mmengine's ``OptimWrapper``.

    Raises:
        ValueError: ``clip_grad`` names another norm than the Euclidean one.
    """

    def _clip_grad(self) -> None:
        if self.clip_func is not torch.nn.utils.clip_grad_norm_:
            super()._clip_grad()
            return
        options = dict(self.clip_grad_kwargs)
        if float(options.get('norm_type', 2.0)) != 2.0:
            raise ValueError(f'optim_wrapper.clip_grad.norm_type={options["norm_type"]} must be 2 '
                             'with FSDP')
        parameters = [x for group in self.param_groups for x in group['params']]
        gradients = [x.grad for x in parameters if x.grad is not None]
        total = torch.zeros((), device=parameters[0].device)
        for gradient in gradients:
            total += gradient.float().square().sum()
        all_reduce(total)  # on every process, also on one whose shards are empty
        norm = total.sqrt()
        scale = (options['max_norm'] / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale.to(gradient.dtype))
        self.message_hub.update_scalar(f'train/{self.grad_name}', float(norm))
