"""Training with a strategy of mmengine's FlexibleRunner: FSDP or DeepSpeed."""
import importlib.util

import torch
from mmengine.config import Config
from mmengine.device import get_device

from mmpanseg.engine.command_line import UsageError


def use_strategy(cfg: Config) -> None:
    """Let mmengine's FlexibleRunner run a config that has a ``strategy``.

    Args:
        cfg: changed in place.

    Raises:
        UsageError: the strategy needs a package that is not installed, or several processes.
    """
    strategy = cfg.get('strategy')
    if strategy is None:
        return
    kind = strategy.get('type')
    if kind == 'DeepSpeedStrategy' and importlib.util.find_spec('deepspeed') is None:
        raise UsageError("strategy.type='DeepSpeedStrategy' needs the package deepspeed: pip "
                         'install deepspeed, or use configs/_base_/strategies/fsdp.py')
    if cfg.launcher == 'none':
        raise UsageError(f"strategy.type='{kind}' divides the model among processes: start with "
                         'tools/dist_train.sh')
    cfg.runner_type = 'FlexibleRunner'
    if kind == 'FSDPStrategy' and get_device() == 'cpu':
        # mmengine's default is the number of a GPU
        strategy.model_wrapper = dict(
            strategy.get('model_wrapper') or {}, device_id=torch.device('cpu'))
        if strategy.get('state_dict_cfg') == 'full':
            whole = dict(offload_to_cpu=False, rank0_only=False)
            strategy.state_dict_cfg = dict(
                state_dict_type='FULL_STATE_DICT',
                state_dict_config=dict(type='FullStateDictConfig', **whole),
                optim_state_dict_config=dict(type='FullOptimStateDictConfig', **whole))
