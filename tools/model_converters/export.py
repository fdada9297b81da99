"""A checkpoint for another library: python tools/model_converters/export.py SRC DST --to NAME.

huggingface: DST becomes a folder for Mask2FormerForUniversalSegmentation.from_pretrained (needs
--config). mmdet: DST is a file for mmdetection 3.x's Mask2Former. With --config, settings that the
target cannot express are refused by name.
"""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mmpanseg.engine import UsageError, add_trust_option, import_mmdet, run_tool
from mmpanseg.version import __version__

if TYPE_CHECKING:
    from mmengine.config import Config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write a checkpoint for another library')
    parser.add_argument('src', help='checkpoint of this library')
    parser.add_argument('dst', help='file or folder to write')
    parser.add_argument('--to', choices=['huggingface', 'mmdet'], required=True)
    parser.add_argument('--config', help='config of the model')
    add_trust_option(parser)
    return parser.parse_args()


def test_pipeline(cfg: Config) -> list[dict]:
    """Return the pipeline of the config's test data."""
    from mmpanseg.datasets.metainfo import first_dataset

    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    pipeline = first_dataset(dataset).get('pipeline')
    if not pipeline:
        raise UsageError('the config has no test_dataloader.dataset.pipeline, which defines '
                         'the size of test images')
    return pipeline


def export(args: argparse.Namespace) -> dict[str, str]:
    """Write the checkpoint of the arguments for the other library.

    Returns:
        {key without a counterpart there: reason}.
    """
    from mmengine.registry import init_default_scope

    from mmpanseg.analysis import build_on_meta
    from mmpanseg.checkpoints import check_fit, convert, to_mmdet, write_huggingface
    from mmpanseg.checkpoints.class_names import METAINFO_KEYS, read_class_names
    from mmpanseg.checkpoints.weight_files import extract_weights, read_checkpoint
    from mmpanseg.checkpoints.writing import write_checkpoint
    from mmpanseg.datasets.metainfo import check_class_names, config_metainfo
    from mmpanseg.engine.launch import load_config

    content = read_checkpoint(args.src)
    # Refuses checkpoints of other code bases, which convert.py reads.
    result = convert(extract_weights(content, args.src), 'mmdet')
    names = read_class_names(content, args.src).names
    cfg, info = None, dict(classes=names)
    if args.config is not None:
        cfg = load_config(args.config)
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        model, configured = build_on_meta(cfg.model), config_metainfo(cfg)
        check_fit(result, model)
        check_class_names(model.num_classes, names, configured.get('classes'))
        info = configured if configured.get('classes') else info
    if args.to == 'huggingface':
        if cfg is None:
            raise UsageError('--to huggingface needs --config: the tensors do not contain all '
                             'settings')
        return write_huggingface(result.state_dict, cfg.model, Path(args.dst), info['classes'],
                                 test_pipeline(cfg))
    unused: dict[str, str] = {}
    exported = to_mmdet(result.state_dict, unused, cfg and cfg.model)
    described = {key: info[key] for key in METAINFO_KEYS if info.get(key)}
    Path(args.dst).parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(dict(meta=dict(mmpanseg_version=__version__,
                                    **(dict(dataset_meta=described) if described else {})),
                          state_dict=exported), args.dst)
    if cfg is None:
        print('not compared with a config: use --config to check that mmdetection supports its '
              'settings, which the tensors do not contain')
    return unused


def main() -> None:
    args = parse_args()
    import_mmdet()
    try:
        unused = export(args)
    except ValueError as error:
        raise UsageError(f'{args.src}: {str(error).removeprefix(f"{args.src}: ")}') from error
    print(f'{args.dst}: written for {args.to}')
    for key, reason in list(unused.items())[:3]:
        print(f'left out: {key} ({reason})')


if __name__ == '__main__':
    run_tool(main)
