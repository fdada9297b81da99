"""Code bases whose checkpoints can be converted, in the order of detection."""
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
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


# endings of pickled arrays, which no training writes
FOREIGN_SUFFIXES = ('.pkl', '.pickle')


def foreign_format(keys: Iterable[str], file: str = 'FILE', config: str = 'CONFIG') -> str:
    """Text for a checkpoint whose parameters have the names of another code base.

    Args:
        keys: names of its parameters.
        file: path of the checkpoint, for the command in the text.
        config: path of the config, for the command in the text.

    Returns:
        '' where the names are those of this library, or of no source that is known.
    """
    keys = list(keys)
    try:
        source = find_source(keys)
    except CheckpointError:
        return ''
    # mmdetection 3.x and this library share their names, mmdetection 2.x has other ones
    if source.things_first and not any('.attentions.' in key for key in keys):
        return ''
    return f'the checkpoint has the format of {source.title}: {convert_hint(file, config)}'


def foreign_file(path: str, config: str = 'CONFIG') -> str:
    """Text for a file in a format that only the converter reads, by its ending; '' for others.

    Args:
        path: path or URL of the checkpoint.
        config: path of the config, for the command in the text.
    """
    suffix = PurePosixPath(path.partition('?')[0]).suffix.lower()
    # torch's own files are read whatever their suffix is
    if suffix not in FOREIGN_SUFFIXES or zipfile.is_zipfile(path):
        return ''
    return (f'checkpoint {path} is a {suffix} file of another code base: '
            f'{convert_hint(path, config)}')


def convert_hint(path: str, config: str) -> str:
    """What a user does with a published checkpoint: download and convert it.

    Args:
        path: path or URL of the checkpoint.
        config: path of the config.
    """
    name = PurePosixPath(path.partition('?')[0])
    first = f'download it (wget {path}) and ' if '://' in path else ''
    file = name.name if '://' in path else path
    return (f'{first}convert it with python tools/model_converters/convert.py {file} '
            f'{name.stem}_converted.pth --config {config}')
