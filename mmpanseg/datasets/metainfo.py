"""Metainfo of data sets: names of classes in a config, in a checkpoint, of several data sets."""
import copy
from collections.abc import Sequence

from mmengine.config import Config

from mmpanseg.registry import DATASETS

_LOADERS = ('test_dataloader', 'val_dataloader', 'train_dataloader')


def config_metainfo(cfg: Config) -> dict:
    """Return the metainfo of the first data set in a config with class names.

    The order is test, validation, training data. The annotation file is read only if it exists and
    the config does not contain the names.

    Returns:
        the metainfo with ``classes``; {} if no data set has class names.
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
    """Return the metainfo of a data set's config, of the first one inside wrappers."""
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
        # data sets that read their files later do not have `classes` yet
        meta['classes'] = (*meta['thing_classes'], *meta['stuff_classes'])
    return meta


def first_dataset(dataset: dict) -> dict:
    """Return the config of the first data set inside wrappers (concatenated, repeated, ...)."""
    while 'datasets' in dataset or 'dataset' in dataset:
        dataset = dataset['datasets'][0] if 'datasets' in dataset else dataset['dataset']
    return dataset


def check_class_names(num_classes: int, known: Sequence[str] | None,
                      configured: Sequence[str] | None = None) -> None:
    """Compare the class names of a checkpoint and of a config with each other and the model.

    Args:
        num_classes: number of classes of the model.
        known: names by label in the checkpoint; None or empty if there are none.
        configured: names by label of the config's data set; None or empty if there are none.

    Raises:
        ValueError: the number of names is not that of the model, or both lists contain the same
            names in another order.
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


def common_metainfo(metainfo: dict | Sequence[dict] | None) -> dict | None:
    """Merge the metainfo of concatenated data sets, of which mmdet's ConcatDataset makes a list.

    Their ids of categories may differ: every sample contains its own.

    Args:
        metainfo: metainfo of one or of several data sets; None is returned as it is.

    Returns:
        the metainfo of the first data set.

    Raises:
        ValueError: the classes of two data sets differ.
    """
    if metainfo is None or isinstance(metainfo, dict):
        return metainfo
    # a data set may be concatenated itself
    first, *others = (common_metainfo(source) or {} for source in metainfo)
    for number, other in enumerate(others, 1):
        for key in ('classes', 'thing_classes', 'stuff_classes'):
            ours, theirs = tuple(first.get(key, ())), tuple(other.get(key, ()))
            if ours != theirs:
                raise ValueError(
                    f'the data sets of a ConcatDataset must have the same {key}: number 0 has '
                    f'{ours}, number {number} has {theirs}; name them in the metainfo of each')
    return first


class CommonMetainfo:
    """Mixin of metrics and visualizers: ``dataset_meta`` is one dict for concatenated data sets."""

    @property
    def dataset_meta(self) -> dict | None:
        """Metainfo of the data set, in every process because each one draws its own images."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, metainfo: dict | Sequence[dict] | None) -> None:
        self._dataset_meta = common_metainfo(metainfo)
