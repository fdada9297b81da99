"""Registries with the scope ``mmpanseg``, children of the root registries of mmengine.

Configs name classes of this library with the scope, e.g. ``type='mmpanseg.Mask2FormerHead'``.
The locations of a registry are imported by its first lookup.
"""
from mmpanseg import compat

compat.check_versions()  # before an import of theirs fails with a text that names no fix

from mmengine import registry as root  # noqa: E402
from mmengine.registry import Registry  # noqa: E402

from mmpanseg.utils.build_checks import with_config_checks  # noqa: E402


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope='mmpanseg', locations=list(locations))


MODELS = _child('model', root.MODELS, 'mmpanseg.models')
TASK_UTILS = _child('task util', root.TASK_UTILS, 'mmpanseg.models')
DATASETS = _child('dataset', root.DATASETS, 'mmpanseg.datasets')
TRANSFORMS = _child('transform', root.TRANSFORMS, 'mmpanseg.datasets')
METRICS = _child('metric', root.METRICS, 'mmpanseg.evaluation')
VISUALIZERS = _child('visualizer', root.VISUALIZERS, 'mmpanseg.visualization')
RUNNERS = _child('runner', root.RUNNERS, 'mmpanseg.engine.runner')
HOOKS = _child('hook', root.HOOKS, 'mmpanseg.engine.hooks')
OPTIM_WRAPPERS = _child('optimizer wrapper', root.OPTIM_WRAPPERS, 'mmpanseg.engine.optimizers')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', root.OPTIM_WRAPPER_CONSTRUCTORS,
    'mmpanseg.engine.optimizers')

for _registry in (MODELS, TASK_UTILS):
    _registry.build_func = with_config_checks(_registry.build_func)
