"""Mixed precision without loss scaling, on GPUs and on CPUs."""
from contextlib import contextmanager
from typing import Iterator

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast
from torch import nn

from mmpanseg.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes in bfloat16 where autocast allows it; weights and updates stay float32.

    bfloat16 has float32's range, so gradients need no scaling, and it runs on CPUs too, which
    mmengine's ``AmpOptimWrapper`` does not. It is fast where the machine has instructions for it.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
