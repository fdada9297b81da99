"""``mmpanseg doctor``: all problems of a data set."""
from pathlib import Path
from typing import Any

import click

from mmpanseg.cli import options
from mmpanseg.cli.screen import quiet_start
from mmpanseg.cli.verb import Verb

SPLITS = ('train', 'val', 'test')


def _names(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Split a list of names with commas."""
    if text is None:
        return ()
    names = tuple(name.strip() for name in text.split(',') if name.strip())
    if not names:
        raise click.BadParameter('give names with commas between them', ctx, parameter)
    return names


@click.command(
    cls=Verb, section='Data', short_help='Find every problem of a data set.', examples=(
        'mmpanseg doctor my_config.py',
        'mmpanseg doctor panoptic_train.json panoptic_val.json --images images/train --images '
        'images/val',
        'mmpanseg doctor labels/ --images images/ --classes road,sky,car',
        'mmpanseg doctor my_config.py --strict --json problems.json',
        'mmpanseg doctor my_config.py --fix data/repaired'))
@click.argument('targets', nargs=-1, required=True, metavar='TARGET...')
@click.option('--images', multiple=True, metavar='DIR',
              help='Folder of the images of a JSON or of label maps; once for all, or once for '
              'each.  [default: looked for beside TARGET]')
@click.option('--maps', multiple=True, metavar='DIR',
              help='Folder of the PNGs of a panoptic JSON.  [default: looked for beside TARGET]')
@click.option('--kind', type=click.Choice(('panoptic', 'instance', 'semantic')),
              help='Form of the annotations.  [default: by content]')
@click.option('--classes', metavar='NAME,...', callback=_names,
              help='Names of the classes of label maps, by label, or a file classes.json.')
@click.option('--split', 'splits', multiple=True, type=click.Choice(SPLITS),
              help='Data sets of a config; may be repeated.  [default: all]')
@click.option('--fast', is_flag=True, help='Check JSON files and file names only.')
@click.option('--strict', is_flag=True, help='Warnings also lead to exit status 1.')
@click.option('--all', 'show_all', is_flag=True, help='List every problem of each group.')
@click.option('--json', 'json_file', type=click.Path(path_type=Path), metavar='FILE',
              help='Write everything as JSON; - for standard output, in place of the text.')
@click.option('--fix', 'fix_folder', type=click.Path(path_type=Path), metavar='OUT',
              help='Write a repaired copy, of what has one right answer, to a new folder.')
@click.option('--things', metavar='NAME,...',
              help='With --fix: categories that are things, where the JSON has no isthing; or a '
              'file with a name per line.')
@click.option('--max-pixels', type=click.IntRange(min=1), metavar='N',
              help='Warn of images with more pixels.')
@click.option('--workers', type=click.IntRange(min=0), metavar='N',
              help='Number of processes; 0 for none besides the command.  [default: one per core]')
@options.cfg_options
def command(**given: Any) -> int:
    """Find every problem of a data set: files, ids, sizes, pixels, splits.

    TARGET is a config (a file or the name of one of the library), of which everything that training
    and tests read is checked; COCO JSONs of panoptic or instance data; a folder of label maps; or
    a folder that `mmpanseg import` wrote. The files are only read.

    Exit status: 0 no errors, 1 errors (with --strict also warnings), 2 a mistake in the command
    line.
    """
    if given['things'] is not None and given['fix_folder'] is None:
        raise click.UsageError('--things is an option of --fix: add --fix OUT')
    with quiet_start('doctor'):
        from mmpanseg.cli.doctor_run import doctor

        return doctor(**given)
