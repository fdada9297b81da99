"""Time the training step of the head with and without mask-piloted queries, in one run.

Forward and backward pass of the same head (the published R50 one: 6 encoder layers, 9 decoder
layers, 256 channels, 100 queries, 12544 points) on random features of two images, with index maps
as ground truth. 'released' is the setting of the released code (one copy of every segment, label
noise only), 'paper' that of the paper (100 slots, point noise in all layers), in alternation.

    OMP_NUM_THREADS=2 python tools/benchmark/mp_former_step.py --rounds 5
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse

WAYS = ('Mask2Former', 'released', 'paper')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, default=512, help='of the images')
    parser.add_argument('--segments', type=int, nargs='+', default=[6, 10],
                        help='in each image of the batch')
    parser.add_argument('--ways', nargs='+', choices=WAYS, default=WAYS)
    parser.add_argument('--rounds', type=int, default=5, help='timings of each (default: 5)')
    parser.add_argument('--device', help='e.g. cuda or cpu (default: a GPU if there is one)')
    return parser.parse_args()


if __name__ == '__main__':
    ARGS = parse_args()

from collections.abc import Callable

import torch
from mmdet.structures import DetDataSample
from mmengine.logging import MMLogger
from timing import default_device, medians, row

from mmpanseg.registry import MODELS
from mmpanseg.structures import SegmentMap

CHANNELS = (256, 512, 1024, 2048)
PILOTING = {
    'Mask2Former': None,
    'released': dict(num_groups=1, budget=None, mask_noise='none', label_flip='any'),
    'paper': dict(),
}


def make_sample(size: int, segments: int, seed: int) -> DetDataSample:
    """Ground truth of compact regions: every pixel belongs to the nearest of random centers."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.rand(segments, 2, generator=generator) * size
    axis = torch.arange(size)
    pixels = torch.stack(torch.meshgrid(axis, axis, indexing='ij'), -1).float()
    index = torch.cdist(pixels.flatten(0, 1), centers).argmin(1).view(size, size)
    labels = torch.randint(133, (segments, ), generator=generator)
    return DetDataSample(metainfo=dict(batch_input_shape=(size, size)),
                         gt_segments=SegmentMap(labels, map=index.int()))


def training_step(piloting: dict | None, features: list, samples: list,
                  device: str) -> Callable[[], None]:
    """Return a function for the forward and backward pass of a new head."""
    torch.manual_seed(0)
    config = dict(type='mmpanseg.Mask2FormerHead') if piloting is None else dict(
        type='mmpanseg.MPFormerHead', piloting=piloting)
    head = MODELS.build(dict(
        in_channels=CHANNELS, num_things_classes=80, num_stuff_classes=53, **config))
    head.init_weights()
    head.to(device).train()

    def step() -> None:
        head.zero_grad()
        sum(head.loss(features, samples).values()).backward()

    return step


def main(args: argparse.Namespace) -> None:
    args.device = args.device or default_device()
    torch.manual_seed(0)
    batch = len(args.segments)
    features = [
        torch.randn(batch, c, args.size >> i, args.size >> i, device=args.device)
        for i, c in enumerate(CHANNELS, 2)]
    samples = [make_sample(args.size, n, k).to(args.device)
               for k, n in enumerate(args.segments)]
    MMLogger.get_instance('benchmark', log_level='WARNING')  # how each parameter starts
    seconds = medians({name: training_step(PILOTING[name], features, samples, args.device)
                       for name in args.ways}, args.rounds)
    print(row(f'{batch} x {args.size}, {args.segments} segments', seconds, args.ways[0]))
    for name, value in seconds.items():
        print(f'{name:<12} {value / seconds[args.ways[0]]:.3f} x {args.ways[0]}')


if __name__ == '__main__':
    main(ARGS)
