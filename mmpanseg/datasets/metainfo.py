"""Class names that a config's data set gives to labels."""
import copy
from typing import Optional, Sequence

from mmengine.config import Config

from mmpanseg.registry import DATASETS

_LOADERS = ('test_dataloader', 'val_dataloader', 'train_dataloader')


def config_metainfo(cfg: Config) -> dict:
    """Metainfo with ``classes`` of the first data set in a config that names any.

    Test data come before validation and training data. The annotation file is read only where
    the config leaves the names to it, and if it is there.

    Returns:
        the metainfo, {} if nothing names classes.
    """
    for loader in _LOADERS:
        dataset = (cfg.get(loader) or {}).get('dataset')
        if not dataset:
            continue
        meta = dataset_metainfo(dataset)
        if meta.get('classes'):
            return meta
    return {}


def dataset_metainfo(dataset: dict) -> dict:
    """Metainfo of a data set's config, of the first one inside wrappers; see above."""
    options = dict(copy.deepcopy(first_dataset(dataset)), pipeline=[], lazy_init=True)
    built = DATASETS.build(options)
    meta = dict(built.metainfo)
    if not meta.get('classes') and 'thing_classes' not in meta:
        try:
            built.full_init()
        except FileNotFoundError:
            return {}
        meta = dict(built.metainfo)
    if 'thing_classes' in meta and 'stuff_classes' in meta:
        # of data sets that complete their metainfo when they read their files
        meta['classes'] = (*meta['thing_classes'], *meta['stuff_classes'])
    return meta


def first_dataset(dataset: dict) -> dict:
    """Config of a data set inside wrappers (concatenated, repeated, ...), the first of several."""
    while 'datasets' in dataset or 'dataset' in dataset:
        dataset = dataset['datasets'][0] if 'datasets' in dataset else dataset['dataset']
    return dataset


def check_class_names(num_classes: int, known: Optional[Sequence[str]],
                      configured: Optional[Sequence[str]] = None) -> None:
    """Compare the names of a checkpoint with the model's classes and the config's names.

    Args:
        num_classes: of the model.
        known: names by label in the checkpoint, None or empty if it has none.
        configured: names by label of the config's data set, the same.

    Raises:
        ValueError: a number is not the model's, or the same names have another order.
    """
    for names, where, remedy in (
            (configured, "the config's data set",
             'set metainfo of test_dataloader.dataset to the classes that the model was trained '
             'on'),
            (known, 'the checkpoint', 'use the config that it was trained with')):
        if names and len(names) != num_classes:
            raise ValueError(
                f'{where} names {len(names)} classes ({", ".join(names[:4])}, ...), but the model '
                f'has {num_classes} (model.num_things_classes + model.num_stuff_classes): {remedy}')
    if known and configured and sorted(known) == sorted(configured) and (
            list(known) != list(configured)):
        label = next(i for i, pair in enumerate(zip(known, configured)) if len(set(pair)) > 1)
        raise ValueError(
            f"the checkpoint and the config's data set have the same classes in another order: "
            f'label {label} is {known[label]!r} in the checkpoint, {configured[label]!r} in the '
            'config; set metainfo to the order of the checkpoint')
