"""Comparison of a model with its datasets and their batches, before a run."""
from collections.abc import Iterator
from typing import Any

from mmdet.datasets import CocoDataset, CocoPanopticDataset, LVISV05Dataset
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpanseg.datasets.annotation_file import read_annotation_file, read_categories
from mmpanseg.datasets.base import SegmentationDataset
from mmpanseg.datasets.metainfo import common_metainfo
from mmpanseg.datasets.transforms.foreign_transforms import check_mmdet_pipeline
from mmpanseg.registry import HOOKS
from mmpanseg.utils.modules import BATCH_SIZE_ADVICE, single_value_norms, unwrap_model


@HOOKS.register_module()
class BatchSizeHook(Hook):
    """Refuses to train norms over images on batches of one image.

    kMaX-DeepLab's semantic head normalizes one value per channel and image.

    Raises:
        ValueError: before training, if a batch has one image and the model such a norm; the text
            names the norm and the fix.
    """

    def before_train(self, runner: Runner) -> None:
        norms = single_value_norms(unwrap_model(runner.model))
        if not norms:
            return
        loader = runner.train_dataloader
        size = getattr(loader.batch_sampler, 'batch_size', None) or loader.batch_size
        why = (f'model.{norms[0]} is normalized over the images of a batch, one value of each, '
               'and cannot learn from a single image')
        if size == 1:
            raise ValueError(f'{why}, but train_dataloader.batch_size is 1: {BATCH_SIZE_ADVICE}')
        ends = not isinstance(loader.sampler, InfiniteSampler)
        if size and ends and not getattr(loader.batch_sampler, 'drop_last', loader.drop_last) and (
                len(loader.sampler) % size == 1):
            raise ValueError(
                f'{why}, but the last batch of an epoch has one ({len(loader.sampler)} images in '
                f'batches of {size}): set train_dataloader.drop_last=True')


@HOOKS.register_module()
class ClassConsistencyHook(Hook):
    """Compares the model's numbers of classes with those of each dataset before a run.

    Before training the validation dataset is checked as well, so that a mistake does not appear
    only at the first validation. Datasets of mmdet are also checked for the order of their labels,
    and for transforms that move the image without its ground truth.

    Raises:
        ValueError: the numbers or the order differ; the text names the config keys and both
            numbers, or the file.
    """

    def before_train(self, runner: Runner) -> None:
        self._check(runner, 'train', runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            self.before_val(runner)

    def before_val(self, runner: Runner) -> None:
        self._check(runner, 'val', runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        self._check(runner, 'test', runner.test_dataloader.dataset)

    def _check(self, runner: Runner, split: str, dataset: Any) -> None:
        if isinstance(getattr(dataset, 'metainfo', None), list):
            # mmdet's ConcatDataset has a list with one for each source; checkpoints store it
            dataset._metainfo = common_metainfo(dataset.metainfo)
        model = unwrap_model(runner.model)
        for part in dataset_leaves(dataset):
            if isinstance(part, CocoDataset) and not isinstance(part, LVISV05Dataset):
                _check_label_order(part)
            if not isinstance(part, SegmentationDataset) and hasattr(part, 'pipeline'):
                check_mmdet_pipeline(part.pipeline)
            for keys, wanted, names in _wanted_classes(part.metainfo):
                found = sum(getattr(model, key) for key in keys)
                if found == wanted:
                    continue
                key = ' + '.join(f'model.{key}' for key in keys)
                listed = f' ({", ".join(names[:4])}{", ..." if wanted > 4 else ""})' * bool(wanted)
                raise ValueError(
                    f'{key} is {found}, but the {split} dataset ({type(part).__name__}) has '
                    f'{wanted} such classes{listed}: set {key}={wanted} in the config, or correct '
                    f'the classes in {split}_dataloader.dataset.metainfo')


def dataset_leaves(dataset: Any) -> Iterator[Any]:
    """Iterate over the datasets inside wrappers such as ConcatDataset and RepeatDataset.

    Args:
        dataset: a dataset or a wrapper.

    Yields:
        Datasets that wrap no others.
    """
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for part in parts:
        if part is None:
            yield dataset
        else:
            yield from dataset_leaves(part)


def _check_label_order(dataset: CocoDataset) -> None:
    """Refuse a dataset of mmdet whose file lists its categories in another order than the classes.

    mmdet numbers labels in the order of the file, and skips classes that are not in the file.
    """
    content = read_annotation_file(dataset.ann_file, ['categories'], 'instance',
                                   dataset.backend_args)
    names = read_categories(dataset.ann_file, content['categories'])
    classes = dataset.metainfo['classes']
    found = {names[category]: classes[label] for category, label in dataset.cat2label.items()}
    wrong = next((name for name in found if name != found[name]), None)
    if wrong is not None or len(found) < len(classes):
        ours = 'PanopticDataset' if isinstance(dataset, CocoPanopticDataset) else 'InstanceDataset'
        raise ValueError(
            f'{dataset.ann_file}: ' + (
                f"mmdet's {type(dataset).__name__} labels {wrong!r} as {found[wrong]!r}"
                if wrong is not None else
                f'it has no category {next(name for name in classes if name not in found)!r} of '
                'metainfo') +
            f'; write the classes of metainfo in the order of the file, or use mmpanseg.{ours}, '
            'which matches names')


def _wanted_classes(metainfo: dict) -> list[tuple[tuple[str, ...], int, tuple[str, ...]]]:
    """Derive the numbers of classes of a model from a dataset.

    Args:
        metainfo: of a dataset.

    Returns:
        (model config keys, required sum of their values, class names) of each comparison.
    """
    if 'thing_classes' in metainfo and 'stuff_classes' in metainfo:
        things, stuff = tuple(metainfo['thing_classes']), tuple(metainfo['stuff_classes'])
        return [(('num_things_classes',), len(things), things),
                (('num_stuff_classes',), len(stuff), stuff)]
    if 'classes' in metainfo:
        # Instance and semantic data do not distinguish things and stuff.
        classes = tuple(metainfo['classes'])
        return [(('num_things_classes', 'num_stuff_classes'), len(classes), classes)]
    return []
