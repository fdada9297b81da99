"""Publication of checkpoints: weights and metadata without the state of the training."""
import datetime
import hashlib
from pathlib import Path
from typing import Any

from torch import Tensor

from mmpanseg.checkpoints.checkpoint_meta import SETTINGS
from mmpanseg.checkpoints.safetensors_files import SUFFIX, write_safetensors
from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.checkpoints.writing import write_checkpoint
from mmpanseg.utils.finite import describe_non_finite
from mmpanseg.version import __version__

_DESCRIPTION = ('source', 'epoch', 'iter', 'seed', 'experiment_name', 'dataset_meta', 'cfg',
                'mmpanseg_version', SETTINGS)
_PLAIN = (str, int, float, bool, type(None))


def published_content(checkpoint: dict[str, Any], averaged: bool | None = None) -> dict:
    """Extract weights and metadata from a checkpoint of training or conversion.

    Args:
        checkpoint: content of a checkpoint of mmengine.
        averaged: True selects the moving averages of the weights, False the weights of the last
            step. None selects the averages if they exist.

    Raises:
        CheckpointError: the checkpoint contains no weights, or no averages although they are
            requested, or numbers that are not finite.
    """
    weights = checkpoint.get('state_dict')
    if not isinstance(weights, dict):
        raise CheckpointError('it contains no state_dict: use a checkpoint from training or from '
                              'tools/model_converters/convert.py')
    other = checkpoint.get('ema_state_dict')
    if averaged and other is None:
        raise CheckpointError('it contains no averaged weights: it was trained without EMAHook')
    if averaged is False and other is not None:
        # mmengine's EMAHook saves the averages as state_dict, the last step as ema_state_dict
        weights = {key.removeprefix('module.'): value for key, value in other.items()
                   if key.startswith('module.')}
    if broken := describe_non_finite(weights):
        raise CheckpointError(f'it holds NaN or infinity in {broken}: nothing is published, use an '
                              'earlier checkpoint')
    meta = checkpoint.get('meta') or {}
    return dict(
        meta={'mmpanseg_version': __version__,
              **{key: meta[key] for key in _DESCRIPTION if key in meta and _is_plain(meta[key])},
              **({} if other is None else dict(averaged=averaged is not False))},
        state_dict={key: value.detach().clone() for key, value in weights.items()
                    if isinstance(value, Tensor)})


def write_published(content: dict, prefix: Path, date: datetime.date | None = None,
                    suffix: str = '.pth') -> Path:
    """Write a file named ``{prefix}_{date}-{first 8 digits of its SHA-256}{suffix}``.

    Args:
        content: result of :func:`published_content`.
        prefix: path without date and digest; missing folders are created.
        date: date in the name; today by default.
        suffix: ``'.pth'`` or ``'.safetensors'``.

    Returns:
        path of the file.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True)
    unnamed = prefix.with_name(f'{prefix.name}.tmp')
    if suffix == SUFFIX:
        write_safetensors(content['state_dict'], unnamed, content['meta'])
    else:
        write_checkpoint(content, unnamed)
    digest = sha256(unnamed)
    date = date or datetime.date.today()
    return unnamed.rename(prefix.with_name(f'{prefix.name}_{date:%Y%m%d}-{digest[:8]}{suffix}'))


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _is_plain(value: Any) -> bool:
    """Check that ``torch.load(weights_only=True)`` can load a value."""
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(x) for key, x in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return type(value) in _PLAIN
