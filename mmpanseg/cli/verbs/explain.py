"""``mmpanseg explain``: how a model arrives at the segments of an image."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmpanseg.cli import options
from mmpanseg.cli.screen import console, quiet_start
from mmpanseg.cli.verb import Verb

if TYPE_CHECKING:
    from mmpanseg.apis.predictor import Predictor
    from mmpanseg.explain import Explanation


@click.command(
    cls=Verb, section='Use models', short_help='Show how a model arrives at a segment.',
    several={'--cfg-options': '=', '--segment': ''}, examples=(
        'mmpanseg explain photo.jpg --model mask2former-r50-coco-panoptic',
        'mmpanseg explain photo.jpg --model my_config.py --weights my.pth --segment 3 person '
        '120,80'))
@click.argument('image')
@click.option('--model', required=True, metavar='NAME',
              help='Name of a published model or of a config, a config file, a checkpoint with its '
              'config, or a folder of transformers.')
@click.option('--weights', metavar='FILE', help='Checkpoint, for a config.')
@click.option('--segment', 'segments', multiple=True, metavar='SEGMENT...',
              help='Segments to explain: a number of the list, the name of a class, or a pixel '
              'x,y.  [default: the largest]')
@click.option('--limit', type=click.IntRange(1), default=6, show_default=True, metavar='N',
              help='Largest number of segments without --segment, and of one class.')
@click.option('--out', type=click.Path(path_type=Path), metavar='DIR',
              help='Folder for the page.  [default: explain/{name of the image}]')
@click.option('--score-thr', type=click.FloatRange(0, 1), metavar='SCORE',
              help='Score threshold of the fusion head.')
@click.option('--fusion', metavar='NAME',
              help='Rule that merges masks: pixelwise, mask_wise, heuristic or kmax.')
@options.device
@options.cfg_options
@options.strict_meta
@options.trust_checkpoint
@options.offline
def command(image: str, segments: tuple[str, ...], limit: int, out: Path | None,
            **given: Any) -> int:
    """Show how a model arrives at segments of an image.

    For each segment: its query, the classes and masks of the query after every layer of the
    decoder, where the query looked, what the fusion did with it, and which other queries have the
    same place. IMAGE is a path or a URL. The folder gets index.html, a picture for each segment and
    explanation.json. All segments of the image are listed with their numbers.
    """
    with quiet_start('explain'):
        from mmpanseg.engine.command_line import UsageError, one_line
        from mmpanseg.explain import explain, write_explanation
        from mmpanseg.explain.choice import parse_choice
        from mmpanseg.explain.folder import OWN_FILES
        from mmpanseg.pages.own_folder import check_folder

        where = Path('explain') / (Path(image).stem or 'image') if out is None else out
        check_folder(where, OWN_FILES)
        predictor = _load(**given)
        try:
            found = explain(predictor, image, [
                parse_choice(text, predictor.classes) for text in segments], limit=limit)
        except ValueError as error:
            raise UsageError(one_line(error)) from error
        _list(found)
        page = write_explanation(found, where)
        explained = len(found.explained)
        console().print(f'{explained} segment{"" if explained == 1 else "s"} explained -> {page}',
                        markup=False)
    return 0


def _load(model: str, weights: str | None, device: str | None, **given: Any) -> Predictor:
    from mmpanseg.apis.predictor import load
    from mmpanseg.engine.command_line import UsageError, one_line

    try:
        return load(model, weights, device, **given)
    except (TypeError, ValueError) as error:
        raise UsageError(one_line(error)) from error


def _list(found: Explanation) -> None:
    """Write the table of all segments; those that are explained have a mark."""
    from rich.table import Table
    from rich.text import Text

    explained = {one.segment.id for one in found.explained}
    columns = ('segment', 'class', 'score', 'pixels', 'query')
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify='left' if column == 'class' else 'right')
    table.add_column('')
    for listed in found.listed:
        segment = listed.segment
        score = '' if segment.score is None else f'{segment.score:.2f}'
        cells = (str(segment.id), segment.name, score, str(segment.area), str(listed.query),
                 'explained' if segment.id in explained else '')
        table.add_row(*map(Text, cells))
    console().print(table)
