"""Parts of a network that stay in single precision, and types of networks that were cast."""
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

_HALF = (torch.float16, torch.bfloat16)


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Disable autocast in a block of code on a device; the meta device does not support it."""
    return nullcontext() if device.type == 'meta' else torch.autocast(device.type, enabled=False)


def parameter_dtype(module: nn.Module, default: torch.dtype = torch.float32) -> torch.dtype:
    """Return the floating-point type of a module's first parameter.

    It is the type of inputs that the module accepts where autocast is off: float32, or the type
    that the model was cast to, as by ``model.half()``.

    Args:
        module: module whose parameters share one floating-point type.
        default: result for a module without floating-point parameters.
    """
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return parameter.dtype
    return default


def in_half(dtype: torch.dtype, device: torch.device) -> AbstractContextManager:
    """Run networks of other libraries in half precision by autocast.

    They mix float32 constants into half-precision activations; autocast casts both to ``dtype``.

    Args:
        dtype: type of the network; the context has no effect for types other than float16 and
            bfloat16.
        device: device of the network; the context has no effect on the meta device.
    """
    half = dtype in _HALF and device.type != 'meta'
    return torch.autocast(device.type, dtype) if half else nullcontext()


@contextmanager
def staying_exact(*modules: nn.Module) -> Iterator[None]:
    """Keep parameters and buffers in float32 during a cast to half precision inside the context.

    For use in ``_apply``, which ``half()``, ``bfloat16()`` and ``to(dtype)`` call. Casts to wider
    types and moves to other devices take effect.

    Args:
        modules: modules whose parameters and buffers are kept.
    """
    tensors = [(owner, name, tensor.data) for module in modules for part in module.modules()
               for owner in (part._parameters, part._buffers)
               for name, tensor in owner.items() if tensor is not None]
    yield
    for owner, name, old in tensors:
        new = owner[name]
        if new is not None and new.dtype in _HALF:
            new.data = old.to(new.device, torch.float32)
