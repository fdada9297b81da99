"""A checkpoint for another library: python tools/model_converters/export.py SRC DST --to NAME.

huggingface: DST becomes a folder for Mask2FormerForUniversalSegmentation.from_pretrained (needs
--config). mmdet: DST is a file for mmdetection 3.x's Mask2Former.
"""
import argparse
from pathlib import Path

import mmpanseg  # noqa: F401  before mmdet: makes mmcv importable without compiled operators
import torch
from mmengine.registry import init_default_scope

from mmpanseg.checkpoints import (CheckpointError, convert, read_weights, to_mmdet,
                                  write_huggingface)
from mmpanseg.engine import UsageError, load_config, run_tool
from mmpanseg.registry import DATASETS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write a checkpoint for another library')
    parser.add_argument('src', help='checkpoint of this library')
    parser.add_argument('dst', help='file or folder to write')
    parser.add_argument('--to', choices=['huggingface', 'mmdet'], required=True)
    parser.add_argument('--config', help='config of the model')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    unused: dict[str, str] = {}
    try:
        # of ours only: refuses the checkpoints that convert.py reads
        state_dict = convert(read_weights(args.src), 'mmdet').state_dict
        if args.to == 'mmdet':
            exported = to_mmdet(state_dict, unused)
            Path(args.dst).parent.mkdir(parents=True, exist_ok=True)
            torch.save(dict(meta={}, state_dict=exported), args.dst)
        else:
            if args.config is None:
                raise UsageError('--to huggingface needs --config: tensors do not tell everything')
            cfg = load_config(args.config)
            init_default_scope(cfg.get('default_scope', 'mmdet'))
            dataset = DATASETS.get(cfg.test_dataloader.dataset.type)
            classes = (cfg.test_dataloader.dataset.get('metainfo') or dataset.METAINFO).get(
                'classes')
            unused = write_huggingface(state_dict, cfg.model, Path(args.dst), classes)
    except CheckpointError as error:
        raise UsageError(str(error)) from error
    print(f'{args.dst}: written for {args.to}')
    for key, reason in list(unused.items())[:3]:
        print(f'left out: {key} ({reason})')


if __name__ == '__main__':
    run_tool(main)
