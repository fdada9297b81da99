"""Time and memory of the head's training step, mmdet's and ours, side by side.

Forward pass, loss and backward pass of the published Mask2Former R50 head on random features, with
the same weights and ground truth, in alternation. ``--segments`` with several numbers shows how
time and memory grow with the number of segments of an image, ``--plot`` draws them. Memory is the
peak resident memory (GPU: allocated memory) of a step minus that before it, each in a separate
process.

    OMP_NUM_THREADS=2 python tools/benchmark/head_training.py --sizes 512 1024 --rounds 5
    OMP_NUM_THREADS=2 python tools/benchmark/head_training.py --segments 5 20 50 100 200 500 \
        --plot segments.png
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', type=int, nargs='+', default=[512], help='of the images')
    parser.add_argument('--segments', type=int, nargs='+', default=[12], help='in every image')
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=5, help='timings of each (default: 5)')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--device', help='e.g. cuda or cpu (default: a GPU if there is one)')
    parser.add_argument('--no-memory', action='store_true', help='times only')
    parser.add_argument('--plot', help='picture file of time and memory over segments')
    return parser.parse_args()


if __name__ == '__main__':
    ARGS = parse_args()

import multiprocessing
from collections.abc import Callable

import torch
from peers import build_pair, make_features, make_samples
from timing import default_device, medians, memory_growth, row

SIDES = ('mmdet', 'ours')


def training_steps(size: int, segments: int, batch: int, device: str,
                   amp: bool = False) -> dict[str, Callable[[], None]]:
    """Return a training step of each head by name."""
    pair = build_pair(device)
    features = make_features(batch, (size, size), device)
    for feature in features:
        feature.requires_grad_()
    samples = make_samples((size, size), [segments] * batch, device)
    kind = torch.bfloat16 if device == 'cpu' else torch.float16

    def step(name: str) -> None:
        head = getattr(pair, name).panoptic_head
        head.zero_grad()
        with torch.autocast(device, dtype=kind, enabled=amp):
            losses = head.loss(features, samples[name])
        sum(losses.values()).backward()

    for _, model in pair.items():
        model.train()
    return {name: lambda name=name: step(name) for name in SIDES}


def growth(name: str, *setting) -> float:
    """Measure the peak memory of one side's step in MB, in this process."""
    torch.manual_seed(0)
    step = training_steps(*setting)[name]
    return memory_growth(step)


def main(args: argparse.Namespace) -> None:
    args.device = args.device or default_device()
    found = []
    for size in args.sizes:
        for segments in args.segments:
            setting = (size, segments, args.batch, args.device, args.amp)
            torch.manual_seed(0)
            seconds = medians(training_steps(*setting), args.rounds)
            print(row(f'{args.batch} x {size}, {segments} segments', seconds, 'mmdet'), flush=True)
            memory = {}
            if not args.no_memory:
                for name in SIDES:
                    with multiprocessing.get_context('spawn').Pool(1) as pool:
                        memory[name] = pool.apply(growth, (name, *setting))
                print(f'{"":<40}' + '   '.join(
                    f'{name} {value:9.0f} MB ({memory["mmdet"] / value:5.2f}x)'
                    for name, value in memory.items()), flush=True)
            found.append((size, segments, seconds, memory))
    if args.plot:
        plot(found, args.plot)


def plot(found: list, path: str) -> None:
    """Draw seconds and megabytes over the number of segments."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    columns = ['seconds a step'] + ['MB beyond weights and features'] * bool(found[0][3])
    figure, axes = pyplot.subplots(1, len(columns), figsize=(5 * len(columns), 3.6), squeeze=False)
    for axis, title, place in zip(axes[0], columns, (2, 3)):
        for size in sorted({entry[0] for entry in found}):
            entries = [entry for entry in found if entry[0] == size]
            for name, line in zip(SIDES, ('--', '-')):
                x, y = zip(*((entry[1], entry[place][name]) for entry in entries))
                axis.plot(x, y, line, marker='o', markersize=3, label=f'{name}, {size} x {size}')
        axis.set(title=title, xlabel='segments in the image', xscale='log')
        axis.set_ylim(bottom=0)
        axis.legend()
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == '__main__':
    main(ARGS)
