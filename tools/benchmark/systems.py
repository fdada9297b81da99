"""Time whole models of several configs on the same images, side by side: a step, and an image.

A training step is preprocessing, forward pass, losses and backward pass; inference ends with the
outputs that the config switches on. Models are initialized, not trained, so they find next to
nothing and what follows the networks costs little. Images and ground truth are made up, in the size
that ``--size`` says before the model's own padding. ``--compile`` adds each model a second time,
compiled as with ``compile=True`` in a config; compiling happens before the clock starts.

    OMP_NUM_THREADS=2 python tools/benchmark/systems.py \
        configs/mask2former/mask2former_r18_1xb4-scratch-demo_scenes-panoptic.py \
        configs/kmax_deeplab/kmax_deeplab_r18_1xb4-scratch-demo_scenes-panoptic.py --size 256 256
"""
import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from peers import region_map
from timing import medians, row
from torch import nn

import mmpanseg  # noqa: F401  before mmdet: makes mmcv importable without compiled operators
from mmpanseg.engine.hooks.compile_hook import compilable_parts
from mmpanseg.registry import MODELS
from mmpanseg.structures import SegmentMap


def build(path: str, device: str) -> nn.Module:
    """The initialized model of a config; no pretrained weights are needed for its speed."""
    config = Config.fromfile(path).model
    config.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    return model.to(device)


def make_data(model: nn.Module, size: tuple[int, int], batch: int, segments: int) -> dict:
    """Images and ground truth as a data loader gives them."""
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
    """A forward and backward pass."""

    def step() -> None:
        model.train()
        model.zero_grad()
        losses = model(**model.data_preprocessor(data, True), mode='loss')
        model.parse_losses(losses)[0].backward()

    return step


def inference(model: nn.Module, data: dict) -> Callable[[], list]:
    """Prediction of all images of the data."""

    def predict() -> list:
        model.eval()
        return model.test_step(data)

    return predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('configs', nargs='+', help='config files; the first is the reference')
    parser.add_argument('--size', type=int, nargs=2, default=(256, 256), metavar=('H', 'W'))
    parser.add_argument('--batch', type=int, default=4, help='images of a training step')
    parser.add_argument('--segments', type=int, default=8, help='in every image')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--compile', action='store_true', help='each model compiled, too')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
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
    main()
