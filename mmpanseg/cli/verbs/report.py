"""``mmpanseg report``: where a model fails and why, on a page."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmpanseg.cli import options
from mmpanseg.cli.progress_bars import ProgressBars
from mmpanseg.cli.runs import config_path
from mmpanseg.cli.screen import console, quiet_start
from mmpanseg.cli.verb import Verb

if TYPE_CHECKING:
    from mmpanseg.report.run import Report

# exit status of Ctrl-C
_INTERRUPTED = 130


def _pictures(ctx: click.Context, parameter: click.Parameter, text: str) -> int | None:
    """Parse a number or ``all``."""
    if text == 'all':
        return None
    if not text.isdecimal():
        raise click.BadParameter('give a number of images, or all', ctx, parameter)
    return int(text)


@click.command(
    cls=Verb, section='Train and score', several={'--cfg-options': '='},
    examples=('mmpanseg report my_config.py runs/one/iter_1000.pth',
              'mmpanseg report my_config.py --predictions results/coco',
              'mmpanseg report --predictions panoptic_results.json --truth panoptic_val2017.json '
              '--images val2017'))
@click.argument('config', metavar='[CONFIG|MODEL]', required=False)
@click.argument('checkpoint', required=False)
@click.option('--predictions', type=click.Path(path_type=Path), metavar='FILE|DIR',
              help='Saved predictions instead of a model: a COCO panoptic JSON, '
              'predictions.jsonl, the .pkl of a test, or the folder of mmpanseg predict.')
@click.option('--predictions-folder', type=click.Path(path_type=Path), metavar='DIR',
              help='PNGs of a COCO panoptic JSON.  [default: beside it]')
@click.option('--truth', type=click.Path(path_type=Path), metavar='FILE.json',
              help='Ground truth in COCO panoptic format, instead of a config.')
@click.option('--truth-folder', type=click.Path(path_type=Path), metavar='DIR',
              help='PNGs of --truth.  [default: beside it]')
@click.option('--images', type=click.Path(path_type=Path), metavar='DIR',
              help='Images of --truth; without, segments are drawn on gray.')
@click.option('--out', type=click.Path(path_type=Path), metavar='DIR',
              help='Folder for the report.  [default: report/{name of the config or file}]')
@click.option('--compare', type=click.Path(path_type=Path), metavar='OTHER',
              help='Also compare with OTHER: the folder of a report on the same images, '
              'predictions, a checkpoint, or a model.')
@click.option('--compare-config', metavar='CONFIG',
              help='Config of the checkpoint OTHER.  [default: CONFIG]')
@click.option('--sample', type=click.IntRange(1), metavar='N',
              help='A random sample of N images.  [default: all]')
@click.option('--seed', type=click.IntRange(0), default=0, show_default=True, metavar='N',
              help='Of the sample.')
@click.option('--boundary', is_flag=True, help='Also compute Boundary PQ.')
@click.option('--pictures', callback=_pictures, default='200', show_default=True, metavar='N|all',
              help='Pictures of the N images with the lowest PQ.')
@click.option('--max-side', type=click.IntRange(64, 8192), default=1024, show_default=True,
              metavar='PIXELS', help='Longest side of the pictures.')
@click.option('--tta', is_flag=True,
              help='Test-time augmentation: flips, and the scales of the config.')
@options.device
@options.strict_meta
@options.trust_checkpoint
@options.cfg_options
def command(**values: Any) -> int:
    """Show where a model fails and why, on a page.

    CONFIG and CHECKPOINT are those of mmpanseg test; MODEL alone is the short name of a published
    model, or a checkpoint with its config. The folder gets index.html, which opens from the disk
    without a network, report.json with all figures, images.jsonl with a line for each image, and
    pictures. Images that cannot be read are listed; the status is 1 then.
    """
    with quiet_start('report'):
        from mmpanseg.engine.command_line import import_mmdet

        import_mmdet()
        from mmpanseg.report.command import ReportArguments, run_report
        from mmpanseg.report.run import Interrupted

        if values['config'] and (values['checkpoint'] or values['predictions']):
            values['config'] = config_path(values['config'])
        if values['compare_config']:
            values['compare_config'] = config_path(values['compare_config'])
        status = 0
        with ProgressBars() as bar:
            try:
                report = run_report(ReportArguments(**values), bar.advance)
            except Interrupted as error:
                report, status = error.report, _INTERRUPTED
        _show(report, interrupted=bool(status))
    return status or int(bool(report.problems))


def _show(report: Report, interrupted: bool) -> None:
    from mmpanseg.cli.predict_screen import printable
    from mmpanseg.report.words import closing_lines

    messages = console(stderr=True)
    for problem in report.problems:
        messages.print(printable(problem), markup=False)
    if interrupted:
        messages.print('interrupted: the report contains the images until now; run the command '
                       'again for all of them', markup=False)
    lines = [*closing_lines(report.summary),
             f'{report.summary.num_scored} images -> {report.page}']
    if report.comparison is not None:
        from mmpanseg.report.comparison_page import COMPARE_PAGE, verdict

        lines.append(verdict(report.comparison.quality['all']['all'],
                             (report.comparison.title_a, report.comparison.title_b)))
        lines.append(f'comparison -> {report.page.with_name(COMPARE_PAGE)}')
    for line in lines:
        console().print(printable(line), markup=False)
