"""Counting numbers without waiting for the device."""
import torch
from torch import Tensor


def count_numbers(numbers: Tensor, length: int) -> Tensor:
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
