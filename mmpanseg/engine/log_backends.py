"""The config's ``log_to``: TensorBoard and Weights & Biases, beside the files of a work dir."""
import importlib.util
import os
from typing import Any

from mmengine.config import Config

from mmpanseg.engine.command_line import UsageError

# mmengine's backend -> the package that it needs
_PACKAGES = {'TensorboardVisBackend': 'tensorboard', 'WandbVisBackend': 'wandb'}


def use_log_backends(cfg: Config) -> None:
    """Add the backends that ``log_to`` names to the visualizer, which keeps its own.

    Args:
        cfg: of a run, changed in place. ``log_to`` is ``'tensorboard'``, ``'wandb'`` or a list of
            them. Weights & Biases writes to the work dir only, unless the environment variable
            ``WANDB_MODE`` is ``online``; its horizontal axis is the step of the training.

    Raises:
        UsageError: ``log_to`` has another name, or a package is not installed.
    """
    names = cfg.get('log_to') or []
    names = [names] if isinstance(names, str) else list(names)
    known = _backends(cfg)
    for name in names:
        if name not in known:
            raise UsageError(f'log_to={name!r}: write {" or ".join(map(repr, known))}, or a list '
                             'of them')
    visualizer = cfg.get('visualizer')
    if visualizer is None and names:
        cfg.visualizer = visualizer = dict(
            type='mmpanseg.PanopticVisualizer', vis_backends=[dict(type='LocalVisBackend')])
    if not isinstance(visualizer, dict):
        return
    listed = list(visualizer.get('vis_backends') or [])
    kinds = [_kind(backend) for backend in listed]
    listed += [known[name] for name in names if known[name]['type'] not in kinds]
    if names:
        cfg.visualizer.vis_backends = listed
    for kind in map(_kind, listed):
        package = _PACKAGES.get(kind)
        if package is not None and importlib.util.find_spec(package) is None:
            raise UsageError(f'{kind} needs a package that is not installed: '
                             f'pip install {package}')


def _kind(backend: Any) -> str:
    kind = backend.get('type') if isinstance(backend, dict) else type(backend)
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]


def _backends(cfg: Config) -> dict[str, dict]:
    work_dir = str(cfg.get('work_dir') or 'run').rstrip('/\\')
    return {
        'tensorboard': dict(type='TensorboardVisBackend'),
        'wandb': dict(
            type='WandbVisBackend',
            init_kwargs=dict(mode=os.environ.get('WANDB_MODE', 'offline'), project='mmpanseg',
                             name=os.path.basename(work_dir)),
            # its own steps count calls
            define_metric_cfg=[dict(name='*', step_metric='iter')])}
