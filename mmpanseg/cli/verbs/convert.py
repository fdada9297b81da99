"""``mmpanseg convert``: a published checkpoint in the format of this library."""
from __future__ import annotations

import click

from mmpanseg.cli import options
from mmpanseg.cli.screen import console, quiet_start
from mmpanseg.cli.verb import SECTIONS, Verb
from mmpanseg.engine.command_line import CLASS_ORDERS, SOURCES, import_mmdet


@click.command(cls=Verb, section=SECTIONS[-1],
               examples=['mmpanseg convert model_final_94dc52.pkl mask2former_r50.pth --config '
                         'mask2former_r50_8xb2-lsj-50e_coco-panoptic'],
               short_help='Convert a published checkpoint.')
@click.argument('src')
@click.argument('dst')
@click.option('--source', type=click.Choice(SOURCES),
              help='Code base that wrote the checkpoint.  [default: derived from the names of its '
              'parameters]')
@click.option('--config', metavar='CONFIG',
              help='Config of the model, a path or the name of a config of the library. The result '
              'is compared with it, and the order of class labels is derived from it and from the '
              'source.')
@click.option('--class-order', metavar='NAME',
              help='Order of labels in the checkpoint, if it cannot be derived: '
              f'{", ".join(CLASS_ORDERS)}, "same" (labels remain unchanged), or the published '
              'label of each label here: 11,12,0,1,...')
@options.trust_checkpoint
def command(src: str, dst: str, source: str | None, config: str | None,
            class_order: str | None) -> None:
    """Convert the checkpoint SRC to DST.

    SRC is a file .pth, .pkl, .bin, .safetensors, or a folder of transformers. Only its tensors are
    read, no code in it is run. With --config the result is compared with the config's model, so
    that it loads without missing and unused tensors.
    """
    with quiet_start('convert'):
        import_mmdet()
        from mmpanseg.analysis.checkpoint_conversion import convert_to_file

        path = None if config is None else config_path(config)
        for line in convert_to_file(src, dst, source, path, class_order):
            console().print(line, markup=False)


def config_path(config: str) -> str:
    """Return the path of a config that is named by its path, its name, or the start of its name."""
    from pathlib import Path

    if Path(config).suffix == '.py' or Path(config).exists():
        return config
    from mmpanseg.hub.config_files import config_paths, find_configs, select_name

    paths = config_paths(find_configs())
    return str(paths[select_name(config, paths)])
