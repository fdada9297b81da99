"""Weights and class names of a segmentor, checked where they come in.

mmdet's ``init_detector`` and ``DetInferencer`` hand the whole config to a model that is to predict
(``model.cfg``), and the names of its classes (``model.dataset_meta``): those of the checkpoint, or
COCO's where it has none. Training hands over neither.
"""
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmdet.evaluation import get_classes
from mmengine.config import Config
from mmengine.model import PretrainedInit
from torch import nn

from mmpanseg.checkpoints.checkpoint_fit import CheckpointFit, compare_tensors
from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.datasets.metainfo import check_class_names, config_metainfo

# what torch says of files that are not whole
_DAMAGED = re.compile('PytorchStreamReader|invalid hash')


def skip_pretrained(model: nn.Module, fit: CheckpointFit) -> list[str]:
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


class Deployment(nn.Module):
    """Checks of weights and class names once a model has its config; mixed into segmentors.

    Raises:
        CheckpointError: weights that were loaded are not those of this model; the text names
            tensors and shapes.
        ValueError: there are more or fewer class names than classes, or the checkpoint and the
            config's data set have the same names in another order.
    """

    num_classes: int
    _misfit = ''
    _by_torch = False
    _cfg: Config | None = None
    _dataset_meta: dict | None = None

    @property
    def cfg(self) -> Config:
        """The whole config, where the model was built to predict."""
        return _known(self._cfg, 'cfg')

    @cfg.setter
    def cfg(self, cfg: Config) -> None:
        self._refuse(self._misfit)
        self._cfg = cfg
        self._settle_names()

    @property
    def dataset_meta(self) -> dict:
        """``classes`` by label, and what else describes the data set."""
        return _known(self._dataset_meta, 'dataset_meta')

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        self._dataset_meta = meta
        self._settle_names()

    def _settle_names(self) -> None:
        """Names of the checkpoint, else of the config's data set, else numbers."""
        if self._cfg is None or self._dataset_meta is None:
            return
        meta, configured = dict(self._dataset_meta), config_metainfo(self._cfg)
        # mmdet gives COCO's names to checkpoints without any
        if not meta.get('classes') or list(meta['classes']) == list(get_classes('coco')):
            meta.update(configured)
            if not configured and len(meta.get('classes') or ()) != self.num_classes:
                meta['classes'] = tuple(f'class {i}' for i in range(self.num_classes))
        check_class_names(self.num_classes, meta.get('classes'), configured.get('classes'))
        self._dataset_meta = meta

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        # mmengine's loader, which takes what fits and only warns, calls this and nothing above it
        found = {name.removeprefix(prefix): value for name, value in state_dict.items()}
        self._misfit = compare_tensors(found, self.state_dict()).misfit()
        if self._cfg is not None and not self._by_torch:
            self._refuse(self._misfit)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """torch's: a misfit is its error, or with ``strict=False`` the caller's wish."""
        self._by_torch = True
        try:
            return super().load_state_dict(*args, **kwargs)
        finally:
            self._by_torch, self._misfit = False, ''

    def _refuse(self, misfit: str) -> None:
        if misfit:
            raise CheckpointError(misfit)


def _known(value: Any, name: str) -> Any:
    if value is None:
        raise AttributeError(f'{name} has not been set')
    return value
