"""Checks of loaded weights and class names of a segmentor.

mmdet's ``init_detector`` and ``DetInferencer`` set the whole config (``model.cfg``) on a model that
is built to predict, and the names of its classes (``model.dataset_meta``): those of the checkpoint,
or COCO's if the checkpoint has none. Training sets neither.
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
from mmpanseg.checkpoints.meta_comparison import STRICT, class_differences, report_differences
from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.datasets.metainfo import check_class_names, config_metainfo
from mmpanseg.utils.finite import describe_non_finite

# parts of torch's error texts for truncated files
_DAMAGED = re.compile('PytorchStreamReader|invalid hash')


def skip_pretrained(model: nn.Module, fit: CheckpointFit) -> list[str]:
    """Disable loading of pretrained weights in the parts that a checkpoint overwrites.

    Args:
        model: a model before its initialization.
        fit: comparison of the checkpoint with the model.

    Returns:
        names of the parts whose pretrained weights are not loaded.
    """
    absent = {*fit.reshaped, *fit.missing}
    filled = []
    for name, part in model.named_modules():
        if not pretrained_files(part):
            continue
        tensors = part.state_dict(prefix=f'{name}.' if name else '')
        if tensors and absent.isdisjoint(
                key for key in tensors if not key.endswith('num_batches_tracked')):
            part.init_weights = _keep_weights
            filled.append(name)
    return filled


def _keep_weights() -> None:
    """Replace ``init_weights`` of a part whose weights are loaded later."""


def pretrained_files(part: nn.Module) -> list[str]:
    """List the paths and URLs of the weights that ``init_cfg`` of a part loads."""
    configs = getattr(part, 'init_cfg', None) or []
    return [str(config['checkpoint'])
            for config in ([configs] if isinstance(configs, dict) else configs)
            if config.get('type') in ('Pretrained', PretrainedInit) and 'checkpoint' in config]


@contextmanager
def explained_pretrained_errors(model: nn.Module) -> Iterator[None]:
    """Add files and fixes to the error text where pretrained weights cannot be read.

    Args:
        model: the model that is initialized in the context.

    Raises:
        CheckpointError: in place of the error of the system or of torch.
    """
    try:
        yield
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, CheckpointError) as error:
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
        if isinstance(error, CheckpointError):
            why = str(error)
        else:
            why = f'{type(error).__name__}: {reason[0][:200] if reason else "no content"}'
        raise CheckpointError(
            f'pretrained weights cannot be read: {named} ({why}); without a network, download the '
            f'file elsewhere and set {first}.init_cfg.checkpoint to its path, set load_from to a '
            f'checkpoint of the whole model, or train without: {first}.init_cfg=None') from error


class CheckedLoadingMixin(nn.Module):
    """Mixin of segmentors that checks weights and class names strictly in a model built to predict.

    mmengine's loader skips weights that do not fit, with a warning. Here they are an error as soon
    as ``cfg`` is set, which mmdet does in models built to predict. Other class names than those of
    the config's data set, or another number of things, are a warning then, and an error with
    ``cfg.strict_meta``.

    Raises:
        CheckpointError: the loaded weights do not fit the model; the text names tensors and
            shapes. Or, however they are loaded, they contain NaN or infinity. Or class names
            differ, with ``cfg.strict_meta``.
        ValueError: the number of class names differs from the number of classes, or checkpoint and
            config name the same classes in another order.
    """

    num_classes: int
    num_things_classes: int
    # False lets a step that made such weights run again
    refuses_non_finite = True
    # text on weights that were loaded and do not fit
    _misfit = ''
    _checked_by_torch = False
    _cfg: Config | None = None
    _dataset_meta: dict | None = None

    @property
    def cfg(self) -> Config:
        """The whole config; set only if the model was built to predict."""
        return _known(self._cfg, 'cfg')

    @cfg.setter
    def cfg(self, cfg: Config) -> None:
        self._raise_misfit(self._misfit)
        self._cfg = cfg
        self._set_class_names()
        if self._dataset_meta is not None:
            report_differences(
                class_differences(dict(dataset_meta=self._dataset_meta),
                                  config_metainfo(cfg).get('classes'), self.num_things_classes),
                bool(cfg.get(STRICT)))

    @property
    def dataset_meta(self) -> dict:
        """Meta information of the data set: ``classes``, the names by label, and others."""
        return _known(self._dataset_meta, 'dataset_meta')

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        self._dataset_meta = meta
        self._set_class_names()

    def _set_class_names(self) -> None:
        """Set the names of the checkpoint, else of the config's data set, else numbers."""
        if self._cfg is None or self._dataset_meta is None:
            return
        meta, configured = dict(self._dataset_meta), config_metainfo(self._cfg)
        # mmdet sets COCO's names for checkpoints without names
        if not meta.get('classes') or list(meta['classes']) == list(get_classes('coco')):
            meta.update(configured)
            if not configured and len(meta.get('classes') or ()) != self.num_classes:
                meta['classes'] = tuple(f'class {i}' for i in range(self.num_classes))
        check_class_names(self.num_classes, meta.get('classes'), configured.get('classes'))
        self._dataset_meta = meta

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        # mmengine's loader calls only this method, and not load_state_dict
        found = {name.removeprefix(prefix): value for name, value in state_dict.items()}
        own = self.state_dict()
        self._misfit = compare_tensors(found, own).misfit()
        if self._cfg is not None and not self._checked_by_torch:
            self._raise_misfit(self._misfit)
        broken = describe_non_finite({name: value for name, value in found.items() if name in own})
        if broken and self.refuses_non_finite:
            raise CheckpointError(f'the checkpoint holds NaN or infinity in {broken}: use an '
                                  'earlier checkpoint of the training')
        super()._load_from_state_dict(state_dict, prefix, *args)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load with torch's own check: misfits are its error, or accepted by ``strict=False``."""
        self._checked_by_torch = True
        try:
            return super().load_state_dict(*args, **kwargs)
        finally:
            self._checked_by_torch, self._misfit = False, ''

    def _raise_misfit(self, misfit: str) -> None:
        if misfit:
            raise CheckpointError(misfit)


def _known(value: Any, name: str) -> Any:
    if value is None:
        raise AttributeError(f'{name} is not set')
    return value
