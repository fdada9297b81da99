"""Memory and time of a training step with and without activation checkpointing, side by side.

The step is that of ``systems.py``. Memory is the peak resident memory (GPU: allocated memory) of a
step minus that before it, each in a separate process.

    OMP_NUM_THREADS=2 python tools/benchmark/activation_checkpointing.py \
        configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py --size 512 512
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('--modules', nargs='+', metavar='NAME', help='names or patterns, as in '
                        'activation_checkpointing of a config (default: every block)')
    parser.add_argument('--size', type=int, nargs=2, default=(512, 512), metavar=('H', 'W'))
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--segments', type=int, default=12, help='in every image')
    parser.add_argument('--rounds', type=int, default=3, help='timings of each (default: 3)')
    return parser.parse_args()


if __name__ == '__main__':
    ARGS = parse_args()

import multiprocessing
from collections.abc import Callable

from mmengine.registry import init_default_scope
from systems import build, make_data, training_step
from timing import default_device, medians, memory_growth, row

from mmpanseg.engine.hooks.activation_checkpointing_hook import (
    checkpoint_activations,
    find_modules,
    repeated_blocks,
)

SIDES = ('stored', 'computed again')


def step_of(side: str, args: argparse.Namespace) -> Callable[[], None]:
    """Return a training step that stores all activations, or computes them again."""
    init_default_scope('mmdet')
    model = build(args.config, default_device()).train()
    data = make_data(model, args.size, args.batch, args.segments)
    if side != SIDES[0]:
        names = find_modules(model, args.modules) if args.modules else repeated_blocks(model)
        for name in names:
            checkpoint_activations(model.get_submodule(name))
    return training_step(model, data)


def growth(side: str, args: argparse.Namespace) -> float:
    """Measure the peak memory of a step in MB, in this process."""
    return memory_growth(step_of(side, args))


def main(args: argparse.Namespace) -> None:
    memory = {}
    for side in SIDES:
        with multiprocessing.get_context('spawn').Pool(1) as pool:
            memory[side] = pool.apply(growth, (side, args))
    print('   '.join(f'{side} {value:.0f} MB ({memory[SIDES[0]] / value:.2f}x)'
                     for side, value in memory.items()), flush=True)
    seconds = medians({side: step_of(side, args) for side in SIDES}, args.rounds)
    print(row('training step', seconds, SIDES[0]))


if __name__ == '__main__':
    main(ARGS)
