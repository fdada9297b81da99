"""``mmpanseg predict``: images and videos to pictures and files of segments."""
import os
import sys
from pathlib import Path
from typing import Any

import click

from mmpanseg.cli import options
from mmpanseg.cli.screen import quiet_start
from mmpanseg.cli.verb import Verb

KINDS = ('png', 'json', 'coco', 'polygons', 'video')


def _names(ctx: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    """Split a list of names with commas."""
    if text is None:
        return None
    names = list(dict.fromkeys(name.strip() for name in text.split(',') if name.strip()))
    if not names:
        raise click.BadParameter('give names with commas between them', ctx, parameter)
    return names


def _kinds(ctx: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    names = _names(ctx, parameter, text)
    unknown = [name for name in names or () if name not in KINDS]
    if unknown:
        raise click.BadParameter(f'{unknown[0]} is none of {", ".join(KINDS)}', ctx, parameter)
    return names


@click.command(
    cls=Verb, section='Use models', examples=(
        'mmpanseg predict photo.jpg --model mask2former-r50-coco-panoptic',
        'mmpanseg predict photos/ clip.mp4 --model my_config.py --weights my.pth --save png,json',
        'mmpanseg predict val2017/ --model my.pth --ann panoptic_val2017.json --save coco',
        'mmpanseg predict photo.jpg --model my.pth --style outlines --palette colorblind'))
@click.argument('sources', nargs=-1, required=True, metavar='SOURCE...')
@click.option('--model', required=True, metavar='NAME',
              help='Name of a published model or of a config, a config file, a checkpoint with its '
              'config, or a folder of transformers.')
@click.option('--weights', metavar='FILE', help='Checkpoint, for a config.')
@click.option('--out', type=click.Path(path_type=Path), default='outputs', show_default=True,
              metavar='DIR', help='Folder for the results.')
@click.option('--save', metavar='KIND,...', callback=_kinds,
              help='Files to write: png (pictures), json (JSON lines), coco, polygons, video.  '
              '[default: png for images, video for videos]')
@click.option('--task', type=click.Choice(('panoptic', 'instance', 'semantic', 'all')),
              help='Outputs of the model.  [default: those of the config]')
@click.option('--classes', metavar='NAME,...', callback=_names,
              help='Classes to keep, e.g. person,car.')
@click.option('--score-thr', type=click.FloatRange(0, 1), metavar='SCORE',
              help='Drop segments with a lower score.')
@click.option('--fusion', metavar='NAME',
              help='Rule that merges masks: pixelwise, mask_wise, heuristic or kmax.')
@click.option('--tile', nargs=2, type=click.IntRange(min=1), metavar='H W',
              help='Predict large images in tiles of H x W pixels.')
@click.option('--tta', is_flag=True, help='Average several views of each image.')
@click.option('--batch', type=click.IntRange(min=1), default=1, show_default=True, metavar='N',
              help='Images in a forward pass.')
@click.option('--every', type=click.IntRange(min=1), default=1, show_default=True, metavar='N',
              help='Predict every Nth frame of a video.')
@click.option('--ann', metavar='FILE',
              help='Annotation file whose image and category ids the results get.')
@click.option('--truth', metavar='FILE',
              help='Ground truth, a JSON in the panoptic format with its PNGs in the folder of '
              'that name: pictures get it and an error map beside the prediction.')
@click.option('--style', type=click.Choice(('overlay', 'mask', 'outlines', 'transparent')),
              default='overlay', show_default=True,
              help='Pictures: colors on the image, colors alone, colored lines on the image, or '
              'only the segments with an alpha channel.')
@click.option('--palette', metavar='NAME',
              help='Colors: colorblind, generated, coco, cityscapes, ade20k, mapillary, camvid, or '
              'a .json or .txt file.  [default: those of the model]')
@click.option('--opacity', type=click.FloatRange(0, 1), default=0.55, show_default=True,
              metavar='SHARE', help='Opacity of the colors.')
@click.option('--line-width', type=click.FloatRange(min=0, max=1000), metavar='PIXELS',
              help='Width of the outlines, 0 for none.  [default: grows with the picture]')
@click.option('--label-size', type=float, default=1, show_default=True, metavar='FACTOR',
              help='Size of the names, 0 for none.')
@click.option('--font', metavar='FILE', help='Font of the names.  [default: one that has the '
              'characters]')
@click.option('--show', is_flag=True, help='Also show each picture in a window.')
@click.option('--overwrite', is_flag=True,
              help='Remove the results that earlier runs wrote to the folder.')
@options.device
@options.cfg_options
@options.strict_meta
@options.trust_checkpoint
@options.offline
def command(sources: tuple[str, ...], **given: Any) -> int:
    """Predict images and videos, and write their segments.

    SOURCE is an image, a video, a folder (with its sub-folders), a pattern in quotes, a URL, or `-`
    for a list on standard input, one source in each line.
    """
    with quiet_start('predict'):
        from mmpanseg.cli.predict_run import PredictOptions, predict

        return predict(PredictOptions(_expanded(sources), **given))


def _expanded(sources: tuple[str, ...]) -> list[str]:
    """Put the lines of standard input in the place of `-`."""
    listed = []
    if '-' in sources:
        # names of files are bytes of any encoding
        listed = [os.fsdecode(line.rstrip(b'\r\n')) for line in sys.stdin.buffer if line.strip()]
        if not listed:
            raise click.UsageError('standard input has no source: write one in each line')
    place = sources.index('-') if listed else 0
    return [*sources[:place], *listed, *(source for source in sources[place:] if source != '-')]
