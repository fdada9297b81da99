"""Checkpoints to give away: weights and what describes them, nothing of the training's state."""
import datetime
import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.version import __version__

_DESCRIPTION = ('source', 'epoch', 'iter', 'seed', 'experiment_name', 'dataset_meta', 'cfg',
                'mmpanseg_version')
_PLAIN = (str, int, float, bool, type(None))


def published_content(checkpoint: dict[str, Any], averaged: bool | None = None) -> dict:
    """Weights and metadata of a checkpoint from training or conversion.

    Args:
        checkpoint: as mmengine writes it.
        averaged: of a training with moving averages of the weights, take these (also the
            default), or the weights of the last step.

    Raises:
        CheckpointError: there are no weights, or no averages although asked for.
    """
    weights = checkpoint.get('state_dict')
    if not isinstance(weights, dict):
        raise CheckpointError('there is no state_dict in it: a checkpoint from training or from '
                              'tools/model_converters/convert.py is needed')
    other = checkpoint.get('ema_state_dict')
    if averaged and other is None:
        raise CheckpointError('there are no averaged weights in it: trained without EMAHook')
    if averaged is False and other is not None:
        # mmengine's EMAHook saves the averages as state_dict and swaps the others out
        weights = {key.removeprefix('module.'): value for key, value in other.items()
                   if key.startswith('module.')}
    meta = checkpoint.get('meta') or {}
    return dict(
        meta={'mmpanseg_version': __version__,
              **{key: meta[key] for key in _DESCRIPTION if key in meta and _is_plain(meta[key])},
              **({} if other is None else dict(averaged=averaged is not False))},
        state_dict={key: value.detach().clone() for key, value in weights.items()
                    if isinstance(value, Tensor)})


def write_published(content: dict, prefix: Path, date: datetime.date | None = None) -> Path:
    """Write a file named ``{prefix}_{date}-{first 8 digits of its sha256}.pth``."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    unnamed = prefix.with_name(f'{prefix.name}.tmp')
    torch.save(content, unnamed)
    digest = sha256(unnamed)
    date = date or datetime.date.today()
    return unnamed.rename(prefix.with_name(f'{prefix.name}_{date:%Y%m%d}-{digest[:8]}.pth'))


def sha256(path: Path) -> str:
    """Digest of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _is_plain(value: Any) -> bool:
    """Whether it loads anywhere, with weights only."""
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(x) for key, x in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return type(value) in _PLAIN
