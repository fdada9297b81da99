"""Conversion of a published checkpoint file, as the command lines do it."""
from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpanseg.analysis.cost import build_on_meta
from mmpanseg.checkpoints import SOURCES, CheckpointError, ConvertedCheckpoint, check_fit, convert
from mmpanseg.checkpoints.checkpoint_meta import SETTINGS, checkpoint_config, image_settings
from mmpanseg.checkpoints.class_names import METAINFO_KEYS, read_class_names
from mmpanseg.checkpoints.class_order import (
    PUBLISHED,
    find_class_order,
    published_order,
    require_known_order,
)
from mmpanseg.checkpoints.convert import drop_zero_query_positions
from mmpanseg.checkpoints.sources import find_source, get_source
from mmpanseg.checkpoints.weight_files import extract_weights, read_checkpoint
from mmpanseg.checkpoints.writing import write_checkpoint
from mmpanseg.datasets.metainfo import config_metainfo
from mmpanseg.engine.command_line import UsageError
from mmpanseg.engine.launch import load_config
from mmpanseg.version import __version__


def read_class_order(text: str) -> list[int] | None:
    """Parse ``--class-order`` for :func:`mmpanseg.checkpoints.convert`."""
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


def convert_file(src: str, source_name: str | None = None, config: str | Config | None = None,
                 class_order: str | None = None
                 ) -> tuple[ConvertedCheckpoint, list[int] | None, dict]:
    """Convert a checkpoint.

    Args:
        src: checkpoint file, or folder of transformers.
        source_name: key of ``SOURCES``; None: derived from the names of parameters.
        config: config of the model, or its path, with which the result is compared.
        class_order: text of ``--class-order``; None: derived.

    Returns:
        The converted checkpoint, the order of its labels (None if unchanged), and what is known of
        its classes and images, for its ``meta``.

    Raises:
        CheckpointError: the checkpoint does not fit.
        UsageError: the config or the order cannot be read.
    """
    model, info, settings = None, {}, {}
    if config is not None:
        cfg = load_config(config) if isinstance(config, str) else config
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        model, info, settings = build_on_meta(cfg.model), config_metainfo(cfg), image_settings(cfg)
    content = read_checkpoint(src)
    # a file that contains its config knows better
    settings = image_settings(checkpoint_config(content.get('meta')) or {}) or settings
    weights, file = extract_weights(content, src), read_class_names(content, src)
    try:
        source = find_source(weights) if source_name is None else get_source(source_name)
        if class_order is not None:
            order = read_class_order(class_order)
        elif model is not None:
            order = find_class_order(source, file, info.get('classes', ()),
                                     cfg.model.num_things_classes, cfg.model.num_stuff_classes)
        else:
            order = None
        result = convert(weights, source.name, order)
        if model is not None:
            drop_zero_query_positions(result, model)
            check_fit(result, model)
        elif class_order is None and result.class_tensors:
            require_known_order(source, file, max(
                len(result.state_dict[name]) for name in result.class_tensors))
    except CheckpointError as error:
        raise CheckpointError(f'{src}: {error}') from error
    names = file.names
    if not info.get('classes') and names and len(order or names) == len(names):
        info = dict(classes=tuple(names[label] for label in order or range(len(names))))
    described = {key: info[key] for key in METAINFO_KEYS if info.get(key)}
    return result, order, {**(dict(dataset_meta=described) if described else {}),
                           **({SETTINGS: settings} if settings else {})}


def convert_to_file(src: str, dst: str, source: str | None = None, config: str | None = None,
                    class_order: str | None = None) -> list[str]:
    """Convert a checkpoint and write it.

    Args:
        src: as in :func:`convert_file`.
        dst: file to write, .pth.
        source: as in :func:`convert_file`.
        config: as in :func:`convert_file`.
        class_order: as in :func:`convert_file`.

    Returns:
        Lines that describe the file, the order of labels, and what is not used.

    Raises:
        UsageError: source, config or target cannot be used, or the checkpoint does not fit.
    """
    started = time.perf_counter()
    try:
        result, order, known = convert_file(src, source, config, class_order)
    except CheckpointError as error:
        raise UsageError(str(error)) from error
    check_target(src, dst)
    Path(dst).parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(dict(
        meta=dict(mmpanseg_version=__version__, source=result.source, **known),
        state_dict=result.state_dict), dst)
    size = sum(value.numel() for value in result.state_dict.values()) / 1e6
    lines = [f'{dst}: {len(result.state_dict)} tensors, {size:.1f} M numbers, from '
             f'{SOURCES[result.source].title}, in {time.perf_counter() - started:.1f} s']
    if order is None:
        lines.append('class labels: as in the checkpoint')
    else:
        names = [name for name, (_, labels) in PUBLISHED.items() if list(labels) == order]
        lines.append(f'class labels: from the order of {names[0]} to things first' if names
                     else f'class labels: in another order, {", ".join(map(str, order[:8]))} ...')
    for reason, count in Counter(result.unused.values()).items():
        keys = [key for key, why in result.unused.items() if why == reason]
        lines.append(f'not used, {count}: {keys[0]}{" ..." if count > 1 else ""} ({reason})')
    if config is None:
        lines.append('not compared with a model: use --config to check that all tensors fit')
    return lines
