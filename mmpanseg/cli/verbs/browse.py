"""``mmpanseg browse``: pictures of what the loader yields, on a page."""
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
    from mmpanseg.browse import Browsed


def _channels(ctx: click.Context, parameter: click.Parameter,
              text: str | None) -> tuple[int, ...]:
    """Parse one or three numbers with commas."""
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(',')]
    if len(parts) not in (1, 3) or not all(part.isdecimal() for part in parts):
        raise click.BadParameter('give one channel, or three for red, green and blue, e.g. 3,2,1',
                                 ctx, parameter)
    return tuple(map(int, parts))


@click.command(
    cls=Verb, section='Data', several={'--cfg-options': '=', '--class': '',
                                                  '--image': '', '--index': ''},
    examples=('mmpanseg browse my_config.py --draws 3',
              'mmpanseg browse my_config.py --split val --worst smallest --class person rider'))
@click.argument('config')
@click.option('--split', type=click.Choice(('train', 'val', 'test')), default='train',
              show_default=True, help='Which loader of the config.')
@click.option('--class', 'classes', multiple=True, metavar='NAME...',
              help='Only images with a segment of one of these classes.')
@click.option('--worst', type=click.Choice(('most-segments', 'smallest', 'most-void')),
              help='The images with the most segments, the smallest segment, or the most void, '
              'the worst first.  [default: random images]')
@click.option('--num', type=click.IntRange(1), default=24, show_default=True, metavar='N',
              help='Number of images.')
@click.option('--index', 'indices', type=int, multiple=True, metavar='I...',
              help='Images by their index in the data set.')
@click.option('--image', 'images', multiple=True, metavar='NAME...',
              help='Images by id or file name.')
@click.option('--draws', type=click.IntRange(1, 16), default=1, show_default=True, metavar='N',
              help='Samples of the loader for each image, side by side.')
@click.option('--no-augment', is_flag=True, help='Show the images without augmentation only.')
@click.option('--seed', type=click.IntRange(0), default=0, show_default=True, metavar='N',
              help='The same seed gives the same pictures.')
@click.option('--channels', callback=_channels, metavar='C[,C,C]',
              help='Channels to draw, from 0: one in gray, or three as red, green and blue.')
@click.option('--size', 'max_side', type=click.IntRange(64, 8192), default=1280,
              show_default=True, metavar='PIXELS', help='Longest side of the pictures.')
@click.option('--out', type=click.Path(path_type=Path), metavar='DIR',
              help='Folder for the page.  [default: browse/{name of the config}-{split}]')
@options.cfg_options
def command(config: str, cfg_options: dict | None, no_augment: bool, out: Path | None,
            draws: int, **values: Any) -> int:
    """Show what a data loader yields, beside the original images.

    CONFIG is the path of a config, or the name of a config of the library. The folder gets
    index.html, which opens from the disk without a network, a contact sheet, and the pictures. An
    image that cannot be read is on the page with its error; the status is 1 then.
    """
    with quiet_start('browse'):
        from mmpanseg.engine.command_line import import_mmdet

        import_mmdet()
        from mmpanseg.browse import BrowseOptions, browse
        from mmpanseg.engine.launch import load_config

        path = config_path(config)
        cfg = load_config(path, cfg_options)
        name, split = Path(path).stem, values['split']
        where = Path('browse') / f'{name}-{split}' if out is None else out
        with ProgressBars() as bar:
            done = browse(cfg, BrowseOptions(out=where, draws=0 if no_augment else draws, **values),
                          name, bar.advance)
        _report(done)
    return int(any(card.errors for card in done.cards))


def _report(done: Browsed) -> None:
    from mmpanseg.cli.predict_screen import printable

    messages = console(stderr=True)
    for card in done.cards:
        for error in card.errors:
            messages.print(printable(f'{card.name}: {error}'), markup=False)
    if done.selection.num_unreadable:
        messages.print(f'{done.selection.num_unreadable} images whose annotations cannot be read '
                       'were left out of the selection', markup=False)
    failed = sum(bool(card.errors) for card in done.cards)
    text = f', {failed} with errors' if failed else ''
    plural = '' if len(done.cards) == 1 else 's'
    console().print(printable(
        f'{len(done.cards)} image{plural}{text} -> {done.page} ({", ".join(done.sheets)})'),
        markup=False)
