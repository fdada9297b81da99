"""Code bases whose checkpoints can be converted, in the order of detection."""
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class CheckpointError(ValueError):
    """A checkpoint cannot be read, recognized or converted; the text names file or key."""


class Converter(Protocol):
    """Function that renames the tensors of a source."""

    def __call__(self, state_dict: dict[str, Tensor],
                 unused: dict[str, str]) -> dict[str, Tensor]:
        """Rename tensors; ``unused`` receives key -> reason for those that are not converted."""
        ...


@dataclass(frozen=True)
class CheckpointSource:
    """A code base and the map of its parameter names.

    Attributes:
        name: value of ``--source``.
        title: name in messages.
        convert: key map.
        signature: patterns; a state dict belongs to this source if each one matches a whole key.
        class_tensors: pattern of names in this library of tensors with one row per class in the
            order of labels. Rows after the last class, such as "no object", stay in place.
        things_first: True if labels of things are first, as in this library; False if labels are in
            the order of the dataset.
    """
    name: str
    title: str
    convert: Converter
    signature: tuple[str, ...]
    class_tensors: str
    things_first: bool = False


SOURCES: dict[str, CheckpointSource] = {}


def register_source(source: CheckpointSource) -> CheckpointSource:
    """Add a source to :data:`SOURCES`.

    Args:
        source: source to add. Detection returns the first registered source that matches.
    """
    SOURCES[source.name] = source
    return source


def get_source(name: str) -> CheckpointSource:
    """Look up a source by name.

    Args:
        name: key of :data:`SOURCES`.

    Raises:
        CheckpointError: the name is unknown.
    """
    if name not in SOURCES:
        raise CheckpointError(f'source {name!r} is not known; known are {", ".join(SOURCES)}')
    return SOURCES[name]


def find_source(keys: Iterable[str]) -> CheckpointSource:
    """Detect the source of a checkpoint from the names of its parameters.

    Args:
        keys: names of the parameters.

    Raises:
        CheckpointError: no source matches.
    """
    keys = list(keys)
    for source in SOURCES.values():
        if all(any(re.fullmatch(pattern, key) for key in keys) for pattern in source.signature):
            return source
    raise CheckpointError(
        f'not a checkpoint of a known model: {len(keys)} tensors, '
        + (f'the first is {keys[0]}; ' if keys else '')
        + 'known are ' + '; '.join(f'{s.name} ({s.title})' for s in SOURCES.values()))
