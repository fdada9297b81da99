"""The model's numbers of classes against the datasets'."""
from collections.abc import Iterator

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpanseg.engine.unwrapped import unwrapped
from mmpanseg.registry import HOOKS


@HOOKS.register_module()
class ClassConsistencyHook(Hook):
    """Compares the model's numbers of classes with those of every dataset before a run.

    Before training the validation dataset is looked at as well, so that a mistake does not wait
    for the first validation.

    Raises:
        ValueError: they differ; the text names the config keys and both numbers.
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
        model = unwrapped(runner.model)
        for part in dataset_leaves(dataset):
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
