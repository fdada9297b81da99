"""``mmpanseg ui``: models and reports on a page of this machine."""
from pathlib import Path
from typing import Any

import click

from mmpanseg.cli import options
from mmpanseg.cli.screen import console, quiet_start
from mmpanseg.cli.verb import Verb


@click.command(
    cls=Verb, section='Use models', several={'--cfg-options': '=', '--model': '', '--report': '',
                                             '--reports': ''},
    examples=('mmpanseg ui --model my_config.py,my.pth', 'mmpanseg ui --report report/'))
@click.option('--model', 'models', multiple=True, metavar='NAME...',
              help='Models to choose from, beside the published ones: a name, a checkpoint with '
              'its config, a folder of transformers, or CONFIG,CHECKPOINT. The first one is loaded '
              'at the start.')
@click.option('--report', 'reports', multiple=True, metavar='DIR...',
              type=click.Path(path_type=Path), help='Reports to show, see `mmpanseg report`.')
@click.option('--reports', 'report_parents', multiple=True, metavar='DIR...',
              type=click.Path(path_type=Path),
              help='Folders in which reports are, also those that are written later.')
@click.option('--host', default='127.0.0.1', show_default=True, metavar='ADDRESS',
              help='Address to listen at. Another one than the default lets other machines in, '
              'without a password.')
@click.option('--port', type=click.IntRange(0, 65535), default=7860, show_default=True,
              metavar='N', help='Port; if it is in use, the next free one.')
@click.option('--max-mb', type=click.IntRange(1, 4096), default=50, show_default=True, metavar='N',
              help='Largest file that can be uploaded, in MB.')
@click.option('--max-megapixels', type=click.FloatRange(0.01, 1000), default=40,
              show_default=True, metavar='N', help='Largest image, in millions of pixels.')
@click.option('--max-seconds', type=click.FloatRange(1, 600), default=20, show_default=True,
              metavar='N', help='Longest video.')
@options.device
@options.cfg_options
@options.strict_meta
@options.trust_checkpoint
@options.offline
def command(models: tuple[str, ...], reports: tuple[Path, ...], report_parents: tuple[Path, ...],
            host: str, port: int, max_mb: int, max_megapixels: float, max_seconds: float,
            device: str | None, cfg_options: dict | None, strict_meta: bool,
            offline: bool) -> None:
    """Try models in the browser: upload an image, move the thresholds, look at reports.

    The page is served by this machine to this machine; it asks no other one for anything, except
    for weights of a published model that is chosen on it. It needs the package gradio:
    pip install 'mmpanseg[ui]'.
    """
    with quiet_start('ui'):
        from mmpanseg.ui.limits import Limits
        from mmpanseg.ui.run import UiOptions, require_gradio, run_ui

        require_gradio()
        from mmpanseg.cli.predict_screen import printable

        limits = Limits(num_bytes=1_000_000 * max_mb, pixels=int(1e6 * max_megapixels),
                        seconds=max_seconds)
        screen = console()

        def say(text: str) -> None:
            screen.print(printable(text), markup=False)

        load_options: dict[str, Any] = dict(cfg_options=cfg_options, strict_meta=strict_meta)
        run_ui(UiOptions(models, host, port, reports, report_parents, device, offline, limits,
                         load_options), say)
