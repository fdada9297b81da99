"""Training data whose order and augmentations depend on seed, process and position only."""
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import torch
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mmpanseg.engine.loaders import infinite_samplers
from mmpanseg.engine.random_states import PrivateGenerators

# first numbers of the keys of private generators
_SAMPLES, _ORDER = 0, 1
_WORKER_OPTIONS = (
    'num_workers', 'pin_memory', 'pin_memory_device', 'timeout', 'worker_init_fn',
    'multiprocessing_context', 'prefetch_factor', 'persistent_workers', 'in_order')


class TrainingLoader(DataLoader):
    """A data loader that continues at any position as if it had loaded everything before.

    Each sample is loaded and transformed with generators of its own, which seed, process and
    position define. Samples are thus independent of the number of workers and of what a process
    loaded earlier, and generators of the training process are not used. A resumed run draws the
    indices of earlier batches, without loading them.

    Data set, samplers and other attributes are those of the given loader. Transforms with
    generators of their own, and those that keep earlier samples, are outside of its control.

    Args:
        loader: any data loader of a data set with indices.
        seed: seed of the run, at least 0.
        rank: number of the process.

    Attributes:
        position: number of batches that this process has received.
        start: position at which the current pass over the data began.
    """

    def __init__(self, loader: DataLoader, seed: int, rank: int) -> None:
        sampling: dict[str, Any] = dict(batch_size=loader.batch_size, sampler=loader.sampler)
        if loader.batch_size is not None:
            sampling['drop_last'] = loader.drop_last
        elif loader.batch_sampler is not None:
            sampling = dict(batch_sampler=loader.batch_sampler)
        super().__init__(loader.dataset, collate_fn=loader.collate_fn, generator=loader.generator,
                         **sampling, **_worker_options(loader))
        self.seed, self.rank = seed, rank
        self.position = self.start = self._skip = 0

    @property
    def index_sampler(self) -> Any:
        """The sampler that draws single indices."""
        return getattr(self.batch_sampler, 'sampler', self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the pass, on which the order of a finite sampler depends."""
        if hasattr(self.index_sampler, 'set_epoch'):
            self.index_sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return position and the sampler's seed, None for samplers without one."""
        return dict(position=self.position, start=self.start,
                    sampler_seed=getattr(self.index_sampler, 'seed', None))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at the position of a state; call it before the first iteration."""
        self.position, self.start = state['position'], state['start']
        self._skip = self.position - self.start
        if state['sampler_seed'] is not None:
            self.index_sampler.seed = state['sampler_seed']

    def __iter__(self) -> Any:
        """Iterate a pass, or the rest of the one that a run continues."""
        self.start, skip, self._skip = self.position - self._skip, self._skip, 0
        # mmdet's hooks set the iterator to None to start workers with a changed data set
        if self._iterator is None:
            indices = self.sampler if self.batch_sampler is None else self.batch_sampler
            self._batches = _Batches(indices, self.seed)
            self._loader: DataLoader = DataLoader(
                _SeededData(self), batch_size=None, sampler=self._batches, collate_fn=_unchanged,
                generator=torch.Generator().manual_seed(self.seed), **_worker_options(self))
        self._batches.begin(self.start, skip)
        iterator = iter(self._loader)
        if self.persistent_workers:
            self._iterator = iterator
        for batch in iterator:
            self.position += 1
            yield batch
        self.start = self.position


class _Batches:
    """Draws the indices of the batches of a pass, with their positions."""

    def __init__(self, indices: Iterable, seed: int) -> None:
        self._indices, self._seed = indices, seed

    def begin(self, start: int, skip: int) -> None:
        """Set the position of the pass, and the number of batches that are drawn only."""
        self._start, self._skip = start, skip

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        position = self._start
        # all processes draw the same order, of which each loads a part
        generators = PrivateGenerators(_ORDER, self._seed, position)
        with generators.active():
            batches = iter(self._indices)
            for _ in zip(range(self._skip), batches):
                position += 1
        while True:
            with generators.active():
                try:
                    indices = next(batches)
                except StopIteration:
                    return
            yield position, indices
            position += 1


class _SeededData(Dataset):
    """Loads the samples of a batch, each with generators of its own."""

    def __init__(self, loader: TrainingLoader) -> None:
        self.dataset, self._collate = loader.dataset, loader.collate_fn
        self._is_batch = loader.batch_sampler is not None
        self._key = (_SAMPLES, loader.seed, loader.rank)

    def __getattr__(self, name: str) -> Any:
        # functions that set up workers find the data set in torch's get_worker_info()
        if name.startswith('__') or 'dataset' not in vars(self):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, batch: tuple[int, Any]) -> Any:
        position, indices = batch
        of_batch = PrivateGenerators(*self._key, position, 0)
        whole = getattr(self.dataset, '__getitems__', None)
        with of_batch.active():
            if not self._is_batch:
                return self._collate(self.dataset[indices])
            if whole is not None:
                return self._collate(whole(indices))
        samples = []
        for number, index in enumerate(indices, 1):
            with PrivateGenerators(*self._key, position, number).active():
                samples.append(self.dataset[index])
        with of_batch.active():
            return self._collate(samples)


class EndlessBatches:
    """Iterates a loader without end, for mmengine's training by steps.

    Args:
        loader: the loader; its own state defines where a resumed run continues.
        is_told: whether the training loop skips by :meth:`skip_iter`, as newer versions of mmengine
            do, or by asking for each of the batches.

    Attributes:
        passes: number of complete passes over the data.
    """

    def __init__(self, loader: TrainingLoader, is_told: bool) -> None:
        self.passes = 0
        self._loader, self._is_told = loader, is_told
        self._iterator: Iterator | None = None
        self._ignored = 0

    def resume(self, passes: int) -> None:
        """Continue after a number of passes; the loader contains the position in the next."""
        self.passes = passes
        self._ignored = 0 if self._is_told else self._loader.position

    def skip_iter(self, num_iters: int) -> None:
        """Do nothing: the loader begins at the right position."""

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        if self._ignored:
            self._ignored -= 1
            return None
        if self._iterator is not None:
            try:
                return next(self._iterator)
            except StopIteration:
                self.passes += 1
        self._iterator = self._next_pass()
        try:
            return next(self._iterator)
        except StopIteration:  # resumed at the end of a pass
            self.passes += 1
        self._iterator = self._next_pass()
        return next(self._iterator)

    def _next_pass(self) -> Iterator:
        self._loader.set_epoch(self.passes)
        return iter(self._loader)


class ResumableEpochLoop(EpochBasedTrainLoop):
    """mmengine's training by epochs that may continue in the middle of one."""

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Run a step, numbered from the beginning of the epoch."""
        if isinstance(self.dataloader, TrainingLoader):
            idx = self.dataloader.position - self.dataloader.start - 1
        super().run_iter(idx, data_batch)


def build_resumable(runner: Runner, config: dict, kind: type | None,
                    build: Callable[[dict], BaseLoop]) -> BaseLoop:
    """Build a training loop that continues at any position of its data.

    Loaders other than torch's own class and data sets without indices remain as they are.

    Args:
        runner: the runner, with the loader or its config.
        config: config of the loop.
        kind: class of the loop.
        build: mmengine's function that builds it.

    Returns:
        The loop.
    """
    if kind is EpochBasedTrainLoop:
        config = dict(config, type=ResumableEpochLoop)
        config.pop('by_epoch', None)
    given = runner._train_dataloader
    loader = runner.build_dataloader(
        given, seed=runner.seed, diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))
    if type(loader) is DataLoader and not isinstance(loader.dataset, IterableDataset):
        loader = TrainingLoader(loader, runner.seed, runner.rank)
    runner._train_dataloader = loader
    try:
        loop = build(config)
    finally:
        runner._train_dataloader = given  # mmengine reads the batch size of the config
    if isinstance(loop, IterBasedTrainLoop) and isinstance(loader, TrainingLoader):
        # mmengine's iterator cannot continue inside a pass
        loop.dataloader_iterator = EndlessBatches(
            loader, hasattr(loop.dataloader_iterator, 'skip_iter'))
    return loop


def data_state(loop: BaseLoop) -> dict[str, Any] | None:
    """Return the state of the training data, None for loaders that cannot continue."""
    if not isinstance(loop.dataloader, TrainingLoader):
        return None
    passes = getattr(getattr(loop, 'dataloader_iterator', None), 'passes', 0)
    length = len(loop.dataloader) if _has_end(loop.dataloader) else None
    return dict(loop.dataloader.state_dict(), passes=passes, length=length)


def steps_in_epoch(loop: BaseLoop) -> int:
    """Return the steps that a training by epochs has done in its current epoch, else 0."""
    if not isinstance(loop, ResumableEpochLoop) or not isinstance(loop.dataloader, TrainingLoader):
        return 0
    return loop.dataloader.position - loop.dataloader.start


def restore_data_state(loop: BaseLoop, state: dict[str, Any] | None, seed: int) -> None:
    """Continue the training data.

    Args:
        loop: training loop at the step to continue with.
        state: what :func:`data_state` returned; None for a checkpoint that has none.
        seed: seed of the resumed run.
    """
    loader: Any = loop.dataloader
    if not isinstance(loader, TrainingLoader):
        return
    iterator = getattr(loop, 'dataloader_iterator', None)
    loader.seed = seed
    if state is None:
        position, passes = loop.iter, 0
        start = 0 if iterator else position
        if iterator and _has_end(loader):
            passes = position // len(loader)
            start = passes * len(loader)
        state = dict(position=position, start=start, passes=passes, sampler_seed=None)
    elif isinstance(loop, ResumableEpochLoop) and state['start'] < state['position'] and (
            _has_end(loader) and state['length'] != len(loader)):
        loop.runner.logger.warning(
            f'the checkpoint lies within an epoch of {state["length"]} steps, here an epoch has '
            f'{len(loader)}: epoch {loop.epoch + 1} starts again')
        state = dict(state, start=state['position'])
    loader.load_state_dict(state)
    if isinstance(iterator, EndlessBatches):
        iterator.resume(state['passes'])


def _has_end(loader: TrainingLoader) -> bool:
    return isinstance(loader.index_sampler, Sized) and len(loader) > 0 and not isinstance(
        loader.index_sampler, infinite_samplers())


def _worker_options(loader: DataLoader) -> dict[str, Any]:
    return {name: getattr(loader, name) for name in _WORKER_OPTIONS if hasattr(loader, name)}


def _unchanged(batch: Iterable) -> Iterable:
    return batch
