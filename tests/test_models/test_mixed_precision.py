"""Mixed precision: every parameter gets a gradient, also where PyTorch caches copies of it.

Up to about 2.10, autocast keeps the first half-precision copy of a weight for the whole step, and
one that was made without gradients stays without. The test makes such copies itself, so it finds
the fault with every version of PyTorch.
"""
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
VARIANTS = [str(path.relative_to(CONFIGS)) for pattern in (
    '*/ablations/*_r50*_coco-panoptic.py', '*/*_r50_released-code_*-12e_coco-panoptic.py',
    'panoptic_segformer/baselines/d-detr-ss_*') for path in sorted(CONFIGS.glob(pattern))]


class FirstCopies(TorchFunctionMode):
    """Return the first half-precision copy of each parameter, with or without gradient."""

    FUNCTIONS = {nn.functional.linear, nn.functional.conv1d, nn.functional.conv2d, torch.matmul,
                 torch.conv1d, torch.conv2d, torch.addmm, torch.bmm, torch.Tensor.matmul,
                 torch.Tensor.__matmul__}

    def __init__(self) -> None:
        super().__init__()
        self.copies = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in self.FUNCTIONS and torch.is_autocast_enabled('cpu'):
            args, kwargs = ([self.copy(x) for x in args],
                            {key: self.copy(x) for key, x in (kwargs or {}).items()})
        return func(*args, **(kwargs or {}))

    def copy(self, x):
        if not (isinstance(x, nn.Parameter) and x.requires_grad and x.is_leaf):
            return x
        if id(x) not in self.copies:
            self.copies[id(x)] = x.to(torch.bfloat16)
        return self.copies[id(x)]


def gradients(model, images, samples) -> dict:
    """Gradients of a step in mixed precision, by name."""
    with FirstCopies() as mode:
        with torch.autocast('cpu', torch.bfloat16):
            losses = model.loss(images, samples)
    assert mode.copies
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    total.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()
            if parameter.requires_grad}


def without_gradient(model, batch, unused=()) -> set[str]:
    """Names of parameters without gradient in mixed precision, some excluded."""
    return {name for name, grad in gradients(model, *batch).items()
            if grad is None and not name.startswith(unused)}


def test_every_parameter_learns(system, tiny_batch):
    assert not without_gradient(system, tiny_batch)


@pytest.mark.parametrize('name', VARIANTS, ids=lambda name: name.rsplit('/')[-1].split('_coco')[0])
def test_every_parameter_of_the_variants_learns(name, tiny_model, tiny_batch):
    # released checkpoints of Panoptic SegFormer contain branches without a loss
    unused = ('panoptic_head.mask_decoder.reg_branches', 'panoptic_head.mask_decoder.cls_branches')
    unused = unused if 'released-code' in name else ()
    assert not without_gradient(tiny_model(name), tiny_batch, unused)


def test_the_copies_find_the_fault():
    layer = nn.Linear(2, 2)
    with FirstCopies(), torch.autocast('cpu', torch.bfloat16):
        with torch.no_grad():
            layer(torch.ones(1, 2))
        assert not layer(torch.ones(1, 2)).requires_grad
