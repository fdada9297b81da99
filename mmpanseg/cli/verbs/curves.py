"""``mmpanseg curves``: losses, learning rates and scores of trainings, as pictures and a page."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mmpanseg.cli.screen import console, quiet_start
from mmpanseg.cli.verb import Verb


@click.command(
    cls=Verb, section='Train and score', several={'--name': ''},
    examples=('mmpanseg curves work_dirs/mask2former_r50_8xb2-lsj-50e_coco-panoptic',
              'mmpanseg curves work_dirs/one work_dirs/two --log --out comparison'))
@click.argument('work_dirs', nargs=-1, required=True, metavar='WORK_DIR...')
@click.option('--out', type=click.Path(path_type=Path), metavar='DIR',
              help='Folder to write.  [default: curves/{name of the run}]')
@click.option('--name', 'names', multiple=True, metavar='TEXT...',
              help='Name of each run.  [default: the part of its path that differs]')
@click.option('--smooth', 'smoothing', type=click.FloatRange(0, 1, max_open=True), metavar='WEIGHT',
              help='Weight of the past in the averages of losses and times; 0 for none.  '
              '[default: 0, 0.6 or 0.9, by the length of the log]')
@click.option('--log', is_flag=True, help='Logarithmic axes of losses and gradient norms.')
@click.option('--x', 'axis', type=click.Choice(('step', 'epoch', 'time')), default='step',
              show_default=True, help='Horizontal axis; time is hours of training.')
def command(work_dirs: tuple[str, ...], **values: Any) -> None:
    """Draw losses, learning rates and scores of one or several trainings.

    WORK_DIR is the folder of a training, also of one that still runs; restarts in it are joined.
    The folder gets index.html, which opens from the disk without a network, curves.png,
    classes.png (PQ by class), and the numbers as curves.json and curves.csv.
    """
    with quiet_start('curves'):
        from mmpanseg.curves.run import CurveOptions, draw_curves

        done = draw_curves(work_dirs, CurveOptions(**values))
        from mmpanseg.cli.predict_screen import printable

        messages = console(stderr=True)
        for text in [*done.left_out, *(f'{run.name}: {note}' for run in done.runs
                                       for note in run.notes)]:
            messages.print(printable(text), markup=False)
        names = ', '.join(f'{run.name} to step {run.last_step}' for run in done.runs)
        console().print(printable(
            f'{names} -> {done.folder / done.files[0]} ({", ".join(done.files[1:])})'),
            markup=False)
