"""Where half precision is not wanted, and what a model that was cast as a whole computes in."""
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

_HALF = (torch.float16, torch.bfloat16)


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Switch autocast off in a block of code on a device (the meta device has none to switch)."""
    return nullcontext() if device.type == 'meta' else torch.autocast(device.type, enabled=False)


def parameter_dtype(module: nn.Module, default: torch.dtype = torch.float32) -> torch.dtype:
    """Floating-point type of a module's parameters: that of the first; without any, ``default``.

    It is the type of the inputs that the module takes where autocast is off: float32, or what the
    model was cast to, as by ``model.half()``.
    """
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return parameter.dtype
    return default


def in_half(dtype: torch.dtype, device: torch.device) -> AbstractContextManager:
    """For networks of others in half precision, which mix float32 constants of their own in.

    Autocast brings both to ``dtype``; with another type nothing is changed.
    """
    half = dtype in _HALF and device.type != 'meta'
    return torch.autocast(device.type, dtype) if half else nullcontext()


@contextmanager
def staying_exact(*modules: nn.Module) -> Iterator[None]:
    """Parameters and buffers of some modules stay float32 in a cast to half precision inside.

    For ``_apply``, through which ``half()``, ``bfloat16()`` and ``to(dtype)`` go. Wider types and
    other devices are taken on.
    """
    slots = [(owner, name) for module in modules for part in module.modules()
             for owner in (part._parameters, part._buffers)
             for name, tensor in owner.items() if tensor is not None]
    before = [owner[name].data for owner, name in slots]
    yield
    for (owner, name), old in zip(slots, before):
        new = owner[name]
        if new.dtype in _HALF:
            new.data = old.to(new.device, torch.float32)
