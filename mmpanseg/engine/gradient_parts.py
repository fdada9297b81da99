"""Gradients of the parts of a model: backbone, decoders, class and mask heads."""
from collections.abc import Iterable

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmpanseg.utils.modules import unwrap_model


def part_of(name: str) -> str:
    """Name the part of a model that a parameter belongs to.

    Args:
        name: of the parameter.

    Returns:
        ``'backbone'``, or a module of the head such as ``'panoptic_head.pixel_decoder'`` and
        ``'panoptic_head.cls_embed'``.
    """
    modules = name.split('.')[:-1]
    if not modules:
        return name
    return modules[0] if modules[0] == 'backbone' else '.'.join(modules[:2])


def gradients_by_part(model: nn.Module) -> dict[str, list[Tensor]]:
    """Group the gradients of a model by part; parameters without a gradient are left out.

    Args:
        model: the model, also a wrapped one.
    """
    parts: dict[str, list[Tensor]] = {}
    for name, parameter in unwrap_model(model).named_parameters():
        if parameter.grad is not None:
            parts.setdefault(part_of(name), []).append(parameter.grad)
    return parts


def total_norm(gradients: Iterable[Tensor]) -> Tensor:
    """Compute the 2-norm of all gradients together, a scalar on their device."""
    return torch.nn.utils.get_total_norm(gradients)


def norms_by_part(model: nn.Module, scale: Tensor | None = None) -> dict[str, float]:
    """Compute the norm of the gradients of each part, with one wait for the device.

    Args:
        model: the model, also a wrapped one.
        scale: factor of the loss that the gradients still contain, of automatic mixed precision.

    Returns:
        part -> 2-norm.
    """
    parts = gradients_by_part(model)
    if not parts:
        return {}
    norms = torch.stack([total_norm(gradients) for gradients in parts.values()])
    if scale is not None:
        norms = norms / scale.to(norms.device)
    return dict(zip(parts, norms.tolist()))


def loss_scale(wrapper: OptimWrapper) -> Tensor | None:
    """Return the loss scale of automatic mixed precision, a tensor on the device.

    Args:
        wrapper: the optimizer wrapper, after its first backward pass.

    Returns:
        None if losses are not scaled.
    """
    scaler = getattr(wrapper, 'loss_scaler', None)
    return None if scaler is None or not scaler.is_enabled() else scaler._scale
