"""Mask-classification models for panoptic, instance and semantic segmentation.

``import mmpanseg`` imports neither torch nor mmengine. The subpackages are imported when an
attribute of this package, a config or an import statement refers to them. The registries are
created as soon as mmengine is imported, before or after this package, so that mmengine and mmdet
find every ``type='mmpanseg.X'`` in each order of imports; see :mod:`mmpanseg.compat`.
"""
import importlib
import sys
from types import ModuleType
from typing import Any

from mmpanseg import compat
from mmpanseg.version import __version__

_SUBPACKAGES = ('analysis', 'apis', 'checkpoints', 'datasets', 'engine', 'evaluation', 'explain',
                'hub', 'models', 'registry', 'results', 'structures', 'utils', 'video',
                'visualization')
# attributes of the package -> module that defines them
_LAZY = {
    'Result': 'mmpanseg.results',
    'Segment': 'mmpanseg.results',
    'load': 'mmpanseg.apis.predictor',
}
__all__ = ['__version__', *_SUBPACKAGES, *_LAZY]


def _create_registries(mmengine: ModuleType) -> None:
    importlib.import_module('mmpanseg.registry')


def _register_loaders(datasets: ModuleType) -> None:
    # The import system does so, but only after this function.
    sys.modules['mmdet'].datasets = datasets  # type: ignore[attr-defined]
    importlib.import_module('mmpanseg.datasets')


def _policy() -> ModuleType:
    return importlib.import_module('mmpanseg.checkpoints.engine_loading')


def _configs() -> Any:
    return importlib.import_module('mmpanseg.hub.config_files').find_configs()


compat.install({
    'mmengine': _create_registries, 'mmdet.datasets': _register_loaders,
    'mmengine.config.config': lambda module: compat.find_own_bases(module, _configs),
    'mmengine.runner.checkpoint': lambda module: compat.replace_loading(module, _policy),
    'mmengine.infer.infer': lambda module: compat.replace_stored_configs(module, _policy)})


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f'mmpanseg.{name}')
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f'module mmpanseg has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGES, *_LAZY})
