"""Repair of settings of data loaders that contradict others."""
import logging

from mmengine.dataset import InfiniteSampler
from mmengine.logging import print_log
from mmengine.registry import DATA_SAMPLERS

# torch.utils.data.DataLoader takes these only with worker processes
WORKER_OPTIONS = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context', 'timeout')


def without_worker_options(loader: dict) -> dict:
    """Remove options of worker processes from a data loader without workers.

    A config inherits options such as ``persistent_workers=True``; with ``num_workers=0`` on the
    command line torch refuses them.

    Args:
        loader: config of a data loader.

    Returns:
        The config, or a copy without these options if ``num_workers`` is 0.
    """
    if loader.get('num_workers', 0):
        return loader
    return {key: value for key, value in loader.items() if key not in WORKER_OPTIONS}


def with_sized_sampler(loader: dict, split: str) -> dict:
    """Replace an infinite sampler by a finite one that draws each image once.

    ``InfiniteSampler`` becomes ``DefaultSampler``, in random order for training only.

    Args:
        loader: config of a data loader.
        split: ``'train'`` (by epochs), ``'val'`` or ``'test'``.

    Returns:
        The config, or a copy with another sampler; the change is logged.

    Raises:
        ValueError: the sampler or batch sampler is infinite and no ``InfiniteSampler``; the text
            names it and the fix.
    """
    for key in ('batch_sampler', 'sampler'):
        config = loader.get(key)
        kind = _sampler_class(config)
        if config is None or kind is None or not issubclass(kind, infinite_samplers()):
            continue
        if key == 'sampler' and issubclass(kind, InfiniteSampler):
            shuffle = split == 'train' and config.get('shuffle', True)
            print_log(f'{split}_dataloader.sampler {kind.__name__}, which has no end, is replaced '
                      'by DefaultSampler: an epoch contains each image once', logger='current',
                      level=logging.INFO)
            return {**loader, 'sampler': dict(type='DefaultSampler', shuffle=shuffle)}
        is_train = split == 'train'
        by_iterations = (", or train by iterations with train_cfg=dict(_delete_=True, "
                         "type='IterBasedTrainLoop', max_iters=...)") if is_train else ''
        raise ValueError(
            f'{split}_dataloader.{key} {kind.__name__} has no end, so that no epoch would finish: '
            f"set {split}_dataloader.sampler=dict(_delete_=True, type='DefaultSampler', "
            f'shuffle={is_train}){by_iterations}')
    return loader


def _sampler_class(config: object) -> type | None:
    if not isinstance(config, dict):
        return None
    kind = config['type']
    if isinstance(kind, str):
        with DATA_SAMPLERS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return kind if isinstance(kind, type) else None


def infinite_samplers() -> tuple[type, ...]:
    """Return the classes of samplers without end."""
    from mmdet.datasets.samplers import MultiSourceSampler
    return InfiniteSampler, MultiSourceSampler
