"""The policy for files of weights: they are data, unless the user trusts a file.

Every way into the library reads files of weights with :func:`read_trusted_or_safe`: the tools and
:func:`mmpanseg.checkpoints.read_weights` directly, everything that loads through mmengine (runners,
hooks, inferencers, mmdet's functions, pretrained backbones) through
:mod:`mmpanseg.checkpoints.engine_loading`.
"""
import logging
import os
import pickle
from typing import Any, BinaryIO

import torch
from mmengine.logging import print_log

from mmpanseg.checkpoints.safetensors_files import read_safetensors
from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.checkpoints.torch_files import MapLocation, read_pickle, read_torch_file
from mmpanseg.checkpoints.unpickling import Inert

# `--trust-checkpoint` of the tools sets it too, so that processes which they start know it.
TRUST_VARIABLE = 'MMPANSEG_TRUST_CHECKPOINT'
WAY_OUT = f'if you trust the file, add --trust-checkpoint or set {TRUST_VARIABLE}=1'
# Entries that a training continues with, and weights.
_NEEDED = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', 'message_hub',
           'random_states')
_DEEPEST = 100


def is_trusted() -> bool:
    """Check whether the user trusts the files of this process."""
    return os.environ.get(TRUST_VARIABLE, '') not in ('', '0')


def read_trusted_or_safe(file: BinaryIO, name: str, kind: str,
                         map_location: MapLocation = 'cpu') -> Any:
    """Read a file as data; what cannot be read so, only if the user trusts it.

    Args:
        file: open file with a position.
        name: its path or URL, for texts.
        kind: ``'torch'``, ``'pickle'`` or ``'safetensors'``.
        map_location: see ``torch.load``.

    Raises:
        CheckpointError: the file asks for something else than values; without the name of the file.
    """
    try:
        if kind == 'safetensors':
            return read_safetensors(file)
        content = read_pickle(file) if kind == 'pickle' else read_torch_file(file, map_location)
        check_values(content)
        return content
    except CheckpointError as error:
        if kind == 'safetensors':
            raise
        if not is_trusted():
            raise CheckpointError(f'{error}: not loaded; {WAY_OUT}') from error
        print_log(f'{name}: {error}. It is read all the same, and code in it runs, as '
                  f'--trust-checkpoint or {TRUST_VARIABLE} demands', 'current', logging.WARNING)
    file.seek(0)
    if kind == 'pickle':
        return pickle.load(file, encoding='latin1')
    return torch.load(file, map_location=map_location, weights_only=False)


def check_values(content: Any) -> None:
    """Check that what a training continues with was read, and that no entry is nested too deeply.

    Args:
        content: content of a checkpoint.

    Raises:
        CheckpointError: an object there is none that the reader builds; the text names its class.
    """
    entries = content.items() if isinstance(content, dict) else [('', content)]
    for key, entry in entries:
        seen: set[int] = set()
        level = [entry]
        for _ in range(_DEEPEST):
            following: list = []
            for value in level:
                if isinstance(value, Inert) and key in _NEEDED:
                    raise CheckpointError(f'its entry {key} contains an object of the type '
                                          f'{value.name}, which is not read')
                if isinstance(value, (dict, list, tuple, set, frozenset)) and id(value) not in seen:
                    seen.add(id(value))
                    following.extend(value.values() if isinstance(value, dict) else value)
            level = following
            if not level:
                break
        else:
            raise CheckpointError(
                f'its entry {str(key)[:40]!r} is nested more than {_DEEPEST} times')
