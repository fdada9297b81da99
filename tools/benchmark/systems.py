"""Time whole models of several configs on the same images, side by side: a step, and an image.

A training step is preprocessing, forward pass, losses and backward pass; inference ends with the
outputs of the config. Models are initialized, not trained, so they predict few objects and
post-processing is short. Images and ground truth are random, of size ``--size`` before the model's
padding. ``--compile`` adds a compiled copy of each model, as with ``compile=True`` in a config;
compilation is not timed.

    OMP_NUM_THREADS=2 python tools/benchmark/systems.py \
        configs/mask2former/mask2former_r18_1xb4-scratch-demo_scenes-panoptic.py \
        configs/kmax_deeplab/kmax_deeplab_r18_1xb4-scratch-demo_scenes-panoptic.py --size 256 256
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('configs', nargs='+', help='config files; the first is the reference')
    parser.add_argument('--size', type=int, nargs=2, default=(256, 256), metavar=('H', 'W'))
    parser.add_argument('--batch', type=int, default=4, help='images of a training step')
    parser.add_argument('--segments', type=int, default=8, help='in every image')
    parser.add_argument('--rounds', type=int, default=5, help='timings of each (default: 5)')
    parser.add_argument('--compile', action='store_true', help='also time each model compiled')
    parser.add_argument('--device', help='e.g. cuda or cpu (default: a GPU if there is one)')
    return parser.parse_args()


if __name__ == '__main__':
    ARGS = parse_args()

from collections.abc import Callable
from pathlib import Path

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from peers import region_map
from timing import default_device, medians, row
from torch import nn

from mmpanseg.engine.hooks.compile_hook import compilable_parts
from mmpanseg.registry import MODELS
from mmpanseg.structures import SegmentMap


def build(path: str, device: str) -> nn.Module:
    """Build and initialize the model of a config, without pretrained weights."""
    config = Config.fromfile(path).model
    config.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    return model.to(device)


def make_data(model: nn.Module, size: tuple[int, int], batch: int, segments: int) -> dict:
    """Create images and ground truth in the format of a data loader."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for seed in range(batch):
        labels = torch.randint(model.num_classes, (segments, ), generator=generator)
        samples.append(DetDataSample(
            metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1., 1.)),
            gt_segments=SegmentMap(labels, map=region_map(size, segments, seed).int())))
    images = torch.randint(256, (batch, 3, *size), generator=generator, dtype=torch.uint8)
    return dict(inputs=list(images), data_samples=samples)


def training_step(model: nn.Module, data: dict) -> Callable[[], None]:
    """Return a function for a forward and backward pass."""

    def step() -> None:
        model.train()
        model.zero_grad()
        losses = model(**model.data_preprocessor(data, True), mode='loss')
        model.parse_losses(losses)[0].backward()

    return step


def inference(model: nn.Module, data: dict) -> Callable[[], list]:
    """Return a function that predicts all images of the data."""

    def predict() -> list:
        model.eval()
        return model.test_step(data)

    return predict


def main(args: argparse.Namespace) -> None:
    args.device = args.device or default_device()
    MMLogger.get_instance('benchmark', log_level='WARNING')  # how each parameter starts
    init_default_scope('mmdet')
    size = tuple(args.size)
    models = {}
    for path in args.configs:
        name = Path(path).stem.split('_1xb')[0]
        models[name] = build(path, args.device)
        if args.compile:
            compiled = models[f'{name} compiled'] = build(path, args.device)
            for part in compilable_parts(compiled):
                compiled.get_submodule(part).compile()
    for title, batch, way in ((f'step of {args.batch} images', args.batch, training_step),
                              ('inference of an image', 1, inference)):
        ways = {name: way(model, make_data(model, size, batch, args.segments))
                for name, model in models.items()}
        print(row(title, medians(ways, args.rounds), next(iter(models))), flush=True)


if __name__ == '__main__':
    main(ARGS)
