"""Tensors that depend on sizes only: made once, and kept for the next call."""
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

Arguments = ParamSpec('Arguments')
Constant = TypeVar('Constant')


def cache_constants(count: int) -> Callable[[Callable[Arguments, Constant]],
                                        Callable[Arguments, Constant]]:
    """Decorator of a function that makes constant tensors: keeps the last ones.

    Everybody gets the same tensors, so do not write into them. They have no gradient, and training
    may use what was made in inference mode. While something traces the model (``torch.export``,
    ``torch.compile``, ``torch.jit.trace``, ``make_fx``, fake tensors), they are made anew and not
    kept: such tensors are the tracer's, and of no use after it; nor does it want those of others.

    Args:
        count: how many results to keep; a model meets few sizes at a time.
    """
    def decorate(make: Callable[Arguments, Constant]) -> Callable[Arguments, Constant]:
        @lru_cache(maxsize=count)
        def kept(*args: Arguments.args) -> Constant:
            with torch.inference_mode(False), torch.no_grad():
                return make(*args)

        @wraps(make)
        def constant(*args: Arguments.args) -> Constant:
            return make(*args) if is_tracing() else kept(*args)

        return constant

    return decorate


def is_tracing() -> bool:
    """Whether tensors that are made now belong to a compiler, an exporter or another tracer."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return True
    made = torch.empty(0)
    return type(made) is not Tensor or torch._is_functional_tensor(made)
