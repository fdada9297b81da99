"""Convert a published checkpoint: python tools/model_converters/convert.py SRC DST [options].

SRC is a file .pth, .pkl, .bin, .safetensors, or a folder of transformers. Nothing in it is run: it
is read for its tensors only. With --config the result is compared with the config's model, so that
it loads without anything missing or left over. See docs/checkpoints.md for the sources.
"""
import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Optional, Sequence, Union

import mmpanseg  # noqa: F401  before mmdet: makes mmcv importable without compiled operators
import torch
from mmengine.registry import init_default_scope

from mmpanseg.analysis import build_on_meta
from mmpanseg.checkpoints import SOURCES, CheckpointError, check_fit, convert, read_weights
from mmpanseg.checkpoints.class_order import PUBLISHED_THINGS, find_class_order
from mmpanseg.engine import UsageError, load_config, run_tool
from mmpanseg.version import __version__


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert a published checkpoint')
    parser.add_argument('src', help='checkpoint file, or folder of transformers')
    parser.add_argument('dst', help='file to write, .pth')
    parser.add_argument('--source', choices=list(SOURCES),
                        help='where the checkpoint comes from (default: found from its names)')
    parser.add_argument('--config', help='config of the model: the result is compared with it, '
                        'and the order of class labels follows from it')
    parser.add_argument('--class-order', metavar='NAME', help='the published order of labels, '
                        f'without --config: {", ".join(PUBLISHED_THINGS)}, "same" (labels stay as '
                        'they are), or the published label of each of ours: 11,12,0,1,...')
    return parser.parse_args()


def read_class_order(text: str) -> Union[None, str, list[int]]:
    """What ``convert`` takes as ``class_order``."""
    if text == 'same':
        return None
    if text in PUBLISHED_THINGS:
        return text
    try:
        return [int(label) for label in text.split(',')]
    except ValueError:
        raise UsageError(f'--class-order {text}: one of {", ".join(PUBLISHED_THINGS)}, same, or '
                         'numbers with commas between them') from None


def check_class_order(tensors: dict[str, torch.Tensor], pattern: Sequence[str]) -> None:
    """Refuse to guess where a number of classes has two orders of labels."""
    for name in pattern:
        rows = len(tensors[name])
        for dataset, (count, _) in PUBLISHED_THINGS.items():
            if rows == count + 1:
                raise UsageError(
                    f'the checkpoint has {count} classes, as {dataset} has, where panoptic models '
                    'here count things first: give --config, or --class-order '
                    f'{dataset} (panoptic) or same (semantic)')


def main() -> None:
    args = parse_args()
    started = time.perf_counter()
    model: Optional[torch.nn.Module] = None
    order = None if args.class_order is None else read_class_order(args.class_order)
    if args.config is not None:
        cfg = load_config(args.config)
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        model = build_on_meta(cfg.model)
        if args.class_order is None:
            order = find_class_order(model.num_things_classes, model.num_stuff_classes)
    try:
        result = convert(read_weights(args.src), args.source, order)
        if model is not None:
            check_fit(result, model)
    except CheckpointError as error:
        raise UsageError(str(error)) from error
    if args.config is None and args.class_order is None and result.source != 'mmdet':
        check_class_order(result.state_dict, result.class_tensors)
    Path(args.dst).parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(meta=dict(mmpanseg_version=__version__, source=result.source),
                    state_dict=result.state_dict), args.dst)
    size = sum(value.numel() for value in result.state_dict.values()) / 1e6
    print(f'{args.dst}: {len(result.state_dict)} tensors, {size:.1f} M numbers, from '
          f'{SOURCES[result.source].title}, in {time.perf_counter() - started:.1f} s')
    if order is not None:
        print(f'class labels: from the order of {order} to things first'
              if isinstance(order, str) else 'class labels: in the order given')
    for reason, count in Counter(result.unused.values()).items():
        keys = [key for key, why in result.unused.items() if why == reason]
        print(f'not used, {count}: {keys[0]}{" ..." if count > 1 else ""} ({reason})')
    if model is None:
        print('not compared with a model: give --config to be sure that everything fits')


if __name__ == '__main__':
    run_tool(main)
