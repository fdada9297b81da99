"""The verb ``test``."""
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmpanseg.cli.runs import RunVerb, config_path, run, run_screen, set_up_config
from mmpanseg.cli.screen import quiet_start

if TYPE_CHECKING:
    from mmengine.config import Config


@click.command(
    cls=RunVerb, section='Train and score',
    examples=['mmpanseg test my_config.py runs/one/iter_1000.pth',
              'mmpanseg test mask2former-r50-coco-panoptic --tta'])
@click.argument('config', metavar='CONFIG|MODEL')
@click.argument('checkpoint', required=False)
@click.option('--out', metavar='FILE.pkl', help='Also write the predictions to a file.')
@click.option('--tta', is_flag=True,
              help='Test-time augmentation: flips, and the scales of the config.')
@click.option('--show', is_flag=True, help='Show predictions in a window.')
@click.option('--show-dir', metavar='FOLDER',
              help='Write pictures of the predictions to {work dir}/{time stamp}/{FOLDER}.')
@click.option('--wait-time', type=float, default=2, show_default=True, metavar='SECONDS',
              help='How long each window of --show is open.')
def command(config: str, checkpoint: str | None, processes: int | None, launcher: str,
            **values: Any) -> None:
    """Score a model with the test data of its config.

    CONFIG is the path or the name of a config, CHECKPOINT a file or a URL of weights. MODEL alone
    is the short name of a published model, or a checkpoint that contains its config.
    """
    run(lambda: _test(config, checkpoint, launcher, **values), processes, launcher)


def _test(config: str, checkpoint: str | None, launcher: str, *, work_dir: str | None,
          cfg_options: dict | None, strict_meta: bool, local_rank: int, out: str | None,
          show: bool, **test: Any) -> None:
    if checkpoint is None:
        cfg, path, checkpoint = _resolved(config, cfg_options)
    else:
        cfg, path = None, config_path(config)
    with run_screen(Path(path).stem, 'test') as screen:
        with quiet_start('test'):
            from mmpanseg.engine.command_line import import_mmdet

            import_mmdet()
            from mmpanseg.apis.testing import build_test, check_test_outputs
            from mmpanseg.engine.hooks.live_view_hook import LiveViewHook
            from mmpanseg.engine.launch import check_checkpoint, load_config

            check_test_outputs(out, show)
            cfg = cfg or load_config(path, cfg_options)
            check_checkpoint(checkpoint, path)
            set_up_config(cfg, path, work_dir, strict_meta, local_rank)
        runner = build_test(cfg, checkpoint, path, launcher, out=out, show=show, **test)
        runner.register_hook(LiveViewHook(screen))
        runner.test()


def _resolved(model: str, cfg_options: dict | None) -> 'tuple[Config, str, str]':
    """Find config, name and weights of a model; its weights may be downloaded, with a bar."""
    with quiet_start('test'):
        from mmpanseg.engine.command_line import UsageError
        from mmpanseg.engine.launch import merge_overrides
        from mmpanseg.hub import resolve_model

        found = resolve_model(model)
        if found.weights is None:
            raise UsageError(f'{model} has no weights: name a CHECKPOINT, too')
        merge_overrides(found.cfg, cfg_options, found.name)
        return found.cfg, found.name, found.weights
