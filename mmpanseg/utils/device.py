"""Device helpers: copies between host and device, chunk sizes, counting, memory formats.

A copy from a Python list or from pageable memory synchronizes the host with the device, and so does
every copy to the host. :func:`to_device` therefore copies all its inputs at once from pinned memory
without synchronization, and :func:`to_host` copies all its inputs with a single synchronization.
"""
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

# Elements of a temporary tensor: few enough for the last-level cache of a CPU, enough to use a GPU
# fully.
CHUNK_ELEMENTS = {'cpu': 1 << 22, 'default': 1 << 26}


def chunk_rows(device: torch.device, row_elements: int) -> int:
    """Compute how many rows to process at once.

    Args:
        device: device of the temporary tensors.
        row_elements: elements of all temporary tensors of one row.

    Returns:
        number of rows, at least 1.
    """
    budget = CHUNK_ELEMENTS.get(device.type, CHUNK_ELEMENTS['default'])
    return max(1, budget // row_elements)


def bincount(numbers: Tensor, length: int) -> Tensor:
    """Count how often each number occurs, without synchronization.

    ``torch.bincount`` on a GPU synchronizes, because it reads the largest number first.

    Args:
        numbers: int64 [rows, n] in 0 .. length - 1. On a GPU each row is counted separately before
            the sum, so that fewer threads add to the same element.
        length: length of the result.

    Returns:
        int64 [length].
    """
    if numbers.device.type == 'cpu':
        return torch.bincount(numbers.flatten(), minlength=length)
    counts = torch.zeros(len(numbers), length, dtype=torch.long, device=numbers.device)
    return counts.scatter_add_(1, numbers, torch.ones_like(numbers)).sum(0)


HostData = Tensor | np.ndarray | Sequence
# Bytes; every packed array starts at a multiple, which is valid for each dtype.
_ALIGNMENT = 16


def to_device(device: torch.device, *data: HostData) -> list[Tensor]:
    """Copy host data to a device in one transfer, without synchronization.

    Args:
        device: target device.
        data: tensors on the host, NumPy arrays, or lists of numbers (int64, float32, bool).

    Returns:
        one tensor per argument, with the same dtype and shape.
    """
    tensors = [torch.as_tensor(x) for x in data]
    if device.type == 'cpu':
        return tensors
    buffer = pin_memory(_pack(tensors), device).to(device, non_blocking=True)
    return _unpack(buffer, tensors)


Receive = Callable[[Tensor], None]
# Tensors of devices that the next copy takes along, and functions of their copies.
_WAITING: list[tuple[Tensor, Receive]] = []
_MOST_WAITING = 64


def to_host_later(tensor: Tensor, receive: Receive) -> None:
    """Copy a tensor to the host together with the next ones, without a synchronization of its own.

    Args:
        tensor: any shape and dtype.
        receive: called with the copy; at once if the tensor is on the host, else in the next
            :func:`to_host` of its device or in :func:`deliver`.
    """
    if tensor.device.type == 'cpu':
        receive(tensor.detach())
        return
    _WAITING.append((tensor.detach(), receive))
    if len(_WAITING) > _MOST_WAITING:
        deliver()


def deliver() -> None:
    """Copy everything that still waits for :func:`to_host_later`."""
    while _WAITING:
        tensor, receive = _WAITING.pop()
        receive(to_host(tensor)[0])


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Copy tensors of one device to the host in one transfer, with one synchronization.

    Args:
        tensors: any shapes and dtypes, all on one device.

    Returns:
        one tensor on the CPU per argument, detached.
    """
    detached = [tensor.detach() for tensor in tensors]
    if detached[0].device.type == 'cpu':
        return detached
    taken = [entry for entry in _WAITING if entry[0].device == detached[0].device]
    if len(detached) == 1 and not taken:
        return [detached[0].cpu()]
    together = detached + [tensor for tensor, _ in taken]
    copies = _unpack(_pack(together).cpu(), together)
    _WAITING[:] = [entry for entry in _WAITING if all(entry is not other for other in taken)]
    for (_, receive), copy in zip(taken, copies[len(detached):]):
        receive(copy)
    return copies[:len(detached)]


def pin_memory(buffer: Tensor, device: torch.device) -> Tensor:
    """Copy a host buffer to pinned memory if the device is a GPU; return it unchanged otherwise."""
    return buffer.pin_memory() if device.type == 'cuda' else buffer


def _pack(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenate the bytes of all tensors, uint8 [n], each aligned."""
    parts = []
    for tensor in tensors:
        # the strides of an empty NumPy array do not allow a view
        row = tensor.contiguous().view(-1) if tensor.numel() else tensor.new_empty(0)
        row = row.view(torch.uint8)
        parts += [row, row.new_zeros(-len(row) % _ALIGNMENT)]
    return torch.cat(parts)


def _unpack(buffer: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Split a packed buffer into views with the dtypes and shapes of the packed tensors."""
    views, start = [], 0
    for tensor in like:
        stop = start + tensor.numel() * tensor.element_size()
        views.append(buffer[start:stop].view(tensor.dtype).view(tensor.shape))
        start = stop + -stop % _ALIGNMENT
    return views


# Read at import: torch.compile cannot trace the call.
_CPU = torch.backends.cpu.get_cpu_capability()


def conv_memory_format(device: torch.device) -> torch.memory_format:
    """Choose the memory format in which convolutions are fastest.

    This is channels last, except for training on CPUs with AVX2 and without AVX-512: oneDNN
    computes their weight gradients in less than half of the time in the contiguous format.

    Args:
        device: device of the convolutions.
    """
    slow_gradients = device.type == 'cpu' and torch.is_grad_enabled() and _CPU == 'AVX2'
    return torch.contiguous_format if slow_gradients else torch.channels_last
