"""Tensors of a checkpoint against those of a model: what fits, and when a misfit is an error."""
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from mmpanseg.checkpoints.sources import foreign_format

_NAMED = 6  # parameters that a text names, of each kind
# follow from the rest of a model, so that files need not have them
_DERIVED = re.compile(r'(.+\.)?(num_batches_tracked|relative_position_index)')
# of use in training or to a tool that counts; what a model predicts does not depend on them
_WITHOUT_EFFECT = re.compile(
    r'(.+\.)?(loss_\w+|criterion)\..+|(.+\.)?(total_ops|total_params)|'
    r'panoptic_head\.label_embed\.weight')


@dataclass(frozen=True)
class Fit:
    """How a checkpoint fits a model.

    Args:
        wanted: number of the model's tensors.
        fitting: names of those that the checkpoint has, in their shape.
        reshaped: names of those that it has in another shape; the shape there, the model's.
        missing: the model's that the checkpoint does not have.
        unused: the checkpoint's that the model does not have.
        parts: the model's own parts, first components of its tensors' names.
        examples: what the checkpoint has and what the model has, the first names of each.
    """
    wanted: int
    fitting: tuple[str, ...]
    reshaped: dict[str, tuple[list[int], list[int]]]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    parts: frozenset[str]
    examples: tuple[tuple[str, ...], tuple[str, ...]]

    def misfit(self) -> str:
        """Why the checkpoint is not one of this model, in one line; '' if it is.

        Each of the model's tensors must be there in its shape, except for constants that follow
        from others. What the checkpoint has beside the model's parts (averages, counters) and what
        has no effect on predictions does not matter.
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
            problems.append(f'{listed(self.differences())} ({len(self.reshaped)} of the model\'s '
                            f'{self.wanted} tensors have another shape)')
        if missing:
            problems.append(f'{len(missing)} of the model\'s {self.wanted} tensors are missing in '
                            f'it: {listed(missing)}')
        if unused:
            problems.append(f'{len(unused)} of its tensors are not in the model: {listed(unused)}')
        return ('the checkpoint is one of another model: ' + '; '.join(problems)
                + '; use the config that it was trained with')

    def differences(self) -> list[str]:
        """Tensors of another shape, with both shapes."""
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


def compare(found: Mapping, model: Mapping[str, Tensor]) -> Fit:
    """Compare a checkpoint with a model's state dict.

    Args:
        found: tensors by name; other entries count for nothing. A leading ``module.`` of the
            names, of wrapped models, does not matter.
        model: the model's tensors.
    """
    tensors = {re.sub(r'^module\.', '', name): value for name, value in found.items()
               if isinstance(value, Tensor)}
    here = {name: value for name, value in tensors.items() if name in model}
    reshaped = {name: (list(value.shape), list(model[name].shape))
                for name, value in here.items() if value.shape != model[name].shape}
    # detectron2 has its tensors under 'model'
    examples = tuple(tensors) or tuple(map(str, found.get('model') or ()))
    return Fit(
        wanted=len(model), fitting=tuple(name for name in here if name not in reshaped),
        reshaped=reshaped, missing=tuple(name for name in model if name not in tensors),
        unused=tuple(name for name in tensors if name not in model),
        parts=frozenset(name.partition('.')[0] for name in model),
        examples=(examples, tuple(model)))


def listed(entries: Iterable[str], limit: int = _NAMED) -> str:
    """The first entries, and how many more there are."""
    entries = list(entries)
    more = f' and {len(entries) - limit} more' if len(entries) > limit else ''
    return '; '.join(entries[:limit]) + more
