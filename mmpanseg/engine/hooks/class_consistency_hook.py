"""The model's numbers of classes against the datasets'."""
from collections.abc import Iterator

from mmdet.datasets import CocoDataset, CocoPanopticDataset, LVISV05Dataset
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpanseg.datasets.annotation_file import read_annotation_file, read_categories
from mmpanseg.datasets.metainfo import common_metainfo
from mmpanseg.registry import HOOKS
from mmpanseg.utils.modules import unwrap_model


@HOOKS.register_module()
class ClassConsistencyHook(Hook):
    """Compares the model's numbers of classes with those of every dataset before a run.

    Before training the validation dataset is looked at as well, so that a mistake does not wait
    for the first validation.

    mmdet's own data sets are also asked whether their labels have the order of the classes.

    Raises:
        ValueError: they differ; the text names the config keys and both numbers, or the file.
    """

    def before_train(self, runner: Runner) -> None:
        self._check(runner, 'train', runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            self.before_val(runner)

    def before_val(self, runner: Runner) -> None:
        self._check(runner, 'val', runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        self._check(runner, 'test', runner.test_dataloader.dataset)

    def _check(self, runner: Runner, split: str, dataset: object) -> None:
        if isinstance(getattr(dataset, 'metainfo', None), list):
            # mmdet's ConcatDataset gives one for each source, and checkpoints would keep them
            dataset._metainfo = common_metainfo(dataset.metainfo)
        model = unwrap_model(runner.model)
        for part in dataset_leaves(dataset):
            if isinstance(part, CocoDataset) and not isinstance(part, LVISV05Dataset):
                _check_label_order(part)
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


def dataset_leaves(dataset: object) -> Iterator[object]:
    """The datasets inside wrappers (concatenated, repeated, ...)."""
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for part in parts:
        if part is None:
            yield dataset
        else:
            yield from dataset_leaves(part)


def _check_label_order(dataset: CocoDataset) -> None:
    """Refuse mmdet's data set where the file has its categories in another order than the classes.

    mmdet gives labels in the order of the file, and leaves out classes that it does not find.
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
                f"mmdet's {type(dataset).__name__} takes {wrong!r} for {found[wrong]!r}"
                if wrong is not None else
                f'it has no category {next(name for name in classes if name not in found)!r}, '
                'which metainfo names') +
            f'; write the classes of metainfo in the order of the file, or use mmpanseg.{ours}, '
            'which matches names')


def _wanted_classes(metainfo: dict) -> list[tuple[tuple[str, ...], int, tuple[str, ...]]]:
    """(model config keys, sum that they must have, class names) by a dataset's metainfo."""
    if 'thing_classes' in metainfo and 'stuff_classes' in metainfo:
        things, stuff = tuple(metainfo['thing_classes']), tuple(metainfo['stuff_classes'])
        return [(('num_things_classes',), len(things), things),
                (('num_stuff_classes',), len(stuff), stuff)]
    if 'classes' in metainfo:
        # Instance or semantic data says how many classes there are, not of which kind.
        classes = tuple(metainfo['classes'])
        return [(('num_things_classes', 'num_stuff_classes'), len(classes), classes)]
    return []
