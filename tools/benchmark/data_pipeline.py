"""Images per second of the training data pipeline, mmdet's and ours, in one worker.

Large-scale jitter to 1024 x 1024 of the published Mask2Former recipe on synthetic images of COCO's
size and format, each with a panoptic PNG. mmdet's pipeline needs panopticapi; without it the colors
are decoded by this library.

    python tools/benchmark/data_pipeline.py --segments 20
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--segments', type=int, nargs='+', default=[20])
    parser.add_argument('--size', type=int, nargs=2, default=[480, 640], metavar=('H', 'W'))
    parser.add_argument('--images', type=int, default=20)
    parser.add_argument('--rounds', type=int, default=5, help='timings of each (default: 5)')
    return parser.parse_args()


if __name__ == '__main__':
    ARGS = parse_args()

import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from peers import MMDET_CONFIG, OUR_CONFIG, THINGS, region_map
from timing import medians, row

from mmpanseg.structures.panoptic_png import write_panoptic_png


def make_image(folder: Path, number: int, segments: int, height: int, width: int) -> dict:
    """Write an image and its PNG; returns the data info of a dataset."""
    rng = np.random.default_rng(number)
    index = region_map((height, width), segments, number).numpy()
    colors = rng.integers(0, 256, (segments, 3))
    smooth = cv2.resize(rng.integers(-60, 60, (height // 8, width // 8, 3)).astype(np.float32),
                        (width, height))
    pixels = (colors[index] + smooth).clip(0, 255).astype(np.uint8)
    cv2.imwrite(str(folder / f'{number}.jpg'), pixels)
    ids = rng.choice(1 << 24, segments, replace=False)
    write_panoptic_png(folder / f'{number}.png', ids[index])
    labels = rng.integers(0, 133, segments)
    return dict(
        img_path=str(folder / f'{number}.jpg'), img_id=number, height=height, width=width,
        seg_map_path=str(folder / f'{number}.png'),
        segments_info=[dict(id=int(i), category=int(label), is_thing=bool(label < THINGS))
                       for i, label in zip(ids, labels)])


def run(pipeline: Compose, infos: list[dict]) -> None:
    """Process all images with the same random numbers."""
    np.random.seed(0)
    for info in infos:
        pipeline({**info, 'segments_info': [dict(s) for s in info['segments_info']]})


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    init_default_scope('mmdet')
    pipelines = {
        'mmdet': Compose(get_config(MMDET_CONFIG).train_pipeline),
        'ours': Compose(
            Config.fromfile(OUR_CONFIG).train_dataloader.dataset.pipeline)}
    for segments in args.segments:
        with tempfile.TemporaryDirectory() as name:
            infos = [make_image(Path(name), k, segments, *args.size) for k in range(args.images)]

            seconds = medians({side: partial(run, pipeline, infos)
                               for side, pipeline in pipelines.items()}, args.rounds)
        print(row(f'{args.images} images, {segments} segments', seconds, 'mmdet'))
        print('   '.join(f'{side} {args.images / value:.1f} images/s'
                         for side, value in seconds.items()), flush=True)


if __name__ == '__main__':
    main(ARGS)
