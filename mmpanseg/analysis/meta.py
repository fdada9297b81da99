"""Models without memory or arithmetic: only names, shapes and the order of operations."""
from typing import Any, Callable

import torch
from mmengine.config import ConfigDict
from torch import nn
from torch.overrides import TorchFunctionMode

from mmpanseg.registry import MODELS


class _RealRanges(TorchFunctionMode):
    """``torch.linspace`` stays on the CPU: backbones read rates of stochastic depth from it."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault('device', 'cpu')
        return func(*args, **kwargs)


def build_on_meta(model: ConfigDict | dict) -> nn.Module:
    """Build a model on the meta device, in evaluation mode.

    Args:
        model: ``model`` of a config; pre-trained weights that it names are not loaded.
    """
    with torch.device('meta'), _RealRanges():
        # a few layers of mmcv make their parameters on the CPU whatever the default device is
        return MODELS.build(model).eval().to('meta')
