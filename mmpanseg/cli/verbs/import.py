"""``mmpanseg import``: data of other software in the format that the library trains on."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mmpanseg.cli.screen import quiet_start
from mmpanseg.cli.verb import Verb
from mmpanseg.engine.command_line import import_mmdet


def _names(ctx: click.Context, parameter: click.Parameter,
           values: tuple[str, ...]) -> tuple[str, ...]:
    """Divide texts at commas."""
    return tuple(name.strip() for value in values for name in value.split(',') if name.strip())


def _renames(ctx: click.Context, parameter: click.Parameter,
             values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for value in values:
        old, sign, new = value.partition('=')
        if not (old and sign and new):
            raise click.BadParameter('write OLD=NEW, without spaces around =', ctx, parameter)
        pairs.append((old, new))
    return tuple(pairs)


class ImportVerb(Verb):
    """The verb whose help lists the formats."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from mmpanseg.importers.format_list import list_formats

        with formatter.section(click.style('Formats', bold=True)):
            formatter.write_dl(list(list_formats().items()))
        super().format_epilog(ctx, formatter)


@click.command(
    cls=ImportVerb, section='Data', several={'--rename': '='},
    short_help='Convert data of other software.', examples=(
        'mmpanseg import labelme photos data/mine --val 0.2',
        'mmpanseg import coco exports/mine data/mine --group "(.*)_frame"',
        'mmpanseg import coco coco data/coco --stuff-maps coco/stuffthingmaps --classes labels.txt',
        'mmpanseg import semantic camvid data/camvid --classes label_colors.txt --things Car,Bus',
        'mmpanseg import pairs scans data/scans --things cell --background tissue'))
@click.argument('format_name', metavar='FORMAT')
@click.argument('src')
@click.argument('dst')
@click.option('--val', type=float, metavar='SHARE', help='Share of validation images, e.g. 0.2; 0 '
              'for none.  [default: the splits of the source, else 0.1]')
@click.option('--seed', type=int, default=0, metavar='N', show_default=True,
              help='Chooses other validation images.')
@click.option('--group', metavar='REGEX', help='Images whose names have the same first group of '
              'this regular expression stay together, e.g. the frames of a video.')
@click.option('--things', multiple=True, metavar='NAME,...', callback=_names,
              help='Classes that are things; all others whose kind the source does not tell are '
              'then stuff.')
@click.option('--stuff', multiple=True, metavar='NAME,...', callback=_names,
              help='Classes that are stuff.')
@click.option('--rename', multiple=True, metavar='OLD=NEW...', callback=_renames,
              help='Other names of classes; classes of one new name become one.')
@click.option('--drop', multiple=True, metavar='NAME,...', callback=_names,
              help='Classes whose pixels become unlabeled.')
@click.option('--background', metavar='NAME', help='Stuff class of all unlabeled pixels, which are '
              'ignored without this option.')
@click.option('--images', metavar='FOLDER', help='Images, where they are not found in SRC.')
@click.option('--annotations', metavar='PATH', help='Annotations, where they are not found in SRC.')
@click.option('--classes', metavar='FILE', help='Names, values, colors of classes, as the docs '
              'describe.')
@click.option('--stuff-maps', metavar='PATH', help='coco: label maps of stuff, or a stuff JSON.')
@click.option('--instances', metavar='FOLDER', help='pairs: instance maps.')
@click.option('--instance-ids', default='per-class', metavar='CODING', show_default=True,
              help='pairs: per-class, global, channels, or the divisor D of class * D + number.')
@click.option('--ignore', multiple=True, type=click.IntRange(0), metavar='VALUE',
              help='Values of label maps that are unlabeled.  [default: 255]')
@click.option('--label-suffix', metavar='TEXT', help='Ending of label maps after the name of their '
              'image, e.g. _L.png.  [default: found]')
@click.option('--task', type=click.Choice(['panoptic', 'semantic']),
              help='semantic writes label maps only.  [default: that of the format]')
@click.option('--images-by', default='copy', show_default=True,
              type=click.Choice(['copy', 'hardlink', 'symlink']), help='How images come into DST.')
@click.option('--min-area', type=click.IntRange(1), default=1, metavar='N', show_default=True,
              help='Objects with fewer pixels are left out.')
@click.option('--skip-errors', is_flag=True,
              help='Leave out images with an error and list them in DST/skipped.txt.')
@click.option('--workers', type=click.IntRange(1), metavar='N',
              help='Number of processes.  [default: one per processor, at most 8]')
@click.option('--system', metavar='NAME', help='System of the config, see `mmpanseg init --help`.')
@click.option('--backbone', metavar='NAME', help='Backbone of the config; r18 trains on a CPU.')
@click.option('--from', 'base', metavar='MODEL', help='Weights that the config starts from.')
@click.option('--no-config', is_flag=True, help='Write no config, and do not run the doctor.')
def command(format_name: str, src: str, dst: str, **options: Any) -> int:
    """Convert data of other software into the format that the library trains on.

    SRC is a folder or file of the FORMAT, DST a new folder, which receives images,
    panoptic_{train,val}.json with PNGs, instances_{train,val}.json (of label maps alone: labels/),
    classes.json and a config. The doctor checks the result. An import that was interrupted
    continues when it is started again.
    """
    with quiet_start('import'):
        import_mmdet()
        from mmpanseg.cli.import_screen import check_result, import_with_progress

        imported = import_with_progress(
            format_name, Path(src).expanduser(), Path(dst).expanduser(), options)
        if options['no_config']:
            return 0
        return check_result(imported, options['system'], options['backbone'], options['base'])
