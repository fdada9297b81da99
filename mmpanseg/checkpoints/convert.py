"""Conversion of checkpoints of all known code bases to the parameter names of this library."""
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmpanseg.checkpoints.checkpoint_fit import compare_tensors, shortened_list
from mmpanseg.checkpoints.class_order import permute_classes, published_order
from mmpanseg.checkpoints.sources import CheckpointError, find_source, get_source
from mmpanseg.utils.finite import describe_non_finite

POSITIONS = 'panoptic_head.query_embed.weight'
# Parameters of each kind that an error text names.
_NAMED = 3


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """A converted checkpoint.

    Attributes:
        state_dict: tensors under the names of this library, for ``strict=True``.
        source: name of the code base.
        unused: source key -> reason, for each tensor that is not converted.
        origin: name -> source key, for tensors with unchanged values.
        class_tensors: names of tensors with one row per class.
    """
    state_dict: dict[str, Tensor]
    source: str
    unused: dict[str, str]
    origin: dict[str, str]
    class_tensors: tuple[str, ...]


def convert(state_dict: dict[str, Tensor], source: str | None = None,
            class_order: None | str | Sequence[int] = None) -> ConvertedCheckpoint:
    """Convert a state dict of another code base for ``MaskTransformer``.

    Args:
        state_dict: name -> tensor in the source.
        source: name of the code base, one of ``SOURCES``; by default detected from the names.
        class_order: label in the source of each label of this library, or the dataset with that
            order (see :data:`mmpanseg.checkpoints.class_order.PUBLISHED`). None keeps the labels,
            which is correct for COCO and for models without things or without stuff.

    Raises:
        CheckpointError: the source is unknown, a tensor does not belong to the source's model, or
            the class order has the wrong length; the text names it.
    """
    entry = find_source(state_dict) if source is None else get_source(source)
    unused: dict[str, str] = {}
    with torch.no_grad():
        try:
            renamed = dict(entry.convert(state_dict, unused))
        except KeyError as error:
            raise CheckpointError(f'not a checkpoint of {entry.title}: {error.args[0]}') from error
        keys = {id(value): key for key, value in state_dict.items()}
        origin = {name: keys[id(value)] for name, value in renamed.items() if id(value) in keys}
        by_class = tuple(name for name in renamed if re.fullmatch(entry.class_tensors, name))
        if class_order is not None:
            order = published_order(class_order) if isinstance(class_order, str) else class_order
            for name in by_class:
                renamed[name] = permute_classes(renamed[name], order, origin.get(name, name))
        renamed.update(_constants(renamed))
    if broken := describe_non_finite(renamed):
        raise CheckpointError(f'the checkpoint holds NaN or infinity in {broken}: nothing is '
                              'written, use an earlier checkpoint')
    return ConvertedCheckpoint(renamed, entry.name, unused, origin, by_class)


def _constants(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Create buffers that other code bases do not save, because other tensors determine them."""
    constants = {}
    for key, value in state_dict.items():
        norm, _, name = key.rpartition('.')
        if name == 'running_mean' and f'{norm}.num_batches_tracked' not in state_dict:
            constants[f'{norm}.num_batches_tracked'] = torch.zeros(
                (), dtype=torch.long, device=value.device)
        index = f'{norm}.relative_position_index'
        if name == 'relative_position_bias_table' and index not in state_dict:
            constants[index] = _window_index(round(len(value)**0.5), value.device)
    return constants


def _window_index(length: int, device: torch.device) -> Tensor:
    """Compute the index of Swin's position table, ``length**2`` rows, for each pair of cells."""
    cell = torch.arange((length + 1) // 2, device=device)
    difference = cell[:, None] - cell + (length - 1) // 2
    pairs = difference[:, None, :, None] * length + difference[None, :, None, :]
    return pairs.flatten(2).flatten(0, 1)


def drop_zero_query_positions(conversion: ConvertedCheckpoint, model: nn.Module) -> None:
    """Remove a table of query positions that is zero and that the model lacks.

    Exports of models without query positions contain such a table.

    Args:
        conversion: converted checkpoint; changed in place.
        model: model to load it into.
    """
    value = conversion.state_dict.get(POSITIONS)
    if value is not None and POSITIONS not in model.state_dict() and not value.any():
        key = conversion.origin.get(POSITIONS, POSITIONS)
        conversion.unused[key] = 'zeros: the queries of the config have no position embedding'
        del conversion.state_dict[POSITIONS]


def check_fit(conversion: ConvertedCheckpoint, model: nn.Module) -> None:
    """Check that a converted checkpoint and a model contain the same tensors.

    Args:
        conversion: converted checkpoint.
        model: built from the config; may be on the meta device.

    Raises:
        CheckpointError: they differ; the text names tensors and shapes in one line.
    """
    ours, found = model.state_dict(), conversion.state_dict
    fit = compare_tensors(found, ours)
    problems = [
        _some([f'{_name(conversion, key)} is {theirs}, the model has {here}'
               for key, (theirs, here) in fit.reshaped.items()], 'of another shape'),
        _some([f'{key} {list(ours[key].shape)}' for key in fit.missing],
              'missing in the checkpoint'),
        _some([f'{_name(conversion, key)} {list(found[key].shape)}' for key in fit.unused],
              'not in the model')]
    if any(problems):
        raise CheckpointError('the checkpoint is not one of this config: '
                              + '; '.join(filter(None, problems)))


def _name(conversion: ConvertedCheckpoint, key: str) -> str:
    theirs = conversion.origin.get(key)
    return f'{key} (their {theirs})' if theirs not in (None, key) else key


def _some(entries: list[str], what: str) -> str:
    return f'{len(entries)} {what}: {shortened_list(entries, _NAMED)}' if entries else ''
