"""Comparison of a checkpoint's own description with the config of a run.

Weights of another config often load without an error and predict worse. Nothing else shows it: the
tensors have the same shapes.
"""
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log

from mmpanseg.checkpoints.checkpoint_meta import SETTINGS, checkpoint_config, image_settings
from mmpanseg.checkpoints.class_names import class_names_of_meta
from mmpanseg.checkpoints.sources import CheckpointError

# config key that makes a difference an error
STRICT = 'strict_meta'
# settings that a fine-tuned model should share with its checkpoint; others are often changed
_OF_TRAINING = ('model.data_preprocessor.mean', 'model.data_preprocessor.std',
                'model.data_preprocessor.bgr_to_rgb',
                'test_dataloader.dataset.pipeline LoadImageFromFile.color_type')


def class_differences(meta: Any, names: Sequence[str] | None,
                      num_things: int | None) -> list[str]:
    """Compare the classes of a checkpoint with those of a run with the same number of classes.

    Args:
        meta: value of the checkpoint's key ``meta``.
        names: class names of the run by label; None or empty if unknown.
        num_things: number of thing classes of the run's model; None if unknown.

    Returns:
        a line with both values per difference. [] if the numbers of classes differ, which is
        another error, or normal in fine-tuning.
    """
    known = class_names_of_meta(meta)
    if known and names and len(known) != len(names):
        return []
    lines = []
    if known and names and list(known) != list(names):
        labels = [label for label, pair in enumerate(zip(known, names)) if pair[0] != pair[1]]
        order = ', the same names in another order' if sorted(known) == sorted(names) else ''
        lines.append(_line(f'metainfo.classes[{labels[0]}]', known[labels[0]], names[labels[0]])
                     + f' ({len(labels)} of {len(names)} names differ{order})')
    things = _num_things(meta)
    if things is not None and num_things is not None and things != num_things:
        lines.append(_line('model.num_things_classes', things, num_things))
    return lines


def setting_differences(meta: Any, cfg: Mapping, fine_tuning: bool = False) -> list[str]:
    """Compare the images that a checkpoint was trained for with those that a config prepares.

    Normalization, order of channels, padding and test size are compared, as far as both sides
    define them.

    Args:
        meta: value of the checkpoint's key ``meta``.
        cfg: config of the run.
        fine_tuning: compare normalization and channels only.

    Returns:
        a line with both values per difference.
    """
    config = checkpoint_config(meta)
    known = image_settings(config) if config else {}
    if not known and isinstance(meta, Mapping) and isinstance(meta.get(SETTINGS), Mapping):
        known = dict(meta[SETTINGS])
    found = image_settings(cfg)
    return [_line(key, value, found[key]) for key, value in known.items()
            if key in found and (not fine_tuning or key in _OF_TRAINING)
            and not _close(value, found[key])]


def report_differences(differences: Sequence[str], strict: bool,
                       checkpoint: str = 'the checkpoint') -> None:
    """Warn of differences, one line each.

    Args:
        differences: lines of :func:`class_differences` and :func:`setting_differences`.
        strict: raise an error instead.
        checkpoint: name of the file in the texts.

    Raises:
        CheckpointError: ``strict``, and there is a difference.
    """
    if strict and differences:
        raise CheckpointError(
            f'{checkpoint} was trained with other settings: {"; ".join(differences)}; use the '
            'config that it was trained with, or accept them without --strict-meta '
            f'({STRICT}=False)')
    for line in differences:
        print_log(f'{checkpoint} was trained with other settings: {line}', logger='current',
                  level=logging.WARNING)


def _line(key: str, checkpoint: Any, here: Any) -> str:
    return f'{key} is {checkpoint!r} in the checkpoint, {here!r} here'


def _num_things(meta: Any) -> int | None:
    """Number of thing classes of a checkpoint; None if it does not tell."""
    if not isinstance(meta, Mapping):
        return None
    described = meta.get('dataset_meta')
    if isinstance(described, Mapping):
        lower = {str(key).lower(): value for key, value in described.items()}
        things, stuff = lower.get('thing_classes'), lower.get('stuff_classes')
        if isinstance(things, (list, tuple)) and isinstance(stuff, (list, tuple)):
            return len(things)
    config = checkpoint_config(meta) or {}
    model = config.get('model')
    number = model.get('num_things_classes') if isinstance(model, Mapping) else None
    return number if isinstance(number, int) else None


def _close(one: Any, other: Any) -> bool:
    """Compare values; numbers up to the rounding of published means."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-3)
    return bool(one == other)
