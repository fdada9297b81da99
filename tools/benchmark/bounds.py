"""How far each part of Mask2Former R50 is from what the machine can do.

The machine's ceilings are measured first: multiply-adds per second in matrix products and 3x3
convolutions, bytes per second in additions of large tensors. Then each part is timed, and what it
does is counted operator by operator: multiply-adds, and the bytes of all tensors read and written.
The larger of both divided by the ceilings is the part's bound. Tensors that stay in the processor's
cache cost less than their bytes, so a part may beat that bound.

    OMP_NUM_THREADS=2 python tools/benchmark/bounds.py --size 512 --rounds 5
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, default=512, help='of the image')
    parser.add_argument('--rounds', type=int, default=5, help='timings of each (default: 5)')
    parser.add_argument('--device', help='e.g. cuda or cpu (default: a GPU if there is one)')
    return parser.parse_args()


if __name__ == '__main__':
    ARGS = parse_args()

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from peers import build_pair, make_features, make_samples
from timing import default_device
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmpanseg.analysis.cost import FORMULAS
from mmpanseg.models.heads.base import PanopticHead

# bytes of a tensor that no cache holds
_LARGE = 1 << 26


def ceilings(device: str) -> dict[str, float]:
    """Multiply-adds per second and bytes per second."""
    a, b = (torch.randn(2048, 2048, device=device) for _ in range(2))
    image = torch.randn(1, 256, 128, 128, device=device).to(memory_format=torch.channels_last)
    kernel = torch.randn(256, 256, 3, 3, device=device)
    x, y, z = (torch.ones(_LARGE // 4, device=device) for _ in range(3))
    return {'product': 2048**3 / _best(lambda: torch.mm(a, b)),
            'convolution': 256 * 256 * 9 * 128 * 128 / _best(
                lambda: F.conv2d(image, kernel, padding=1)),
            'bytes': 3 * _LARGE / _best(lambda: torch.add(x, y, out=z))}


def _best(function: Callable[[], object], rounds: int = 7) -> float:
    seconds = []
    for _ in range(rounds):
        start = _now()
        function()
        seconds.append(_now() - start)
    return min(seconds)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Work(TorchDispatchMode):
    """Adds up multiply-adds and bytes of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.products = self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        formula = FORMULAS.get(func._overloadpacket)
        if formula is not None:
            products = formula(*args, **kwargs or {}, out_val=out)
            self.products += products
            if func.namespace == 'mmpanseg':  # deformable sampling reads a number for each
                self.bytes += products * out[0].element_size()
        if not func.is_view:
            self.bytes += sum(t.numel() * t.element_size()
                              for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor))
        return out


def training(size: int, device: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """The steps of the head's training step, one after the other."""
    head = build_pair(device).ours.train().panoptic_head
    features = [x.requires_grad_() for x in make_features(1, (size, size), device)]
    truth = PanopticHead.batch_segments(make_samples((size, size), [12], device)['ours'])
    state = {}

    def decode_pixels() -> None:
        state['pixels'] = head.decode_pixels(features)

    def decode_queries() -> None:
        state['queries'] = head.decode_queries(*state['pixels'])

    def compare() -> None:
        state['losses'] = head.criterion(
            *head.classify(state['queries'], state['pixels'][0]), truth)

    def backward() -> None:
        sum(state.pop('losses').values()).backward()
        state.clear()

    yield 'pixel decoder', decode_pixels
    yield 'transformer decoder', decode_queries
    yield 'matching and losses', compare
    yield 'backward pass', backward


def inference(size: int, device: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """The steps from an image to the head's result."""
    model = build_pair(device).ours.eval()
    head = model.panoptic_head
    image = torch.randn(1, 3, size, size, device=device)
    state = {}

    def extract() -> None:
        state['features'] = model.extract_feat(image)

    def decode_pixels() -> None:
        state['pixels'] = head.decode_pixels(state['features'])

    def decode_queries() -> None:
        head.classify(head.decode_queries(*state['pixels'])[-1:], state['pixels'][0])

    yield 'backbone', extract
    yield 'pixel decoder', decode_pixels
    yield 'transformer decoder', decode_queries


def measure(steps: list[tuple[str, Callable]], rounds: int, best: dict[str, float]) -> None:
    """Print a table of the steps: time, work, bound."""
    seconds, work = defaultdict(list), {}
    for name, function in steps:
        with Work() as work[name]:
            function()
    for _ in range(rounds):
        for name, function in steps:
            start = _now()
            function()
            seconds[name].append(_now() - start)
    arithmetic = max(best['product'], best['convolution'])
    print(f'{"":<22}{"ms":>9}{"GMAC":>9}{"ms for it":>11}{"GB":>8}{"ms for it":>11}'
          f'{"of bound":>10}')
    for name, done in work.items():
        spent = statistics.median(seconds[name])
        bounds = done.products / arithmetic, done.bytes / best['bytes']
        print(f'{name:<22}{1e3 * spent:9.1f}{done.products / 1e9:9.2f}{1e3 * bounds[0]:11.1f}'
              f'{done.bytes / 1e9:8.2f}{1e3 * bounds[1]:11.1f}{spent / max(bounds):9.2f}x')


def main(args: argparse.Namespace) -> None:
    args.device = args.device or default_device()
    best = ceilings(args.device)
    print(f'matrix products {best["product"] / 1e9:.1f} GMAC/s, 3x3 convolutions '
          f'{best["convolution"] / 1e9:.1f} GMAC/s, additions {best["bytes"] / 1e9:.1f} GB/s')
    print(f'\ninference, {args.size} x {args.size}')
    with torch.no_grad():
        measure(list(inference(args.size, args.device)), args.rounds, best)
    print(f'\ntraining step of the head, {args.size} x {args.size}, 12 segments')
    measure(list(training(args.size, args.device)), args.rounds, best)


if __name__ == '__main__':
    main(ARGS)
