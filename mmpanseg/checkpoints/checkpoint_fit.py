"""Comparison of the tensors of a checkpoint with those of a model."""
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from mmpanseg.checkpoints.sources import foreign_format

# Parameters of each kind that an error text names.
_NAMED = 6
# Computed from the other tensors or from the config, therefore optional in a file.
_DERIVED = re.compile(r'(.+\.)?(num_batches_tracked|relative_position_index)')
# Used by training or by profilers only, without effect on predictions.
_WITHOUT_EFFECT = re.compile(
    r'(.+\.)?(loss_\w+|criterion)\..+|(.+\.)?(total_ops|total_params)|'
    r'panoptic_head\.label_embed\.weight')
# checkpoints of earlier versions spell a module of SpatiallyModulatedAttention so; it maps the name
_OLD_CENTER = re.compile(r'(?<=\.cross_attn\.)centre(?=\.)')


@dataclass(frozen=True)
class CheckpointFit:
    """Result of the comparison of a checkpoint with a model.

    Attributes:
        wanted: number of tensors of the model.
        fitting: names of tensors that exist in both with the same shape.
        reshaped: name -> shape in the checkpoint and shape in the model, where they differ.
        missing: names of tensors that exist in the model only.
        unused: names of tensors that exist in the checkpoint only.
        parts: top-level modules of the model, the first components of the names of its tensors.
        examples: names in the checkpoint and names in the model.
    """
    wanted: int
    fitting: tuple[str, ...]
    reshaped: dict[str, tuple[list[int], list[int]]]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    parts: frozenset[str]
    examples: tuple[tuple[str, ...], tuple[str, ...]]

    def misfit(self) -> str:
        """Write the error text for a checkpoint of another model, in one line.

        Every tensor of the model must exist in its shape, except for constants. Tensors outside of
        the model's top-level modules (averages, counters) and tensors without effect on predictions
        are ignored.

        Returns:
            '' if the checkpoint matches the model.
        """
        missing = [name for name in self.missing if not _DERIVED.fullmatch(name)]
        unused = [name for name in self.unused if name.partition('.')[0] in self.parts
                  and not _DERIVED.fullmatch(name) and not _WITHOUT_EFFECT.fullmatch(name)]
        if not self.reshaped and not missing and not unused:
            return ''
        if not self.fitting or self.foreign():
            return self.nothing()
        problems = []
        if self.reshaped:
            problems.append(f'{shortened_list(self.differences())} ({len(self.reshaped)} of the '
                            f'model\'s {self.wanted} tensors have another shape)')
        if missing:
            problems.append(f'{len(missing)} of the model\'s {self.wanted} tensors are missing in '
                            f'it: {shortened_list(missing)}')
        if unused:
            problems.append(f'{len(unused)} of its tensors are not in the model: '
                            f'{shortened_list(unused)}')
        return ('the checkpoint is one of another model: ' + '; '.join(problems)
                + '; use the config that it was trained with')

    def differences(self) -> list[str]:
        """List the tensors of different shape, with both shapes."""
        return [f'{name} {theirs}, here {ours}'
                for name, (theirs, ours) in self.reshaped.items()]

    def foreign(self, file: str = 'FILE', config: str = 'CONFIG') -> str:
        """Text for a checkpoint of another code base, with the command that converts it.

        Args:
            file: path of the checkpoint, for the command.
            config: path of the config, for the command.

        Returns:
            '' for checkpoints of this library and of code bases that are not known.
        """
        return foreign_format(self.examples[0], file, config)

    def nothing(self, file: str = 'FILE', config: str = 'CONFIG') -> str:
        """Text for a checkpoint of another code base, or without any tensor of the model."""
        found, wanted = self.examples
        return self.foreign(file, config) or (
            f'no tensor of the checkpoint ({", ".join(found[:2]) or "empty"}, ...) fits the model '
            f'({", ".join(wanted[:2])}, ...)')


def compare_tensors(found: Mapping, model: Mapping[str, Tensor]) -> CheckpointFit:
    """Compare a checkpoint with the state dict of a model.

    Args:
        found: name -> tensor of the checkpoint; other entries are ignored. The prefix ``module.``
            of wrapped models is removed.
        model: name -> tensor of the model.
    """
    tensors = {_OLD_CENTER.sub('center', re.sub(r'^module\.', '', name)): value
               for name, value in found.items()
               if isinstance(value, Tensor)}
    here = {name: value for name, value in tensors.items() if name in model}
    reshaped = {name: (list(value.shape), list(model[name].shape))
                for name, value in here.items() if value.shape != model[name].shape}
    # detectron2 stores the tensors under the key 'model'
    examples = tuple(tensors) or tuple(map(str, found.get('model') or ()))
    return CheckpointFit(
        wanted=len(model), fitting=tuple(name for name in here if name not in reshaped),
        reshaped=reshaped, missing=tuple(name for name in model if name not in tensors),
        unused=tuple(name for name in tensors if name not in model),
        parts=frozenset(name.partition('.')[0] for name in model),
        examples=(examples, tuple(model)))


def shortened_list(entries: Iterable[str], limit: int = _NAMED) -> str:
    """Join the first entries and the number of further ones.

    Args:
        entries: texts.
        limit: largest number of entries in the result.
    """
    entries = list(entries)
    more = f' and {len(entries) - limit} more' if len(entries) > limit else ''
    return '; '.join(entries[:limit]) + more
