"""Registries with the scope ``mmpanseg``, children of the root registries of mmengine.

Configs name classes of this library with the scope, e.g. ``type='mmpanseg.Mask2FormerHead'``.
"""
from mmengine import registry as root
from mmengine.registry import Registry

from mmpanseg.utils.build_checks import with_config_checks


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope='mmpanseg', locations=list(locations))


MODELS = _child('model', root.MODELS, 'mmpanseg.models')
TASK_UTILS = _child('task util', root.TASK_UTILS, 'mmpanseg.models')
DATASETS = _child('dataset', root.DATASETS, 'mmpanseg.datasets')
TRANSFORMS = _child('transform', root.TRANSFORMS, 'mmpanseg.datasets')
METRICS = _child('metric', root.METRICS, 'mmpanseg.evaluation')
VISUALIZERS = _child('visualizer', root.VISUALIZERS, 'mmpanseg.visualization')
RUNNERS = _child('runner', root.RUNNERS, 'mmpanseg.engine')
HOOKS = _child('hook', root.HOOKS, 'mmpanseg.engine')
OPTIM_WRAPPERS = _child('optimizer wrapper', root.OPTIM_WRAPPERS, 'mmpanseg.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', root.OPTIM_WRAPPER_CONSTRUCTORS, 'mmpanseg.engine')

for _registry in (MODELS, TASK_UTILS):
    _registry.build_func = with_config_checks(_registry.build_func)
