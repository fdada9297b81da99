"""Train, score and draw a panoptic model on synthetic scenes."""
from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mmpanseg.engine import import_mmdet, run_tool

if TYPE_CHECKING:
    from mmengine.runner import Runner

CONFIG = 'configs/mask2former/mask2former_r18_1xb4-scratch-demo_scenes-panoptic.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--iters', type=int, help='training steps (default: the config\'s)')
    parser.add_argument('--train', type=int, default=800, help='number of training scenes')
    parser.add_argument('--val', type=int, default=100, help='number of held-out scenes')
    parser.add_argument('--pictures', type=int, default=8, help='number of scenes to draw')
    parser.add_argument('--work-dir', default='work_dirs/demo',
                        help='folder for scenes, log, weights and pictures')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import_mmdet()
    import torch

    from mmpanseg.datasets.scenes.generator import write_scenes
    from mmpanseg.engine.launch import (
        build_runner,
        has_fast_bf16,
        load_config,
        set_work_dir,
        use_amp,
    )

    root = Path(__file__).resolve().parents[1]
    clock = Clock()

    data = Path(args.work_dir) / 'scenes'
    for split, count in (('train', args.train), ('val', args.val)):
        write_scenes(str(data), split, count)
    clock.lap('scenes drawn')

    options = {f'{loader}_dataloader.dataset.data_root': f'{data}/'
               for loader in ('train', 'val', 'test')}
    if args.iters:
        options.update({'train_cfg.max_iters': args.iters, 'train_cfg.val_interval': args.iters,
                        'param_scheduler.1.end': args.iters,
                        'default_hooks.checkpoint.interval': args.iters})
    cfg = load_config(str(root / CONFIG), options)
    set_work_dir(cfg, args.work_dir, CONFIG)
    if torch.cuda.is_available() or has_fast_bf16():
        use_amp(cfg)
    runner = build_runner(cfg, 'none')
    runner.train()
    clock.lap('model trained and scored')

    pictures = draw(runner, Path(args.work_dir) / 'pictures', args.pictures)
    clock.lap('pictures drawn')
    pq = runner.message_hub.get_scalar('val/panoptic/PQ').current()
    print(f'\nPQ on {args.val} held-out scenes: {pq:.1f}')
    print(f'pictures (image, prediction, ground truth): {pictures}/')
    print(f'weights: {runner.message_hub.get_info("last_ckpt")}')
    clock.report()


def draw(runner: Runner, folder: Path, count: int) -> Path:
    """Draw the first held-out scenes beside their ground truth.

    Args:
        runner: with a trained model.
        folder: folder for the pictures.
        count: number of scenes.

    Returns:
        The folder.
    """
    from mmpanseg.structures.result_file_names import dataset_result_names
    from mmpanseg.structures.sample_image import read_sample_image

    runner.model.eval()
    names = dataset_result_names(runner.val_dataloader.dataset)
    for batch, _ in zip(runner.val_dataloader, range(count)):
        for sample in runner.model.val_step(batch):
            image = read_sample_image(sample.metainfo)
            runner.visualizer.add_datasample(
                'demo', image, sample, out_file=str(folder / f'{names[sample.img_path]}.png'))
    return folder


class Clock:
    """Stopwatch for the wall time of each phase."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()
        self.phases: list[tuple[str, float]] = []

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.phases.append((name, now - self.last))
        self.last = now

    def report(self) -> None:
        for name, seconds in [*self.phases, ('all', self.last - self.start)]:
            print(f'{seconds:7.1f} s  {name}')


if __name__ == '__main__':
    run_tool(main)
