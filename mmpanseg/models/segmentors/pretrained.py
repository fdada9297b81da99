"""Pretrained weights of a model's parts: fetched when they are needed, and only then."""
import pickle
import re
from contextlib import contextmanager
from typing import Iterator

from mmengine.model import PretrainedInit
from torch import nn

from mmpanseg.checkpoints.fit import Fit
from mmpanseg.checkpoints.sources import CheckpointError

# what torch says of files that are not whole
_DAMAGED = re.compile('PytorchStreamReader|invalid hash')


def skip_pretrained(model: nn.Module, fit: Fit) -> list[str]:
    """Let parts that a checkpoint is going to fill keep what they are built with.

    Args:
        model: not initialized yet.
        fit: how the checkpoint fits the model.

    Returns:
        names of the parts with pretrained weights that are not fetched.
    """
    absent = {*fit.reshaped, *fit.missing}
    filled = []
    for name, part in model.named_modules():
        if not pretrained_files(part):
            continue
        tensors = part.state_dict(prefix=f'{name}.' if name else '')
        if tensors and absent.isdisjoint(
                key for key in tensors if not key.endswith('num_batches_tracked')):
            part.init_weights = _keep
            filled.append(name)
    return filled


def _keep() -> None:
    """In the place of ``init_weights``."""


def pretrained_files(part: nn.Module) -> list[str]:
    """Paths or URLs that a part's ``init_cfg`` takes weights from."""
    configs = getattr(part, 'init_cfg', None) or []
    return [str(config['checkpoint'])
            for config in ([configs] if isinstance(configs, dict) else configs)
            if config.get('type') in ('Pretrained', PretrainedInit) and 'checkpoint' in config]


@contextmanager
def naming_pretrained(model: nn.Module) -> Iterator[None]:
    """Name files and way out where pretrained weights cannot be fetched.

    Raises:
        CheckpointError: instead of the system's error.
    """
    try:
        yield
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        if type(error) is RuntimeError and not _DAMAGED.search(str(error)):
            raise
        parts = {f'model.{name}' if name else 'model': files
                 for name, part in model.named_modules() if (files := pretrained_files(part))}
        if not parts:
            raise
        named = '; '.join(f'{name}.init_cfg.checkpoint={", ".join(files)}'
                          for name, files in parts.items())
        reason = str(error).strip().splitlines()
        first = next(iter(parts))
        raise CheckpointError(
            f'pretrained weights cannot be read: {named} ({type(error).__name__}: '
            f'{reason[0][:200] if reason else "no content"}); without a network, download the file '
            f'elsewhere and set {first}.init_cfg.checkpoint to its path, give a checkpoint of the '
            f'whole model as load_from, or start without: {first}.init_cfg=None') from error
