"""Cache for tensors that depend on sizes only."""
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

Arguments = ParamSpec('Arguments')
Constant = TypeVar('Constant')


def cache_constants(count: int) -> Callable[[Callable[Arguments, Constant]],
                                            Callable[Arguments, Constant]]:
    """Cache the most recent results of a function that creates constant tensors.

    All callers share the cached tensors and must not write to them. The tensors require no
    gradient; tensors created in inference mode can be used in training. While the model is traced
    (``torch.export``, ``torch.compile``, ``torch.jit.trace``, ``make_fx``, fake tensors), the
    cache is bypassed: tensors of a tracer are invalid after the trace, and a tracer cannot use
    tensors created outside of it.

    Args:
        count: number of cached results; a model uses few sizes at a time.

    Returns:
        decorator for functions with hashable positional arguments.
    """
    def decorate(create: Callable[Arguments, Constant]) -> Callable[Arguments, Constant]:
        @lru_cache(maxsize=count)
        def cached(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Constant:
            with torch.inference_mode(False), torch.no_grad():
                return create(*args, **kwargs)

        @wraps(create)
        def constant(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Constant:
            return create(*args, **kwargs) if is_tracing() else cached(
                *args, **kwargs)  # type: ignore[arg-type]  # sizes and devices are hashable

        return constant

    return decorate


def is_tracing() -> bool:
    """Check whether new tensors belong to a compiler, an exporter or another tracer."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return True
    probe = torch.empty(0)
    return type(probe) is not Tensor or torch._is_functional_tensor(probe)
