"""Models without values, to compare names and shapes with."""
from typing import Any

import torch
from mmengine.config import Config
from torch import nn
from torch.overrides import TorchFunctionMode

from mmpanseg.registry import MODELS


class _MetaDevice(TorchFunctionMode):
    """Tensors are made on the meta device, except those whose values constructors read.

    Backbones compute their rates of drop path with ``torch.linspace``.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (),
                           kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs['device'] = 'cpu'
        return func(*args, **kwargs)


def empty_model(cfg: Config) -> nn.Module:
    """The model of a config on the meta device: no values, no memory, no downloads."""
    model = cfg.model.copy()
    with torch.device('meta'), _MetaDevice():
        return MODELS.build(model)
