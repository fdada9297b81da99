"""Summary of a run on one screen before the first step."""
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmpanseg.engine.hooks.data_consistency_hooks import dataset_leaves
from mmpanseg.registry import HOOKS
from mmpanseg.utils.modules import unwrap_model


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Logs config, model, data, schedule, precision and device before training and testing."""

    priority = 'VERY_LOW'  # after checks that may raise

    def before_train(self, runner: Runner) -> None:
        runner.logger.info(_table('Training', training_summary(runner)))

    def before_test(self, runner: Runner) -> None:
        runner.logger.info(_table('Testing', test_summary(runner)))


def training_summary(runner: Runner) -> dict[str, str]:
    """Collect the facts of a training.

    Args:
        runner: with loops, optimizer and schedulers built.

    Returns:
        Topic -> text.
    """
    facts = dict(**_origin(runner), model=_model(runner.model), weights=_weights(runner))
    facts['training data'] = _data(runner.train_dataloader)
    if runner.val_loop is not None:
        facts['validation data'] = _data(runner.val_dataloader)
    facts.update(schedule=_schedule(runner), optimizer=_optimizer(runner))
    if runner.val_loop is not None:
        facts['validation'] = (f'every {runner.val_interval} {_unit(runner)}: '
                               f'{_metrics(runner.val_evaluator)}')
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            facts['checkpoints'] = _checkpoints(hook)
    facts.update(precision=_precision(runner.optim_wrapper), device=device_of(runner.model))
    return facts


def test_summary(runner: Runner) -> dict[str, str]:
    """Collect the facts of a test, see :func:`training_summary`."""
    return dict(**_origin(runner), model=_model(runner.model), weights=_weights(runner),
                data=_data(runner.test_dataloader), scores=_metrics(runner.test_evaluator),
                device=device_of(runner.model))


def _table(title: str, facts: dict[str, str]) -> str:
    width = max(map(len, facts))
    return '\n'.join([title, *(f'  {key:<{width}}  {value}' for key, value in facts.items())])


def _origin(runner: Runner) -> dict[str, str]:
    return dict(config=str(runner.cfg.filename or 'given in Python'),
                folder=f'{runner.work_dir} (log and curves: {Path(runner.log_dir).name}/)')


def _model(model: nn.Module) -> str:
    model = unwrap_model(model)
    children = dict(model.named_children())
    parts = [children[name] for name in ('panoptic_head', 'backbone') if name in children]
    names = ', '.join(_with_depth(part) for part in parts or [model])
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    total = sum(size for size, _ in sizes)
    trained = sum(size for size, trainable in sizes if trainable)
    return f'{names}: {total / 1e6:.2f} M parameters, {trained / 1e6:.2f} M of them trainable'


def _with_depth(module: nn.Module) -> str:
    """Return the class name of a module, with its depth if defined: ResNet-50."""
    depth = getattr(module, 'depth', None)
    return type(module).__name__ + (f'-{depth}' if isinstance(depth, int) else '')


def _weights(runner: Runner) -> str:
    # Only _has_loaded shows whether --resume found a checkpoint.
    if runner._resume and runner._has_loaded:
        return f'resumed at {runner.iter} iterations'
    if runner._load_from is not None:
        return str(runner._load_from)
    init = getattr(getattr(unwrap_model(runner.model), 'backbone', None), 'init_cfg', None)
    entries = init if isinstance(init, list) else [init]
    pretrained = [entry['checkpoint'] for entry in entries if entry and 'checkpoint' in entry]
    return f'backbone from {pretrained[0]}' if pretrained else 'random'


def _data(loader: DataLoader) -> str:
    found = []
    for part in dataset_leaves(loader.dataset):
        meta = getattr(part, 'metainfo', {})
        kinds = [(kind, meta[f'{kind}_classes']) for kind in ('thing', 'stuff')
                 if f'{kind}_classes' in meta] or [('', meta.get('classes', ()))]
        classes = ' + '.join(f'{len(names)} {kind}'.rstrip() for kind, names in kinds)
        found.append(f'{type(part).__name__}, {_size(part)} images, {classes} classes')
    if len(found) > 1:
        found.append(f'{_size(loader.dataset)} images in all')
    return '; '.join(found)


def _size(dataset: Dataset) -> int | str:
    return len(dataset) if hasattr(dataset, '__len__') else 'a stream of'


def _unit(runner: Runner) -> str:
    return 'epochs' if isinstance(runner.train_loop, EpochBasedTrainLoop) else 'iterations'


def _schedule(runner: Runner) -> str:
    loader, processes = runner.train_dataloader, get_world_size()
    per_process = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', 1)
    images = per_process * processes * getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    length = f'{runner.max_iters} iterations'
    if _unit(runner) == 'epochs':
        length = f'{runner.max_epochs} epochs, {length}'
    elif hasattr(loader.dataset, '__len__') and len(loader.dataset):
        epochs = runner.max_iters * per_process * processes / len(loader.dataset)
        length = f'{length}, {epochs:.1f} epochs'
    text = f'{length}; {images} images a step ({processes} x {per_process}'
    accumulated = images // (per_process * processes)
    return text + (f', {accumulated} accumulated)' if accumulated > 1 else ')')


def _optimizer(runner: Runner) -> str:
    wrapper = runner.optim_wrapper
    if not hasattr(wrapper, 'optimizer'):  # several optimizers
        return ', '.join(type(part.optimizer).__name__ for part in wrapper.values())
    rates = sorted({group.get('initial_lr', group['lr']) for group in wrapper.param_groups})
    schedulers = runner.param_schedulers or []
    names = [type(scheduler).__name__ for scheduler in schedulers]
    return (f'{type(wrapper.optimizer).__name__}, learning rate '
            f'{", ".join(f"{rate:g}" for rate in rates)}; {", ".join(names) or "constant"}')


def _metrics(evaluator: Any) -> str:
    return ', '.join(type(metric).__name__ for metric in evaluator.metrics)


def _checkpoints(hook: CheckpointHook) -> str:
    text = f'every {hook.interval} {"epochs" if hook.by_epoch else "iterations"}'
    if hook.max_keep_ckpts > 0:
        text += f', the last {hook.max_keep_ckpts} kept'
    return text + (f', best by {", ".join(hook.save_best)}' if hook.save_best else '')


def _precision(wrapper: Any) -> str:
    kind = type(wrapper).__name__
    if kind == 'BFloat16OptimWrapper':
        return 'mixed, bfloat16'
    if kind == 'AmpOptimWrapper':
        return f'mixed, {str(wrapper.cast_dtype or "float16").removeprefix("torch.")}'
    return 'float32'


def device_of(model: nn.Module) -> str:
    """Describe the devices of a run: 8 x NVIDIA H100, or CPU with processes and threads."""
    device = next((parameter.device for parameter in model.parameters()), torch.device('cpu'))
    if device.type == 'cuda':
        return f'{get_world_size()} x {torch.cuda.get_device_name(device)}'
    return f'{device.type.upper()}, {get_world_size()} x {torch.get_num_threads()} threads'
