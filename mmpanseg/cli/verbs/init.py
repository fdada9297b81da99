"""``mmpanseg init``: a config for the user's own data."""
from __future__ import annotations

import click

from mmpanseg.cli import options
from mmpanseg.cli.screen import console, quiet_start
from mmpanseg.cli.verb import Verb


@click.command(cls=Verb, section='Data', examples=(
    'mmpanseg init data/mine --from mask2former-r50-coco-panoptic',
    'mmpanseg init data/mine --system panoptic_segformer --backbone swin_l --out my_config.py',
    'mmpanseg init data/mine --backbone r18 --steps 500',
    'mmpanseg init . --train-json a.json --train-images a --val-json b.json --val-images b'))
@click.argument('data')
@click.option('--system', metavar='NAME', help='mask2former, mp_former, panoptic_segformer or '
              'kmax_deeplab.  [default: that of --from, else mask2former]')
@click.option('--backbone', metavar='NAME', help='E.g. r50, swin_t, convnext_t; r18 is a small '
              'model that trains from scratch on a CPU.  [default: that of --from, else r50]')
@click.option('--from', 'base', metavar='MODEL', help='Weights to start from: short name of a '
              'published model (`mmpanseg models`), checkpoint, folder of transformers or URL.  '
              '[default: those of the backbone]')
@click.option('--task', metavar='TASK', help='panoptic, instance or semantic.  [default: what the '
              'data have]')
@click.option('--out', metavar='FILE', help='Config to write.  '
              '[default: SYSTEM_BACKBONE_FOLDER-TASK.py in DATA]')
@click.option('--batch-size', type=click.IntRange(1), metavar='N',
              help='Images per step and device.  [default: from the size of the images]')
@click.option('--steps', type=click.IntRange(1), metavar='N',
              help='Length of the training.  [default: from the number of images]')
@click.option('--epochs', type=click.IntRange(1), metavar='N',
              help='The same in passes over the images.')
@click.option('--short-side', type=click.IntRange(32), metavar='N', help='Short side of the images '
              'in tests, in pixels.  [default: from the size of the images]')
@click.option('--train-json', default='', metavar='FILE', help='COCO panoptic or instance JSON, '
              'where the data have another layout; relative to DATA.')
@click.option('--train-images', default='', metavar='FOLDER', help='Images.')
@click.option('--train-maps', default='', metavar='FOLDER',
              help='PNGs of a panoptic JSON, or label maps of semantic data.')
@click.option('--val-json', default='', metavar='FILE', help='The same for validation.')
@click.option('--val-images', default='', metavar='FOLDER', help='The same for validation.')
@click.option('--val-maps', default='', metavar='FOLDER', help='The same for validation.')
@click.option('--classes', metavar='FILE', help='Names of the labels of label maps: classes.json, '
              'or a text file with a name per line.')
@click.option('--force', is_flag=True, help='Overwrite the config.')
@options.offline
def command(data: str, system: str | None, backbone: str | None, base: str | None,
            task: str | None, out: str | None, batch_size: int | None, steps: int | None,
            epochs: int | None, short_side: int | None, train_json: str, train_images: str,
            train_maps: str, val_json: str, val_images: str, val_maps: str, classes: str | None,
            force: bool, offline: bool) -> None:
    """Write a config that trains a model on your data.

    DATA is a folder as `mmpanseg import` writes it, or one with COCO JSONs or label maps. The
    config extends one of the library; classes, sizes, batch and schedule are chosen for the data,
    each with its reason in a comment.
    """
    with quiet_start('init'):
        from mmpanseg.hub.new_config import SplitPaths, write_config

        path = write_config(
            data, out, system=system, backbone=backbone, base=base, task=task,
            batch_size=batch_size, steps=steps, epochs=epochs, short_side=short_side,
            train=SplitPaths(train_json, train_images, train_maps),
            val=SplitPaths(val_json, val_images, val_maps), classes=classes, force=force,
            offline=offline)
    console().print(f'{path}', markup=False)
    console(stderr=True).print(f'train with: mmpanseg train {path}', style='dim', markup=False)
