"""The verb ``train``."""
from pathlib import Path
from typing import Any

import click

from mmpanseg.cli.runs import RunVerb, config_path, run, run_screen, set_up_config
from mmpanseg.cli.screen import quiet_start


@click.command(
    cls=RunVerb, section='Train and score',
    examples=['mmpanseg train mask2former_r50_8xb2-lsj-50e_coco-panoptic --gpus 8',
              'mmpanseg train my_config.py --work-dir runs/one --cfg-options '
              'train_cfg.max_iters=1000'])
@click.argument('config')
@click.option('--resume', is_flag=False, flag_value='auto', metavar='[CHECKPOINT]',
              help='Continue from a checkpoint; without a value, from the latest one in the work '
              'dir.')
@click.option('--amp', is_flag=True, help='Mixed precision (bfloat16 on a CPU).')
@click.option('--auto-scale-lr', is_flag=True,
              help='Scale the learning rate to the number of images per step of this run.')
@click.option('--detect-anomaly', is_flag=True,
              help='Search for the module and the operation that make NaN; slow.')
@click.option('--no-data-check', 'data_check', is_flag=True, flag_value=False, default=True,
              help='Start without a check of the classes and of the first images.')
def command(config: str, processes: int | None, launcher: str, **values: Any) -> None:
    """Train a model.

    CONFIG is the path of a config, the name of a config of the library, or the start of exactly
    one such name. On a terminal the progress is a view that is drawn in place, elsewhere a line
    per interval; the log file in the work dir contains everything.
    """
    run(lambda: _train(config, launcher, **values), processes, launcher)


def _train(config: str, launcher: str, *, work_dir: str | None, cfg_options: dict | None,
           strict_meta: bool, local_rank: int, **training: Any) -> None:
    path = config_path(config)
    with run_screen(Path(path).stem, 'train') as screen:
        with quiet_start('train'):
            from mmpanseg.engine.command_line import import_mmdet

            import_mmdet()
            from mmpanseg.engine.hooks.live_view_hook import LiveViewHook
            from mmpanseg.engine.launch import load_config
            from mmpanseg.engine.training import build_training

            cfg = load_config(path, cfg_options)
            set_up_config(cfg, path, work_dir, strict_meta, local_rank)
        runner = build_training(cfg, launcher, **training)
        runner.register_hook(LiveViewHook(screen))
        runner.train()
