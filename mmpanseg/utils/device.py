"""Work on a device: copies from and to the host, chunk sizes, counting, memory formats.

A copy from a Python list or from pageable memory makes the host wait for the device, and so does
every copy back. What a step knows on the host goes over together, from pinned memory, and nobody
waits for it; what the host must know comes back together.
"""
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# Elements of a transient stack: small enough for a CPU's outer cache, large enough to keep a GPU
# busy.
CHUNK_ELEMENTS = {'cpu': 1 << 22, 'default': 1 << 26}


def chunk_rows(device: torch.device, row_elements: int) -> int:
    """Rows of ``row_elements`` each that a transient stack should hold on a device."""
    budget = CHUNK_ELEMENTS.get(device.type, CHUNK_ELEMENTS['default'])
    return max(1, budget // row_elements)


def bincount(numbers: Tensor, length: int) -> Tensor:
    """How often each number occurs, int64 [length].

    ``torch.bincount`` lets the host wait for the device, to ask for the largest number.

    Args:
        numbers: int64 [rows, n] in 0 .. length - 1. Elsewhere than on a CPU every row has counts of
            its own first, so that few of a device's threads meet at one of them.
        length: of the result.
    """
    if numbers.device.type == 'cpu':
        return torch.bincount(numbers.flatten(), minlength=length)
    counts = torch.zeros(len(numbers), length, dtype=torch.long, device=numbers.device)
    return counts.scatter_add_(1, numbers, torch.ones_like(numbers)).sum(0)


HostData = Tensor | np.ndarray | Sequence
# every array starts where any of its types may
_ALIGNMENT = 16


def to_device(device: torch.device, *data: HostData) -> list[Tensor]:
    """Host data on a device; nothing waits for the copy.

    Args:
        device: where to.
        data: tensors on the host, NumPy arrays, or lists of numbers (int64, float32, bool).

    Returns:
        a tensor for each, of the same type and shape.
    """
    tensors = [torch.as_tensor(x) for x in data]
    if device.type == 'cpu':
        return tensors
    buffer = pin_memory(_pack(tensors), device).to(device, non_blocking=True)
    return _unpack(buffer, tensors)


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Tensors of one device on the host, with one copy that is waited for."""
    tensors = [tensor.detach() for tensor in tensors]
    if tensors[0].device.type == 'cpu':
        return tensors
    if len(tensors) == 1:
        return [tensors[0].cpu()]
    return _unpack(_pack(tensors).cpu(), tensors)


def pin_memory(buffer: Tensor, device: torch.device) -> Tensor:
    """A buffer on the host that the device can read by itself, where there is such memory."""
    return buffer.pin_memory() if device.type == 'cuda' else buffer


def _pack(tensors: Sequence[Tensor]) -> Tensor:
    """All bytes in one row, uint8."""
    parts = []
    for tensor in tensors:
        # an empty array of NumPy has strides that cannot be viewed
        row = tensor.contiguous().view(-1) if tensor.numel() else tensor.new_empty(0)
        row = row.view(torch.uint8)
        parts += [row, row.new_zeros(-len(row) % _ALIGNMENT)]
    return torch.cat(parts)


def _unpack(buffer: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Views of a packed row with the types and shapes of the tensors that were packed."""
    views, start = [], 0
    for tensor in like:
        stop = start + tensor.numel() * tensor.element_size()
        views.append(buffer[start:stop].view(tensor.dtype).view(tensor.shape))
        start = stop + -stop % _ALIGNMENT
    return views


# asked once: a compiler cannot follow the question
_CPU = torch.backends.cpu.get_cpu_capability()


def conv_memory_format(device: torch.device) -> torch.memory_format:
    """The order in which convolutions on a device are fastest: channels last, with one exception.

    Processors with AVX2 and no AVX-512 get their weight gradients from oneDNN in less than half of
    the time if channels come first, which outweighs what else the order costs.
    """
    slow_gradients = device.type == 'cpu' and torch.is_grad_enabled() and _CPU == 'AVX2'
    return torch.contiguous_format if slow_gradients else torch.channels_last
