"""Time multi-scale deformable sampling: this library's, mmcv's in PyTorch, mmcv's operator.

Sizes are those of a Mask2Former encoder (8 heads of 32 channels, 3 levels, 4 points, one query per
token). The operator of mmcv is included where it is compiled for the device.

    python tools/benchmark/deformable_attention.py --sizes 512 1024 --rounds 5
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', type=int, nargs='+', default=[512], help='side of the image')
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=5, help='timings of each (default: 5)')
    parser.add_argument('--device', help='e.g. cuda or cpu (default: a GPU if there is one)')
    return parser.parse_args()


if __name__ == '__main__':
    ARGS = parse_args()

from collections.abc import Callable
from functools import partial

import torch
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)
from timing import default_device, medians, row
from torch import Tensor

from mmpanseg.compat import operators_compiled
from mmpanseg.models.layers.deformable_sampling import multi_scale_deformable_sampling

HEADS, WIDTH, POINTS, STRIDES = 8, 32, 4, (32, 16, 8)


def main(args: argparse.Namespace) -> None:
    args.device = args.device or default_device()
    print(f'torch {torch.__version__}, {args.device}, {torch.get_num_threads()} threads, '
          f'medians of {args.rounds}')
    for size in args.sizes:
        ways = forms(args.device, [(size // s, size // s) for s in STRIDES], args.batch)
        for title, run in (('forward', forward), ('forward and backward', backward)):
            seconds = medians({name: partial(run, *way) for name, way in ways.items()},
                              args.rounds)
            print(row(f'{size}x{size}, {title}', seconds, 'mmcv in PyTorch'))


def forms(device: str, shapes: list[tuple[int, int]],
          batch: int) -> dict[str, tuple[Callable[..., Tensor], list[Tensor]]]:
    """Return name -> (function of value, locations and weights; these three tensors)."""
    torch.manual_seed(0)
    tokens = sum(h * w for h, w in shapes)
    grid = (batch, tokens, HEADS, len(shapes), POINTS)
    inputs = [torch.randn(batch, tokens, HEADS, WIDTH), torch.rand(*grid, 2), torch.rand(grid)]
    inputs = [tensor.to(device).requires_grad_() for tensor in inputs]
    sizes = torch.tensor(shapes, device=device)
    starts = sizes.prod(1).cumsum(0) - sizes.prod(1)
    found = {
        'mmcv in PyTorch': lambda v, x, w: multi_scale_deformable_attn_pytorch(v, sizes, x, w),
        'mmpanseg': lambda v, x, w: multi_scale_deformable_sampling(v, shapes, x, w)}
    if device.startswith('cuda') and operators_compiled('cuda'):
        found['mmcv compiled'] = lambda v, x, w: MultiScaleDeformableAttnFunction.apply(
            v, sizes, starts, x, w, 64)
    expected = found['mmcv in PyTorch'](*inputs)
    for function in found.values():
        torch.testing.assert_close(function(*inputs), expected, atol=1e-4, rtol=1e-4)
    return {name: (function, inputs) for name, function in found.items()}


@torch.no_grad()
def forward(function: Callable[..., Tensor], inputs: list[Tensor]) -> Tensor:
    return function(*inputs)


def backward(function: Callable[..., Tensor], inputs: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(function(*inputs).sum(), inputs)


if __name__ == '__main__':
    main(ARGS)
