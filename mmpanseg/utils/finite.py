"""Search for numbers that are not finite (NaN, infinity) among tensors."""
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

# names that an error text lists
_NAMED = 3


def non_finite(tensors: Mapping[str, Any]) -> list[str]:
    """List the tensors that contain NaN or infinity, with one wait for the device at most.

    Args:
        tensors: name -> tensor; values that are no floating-point tensors are ignored.

    Returns:
        Their names.
    """
    found = {name: tensor for name, tensor in tensors.items()
             if isinstance(tensor, Tensor) and tensor.numel() and not tensor.is_meta
             and (tensor.is_floating_point() or tensor.is_complex())}
    if not found:
        return []
    device = next(iter(found.values())).device
    # a sum is the fastest way to read all elements; it can also overflow
    sums = torch.stack([tensor.detach().sum(dtype=_sum_type(tensor)).isfinite().to(device)
                        for tensor in found.values()])
    return [name for name, is_finite in zip(found, sums.tolist())
            if not is_finite and not bool(found[name].isfinite().all())]


def _sum_type(tensor: Tensor) -> torch.dtype | None:
    """Type of a sum that does not overflow for common values; None for that of the tensor."""
    return torch.float32 if tensor.is_floating_point() and tensor.element_size() < 4 else None


def describe_non_finite(tensors: Mapping[str, Any]) -> str:
    """Describe the tensors that contain NaN or infinity.

    Args:
        tensors: see :func:`non_finite`.

    Returns:
        One phrase with the number of tensors, and the names and counts of the first; '' if all
        numbers are finite.
    """
    names = non_finite(tensors)
    if not names:
        return ''
    listed = []
    for name in names[:_NAMED]:
        bad = tensors[name].numel() - int(tensors[name].isfinite().sum())
        listed.append(f'{name} ({bad} of {tensors[name].numel()} numbers)')
    more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
    return f'{len(names)} of {len(tensors)} tensors: {", ".join(listed)}{more}'


def named_tensors(content: Any, prefix: str = '') -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors of nested dicts, lists and tuples, with dotted names.

    Args:
        content: tensors and containers of them; other values are ignored.
        prefix: name of the content, '' for none.
    """
    if isinstance(content, Tensor):
        yield prefix, content
        return
    if isinstance(content, Mapping):
        entries = list(content.items())
    elif isinstance(content, (list, tuple)):
        entries = list(enumerate(content))
    else:
        return
    for key, value in entries:
        yield from named_tensors(value, f'{prefix}.{key}' if prefix else str(key))
