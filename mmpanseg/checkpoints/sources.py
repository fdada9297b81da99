"""The code bases whose checkpoints convert to ours: one entry each, in the order of detection."""
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, recognized or converted; the text names file or key."""


class Converter(Protocol):
    """Key map of a source: its names to ours; keys without a place here go to ``unused``."""

    def __call__(self, state_dict: dict[str, Tensor],
                 unused: dict[str, str]) -> dict[str, Tensor]:
        """State dict under our names."""


@dataclass(frozen=True)
class CheckpointSource:
    """A code base and the map of its parameter names.

    Args:
        name: what ``--source`` takes.
        title: what people call it.
        convert: the key map.
        signature: patterns; a state dict is of this source if each matches one of its whole keys.
        class_tensors: pattern of *our* names of tensors with one row per class, in the order of
            labels (rows after the last class, such as the one of no object, stay where they are).
        things_first: labels are counted as here; otherwise in the order of the dataset.
    """
    name: str
    title: str
    convert: Converter
    signature: tuple[str, ...]
    class_tensors: str
    things_first: bool = False


SOURCES: dict[str, CheckpointSource] = {}


def register_source(source: CheckpointSource) -> CheckpointSource:
    """Add a source; the first registered one whose signature fits is the one found from keys."""
    SOURCES[source.name] = source
    return source


def get_source(name: str) -> CheckpointSource:
    """The source of that name.

    Raises:
        CheckpointError: there is none.
    """
    if name not in SOURCES:
        raise CheckpointError(f'source {name!r} is not known; known are {", ".join(SOURCES)}')
    return SOURCES[name]


def find_source(keys: Iterable[str]) -> CheckpointSource:
    """The source that parameters of these names come from.

    Raises:
        CheckpointError: from none that is known.
    """
    keys = list(keys)
    for source in SOURCES.values():
        if all(any(re.fullmatch(pattern, key) for key in keys) for pattern in source.signature):
            return source
    raise CheckpointError(
        f'not a checkpoint of a known model: {len(keys)} tensors, '
        + (f'the first is {keys[0]}; ' if keys else '')
        + 'known are ' + '; '.join(f'{s.name} ({s.title})' for s in SOURCES.values()))
