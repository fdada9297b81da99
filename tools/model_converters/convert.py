"""Convert a published checkpoint: python tools/model_converters/convert.py SRC DST [options].

SRC is a file .pth, .pkl, .bin, .safetensors, or a folder of transformers. Only its tensors are
read, no code in it is run. With --config the result is compared with the config's model, so that
it loads without missing and unused tensors. See docs/checkpoints.md for the sources.
"""
from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from mmpanseg.engine import UsageError, add_trust_option, import_mmdet, run_tool
from mmpanseg.version import __version__

if TYPE_CHECKING:
    from mmpanseg.checkpoints import ConvertedCheckpoint

# The keys of mmpanseg.checkpoints.SOURCES and .class_order.PUBLISHED, whose import takes seconds.
SOURCES = ('huggingface', 'kmax_deeplab', 'mask2former', 'mp_former', 'mmdet', 'panoptic_segformer')
CLASS_ORDERS = ('cityscapes', 'ade20k', 'mapillary', 'coco')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert a published checkpoint')
    parser.add_argument('src', help='checkpoint file, or folder of transformers')
    parser.add_argument('dst', help='file to write, .pth')
    parser.add_argument('--source', choices=SOURCES,
                        help='code base that wrote the checkpoint (default: derived from its '
                        'parameter names)')
    parser.add_argument('--config', help='config of the model: the result is compared with it, '
                        'and the order of class labels is derived from it and from the source')
    parser.add_argument('--class-order', metavar='NAME', help='order of labels in the '
                        f'checkpoint, if it cannot be derived: {", ".join(CLASS_ORDERS)}, "same" '
                        '(labels remain unchanged), or the published label of each label here: '
                        '11,12,0,1,...')
    add_trust_option(parser)
    return parser.parse_args()


def read_class_order(text: str) -> list[int] | None:
    """Parse ``--class-order`` for :func:`mmpanseg.checkpoints.convert`."""
    from mmpanseg.checkpoints.class_order import PUBLISHED, published_order

    if text == 'same':
        return None
    if text in PUBLISHED:
        return published_order(text)
    try:
        return [int(label) for label in text.split(',')]
    except ValueError:
        raise UsageError(f'--class-order {text}: one of {", ".join(PUBLISHED)}, same, or '
                         'numbers with commas between them') from None


def check_target(src: str, dst: str) -> None:
    """Refuse to overwrite the source or a folder."""
    if Path(dst).is_dir():
        raise UsageError(f'{dst} is a folder: name the file to write')
    if Path(dst).exists() and Path(dst).samefile(src):
        raise UsageError(f'{dst} is the checkpoint to convert: name another file to write')


def convert_file(args: argparse.Namespace) -> tuple[ConvertedCheckpoint, list[int] | None, dict]:
    """Convert the checkpoint of the arguments.

    Returns:
        The converted checkpoint, the order of its labels (None if unchanged), and what is known of
        its classes and images, for its ``meta``.
    """
    from mmengine.registry import init_default_scope

    from mmpanseg.analysis import build_on_meta
    from mmpanseg.checkpoints import CheckpointError, check_fit, convert
    from mmpanseg.checkpoints.checkpoint_meta import SETTINGS, checkpoint_config, image_settings
    from mmpanseg.checkpoints.class_names import METAINFO_KEYS, read_class_names
    from mmpanseg.checkpoints.class_order import find_class_order, require_known_order
    from mmpanseg.checkpoints.convert import drop_zero_query_positions
    from mmpanseg.checkpoints.sources import find_source, get_source
    from mmpanseg.checkpoints.weight_files import extract_weights, read_checkpoint
    from mmpanseg.datasets.metainfo import config_metainfo
    from mmpanseg.engine.launch import load_config

    model, info, settings = None, {}, {}
    if args.config is not None:
        cfg = load_config(args.config)
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        model, info, settings = build_on_meta(cfg.model), config_metainfo(cfg), image_settings(cfg)
    content = read_checkpoint(args.src)
    # a file that contains its config knows better
    settings = image_settings(checkpoint_config(content.get('meta')) or {}) or settings
    weights, file = extract_weights(content, args.src), read_class_names(content, args.src)
    try:
        source = find_source(weights) if args.source is None else get_source(args.source)
        if args.class_order is not None:
            order = read_class_order(args.class_order)
        elif model is not None:
            order = find_class_order(source, file, info.get('classes', ()),
                                     model.num_things_classes, model.num_stuff_classes)
        else:
            order = None
        result = convert(weights, source.name, order)
        if model is not None:
            drop_zero_query_positions(result, model)
            check_fit(result, model)
        elif args.class_order is None and result.class_tensors:
            require_known_order(source, file, max(
                len(result.state_dict[name]) for name in result.class_tensors))
    except CheckpointError as error:
        raise CheckpointError(f'{args.src}: {error}') from error
    names = file.names
    if not info.get('classes') and names and len(order or names) == len(names):
        info = dict(classes=tuple(names[label] for label in order or range(len(names))))
    described = {key: info[key] for key in METAINFO_KEYS if info.get(key)}
    return result, order, {**(dict(dataset_meta=described) if described else {}),
                           **({SETTINGS: settings} if settings else {})}


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmpanseg.checkpoints import SOURCES, CheckpointError
    from mmpanseg.checkpoints.class_order import PUBLISHED
    from mmpanseg.checkpoints.writing import write_checkpoint

    started = time.perf_counter()
    try:
        result, order, known = convert_file(args)
    except CheckpointError as error:
        raise UsageError(str(error)) from error
    check_target(args.src, args.dst)
    Path(args.dst).parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(dict(
        meta=dict(mmpanseg_version=__version__, source=result.source, **known),
        state_dict=result.state_dict), args.dst)
    size = sum(value.numel() for value in result.state_dict.values()) / 1e6
    print(f'{args.dst}: {len(result.state_dict)} tensors, {size:.1f} M numbers, from '
          f'{SOURCES[result.source].title}, in {time.perf_counter() - started:.1f} s')
    if order is None:
        print('class labels: as in the checkpoint')
    else:
        known = [name for name, (_, labels) in PUBLISHED.items() if list(labels) == order]
        print(f'class labels: from the order of {known[0]} to things first' if known
              else f'class labels: in another order, {", ".join(map(str, order[:8]))} ...')
    for reason, count in Counter(result.unused.values()).items():
        keys = [key for key, why in result.unused.items() if why == reason]
        print(f'not used, {count}: {keys[0]}{" ..." if count > 1 else ""} ({reason})')
    if args.config is None:
        print('not compared with a model: use --config to check that all tensors fit')


if __name__ == '__main__':
    run_tool(main)
