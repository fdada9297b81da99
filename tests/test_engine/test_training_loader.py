"""Order and augmentations of training data at any position, for any number of workers."""
import itertools
import pickle
import random

import numpy as np
import pytest
import torch
from mmdet.datasets.samplers import AspectRatioBatchSampler, ClassAwareSampler, MultiSourceSampler
from mmengine.dataset import ConcatDataset, DefaultSampler, InfiniteSampler, pseudo_collate
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mmpanseg.engine.random_states import read_generators
from mmpanseg.engine.training_loader import EndlessBatches, TrainingLoader


def numbers() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), torch.rand(1).item()


class Images(Dataset):
    """Ten samples with random numbers, some after a rejected draw; counts what is loaded."""

    metainfo = dict(classes=('a',))

    def __init__(self):
        self.loaded = 0
        self.offset = 0

    def __len__(self):
        return 10

    def __getitem__(self, index):
        self.loaded += 1
        if np.random.rand() < 0.3:
            return self[np.random.randint(10)]
        return index + self.offset, *numbers()

    def get_data_info(self, index):
        return dict(width=1 + index % 3, height=2)

    def get_cat_ids(self, index):
        return [index % 2]


class Fetched(Images):
    """Loads batches."""

    def __getitems__(self, indices):
        return [(index, *numbers()) for index in indices]


class Both(ConcatDataset):
    """Two data sets as one."""

    def __init__(self):
        self.datasets = [Images(), Images()]
        self.cumulative_sizes = [10, 20]
        self._fully_initialized = True


def noisy_collate(samples):
    return samples, *numbers()


def sampled(sampler):
    return lambda data: dict(sampler=sampler(data), batch_size=3, collate_fn=pseudo_collate)


# (class of the data set, arguments of the loader)
LOADERS = dict(
    infinite=(Images, sampled(lambda data: InfiniteSampler(data, seed=1))),
    infinite_in_order=(Images, sampled(lambda data: InfiniteSampler(data, shuffle=False, seed=1))),
    finite=(Images, sampled(lambda data: DefaultSampler(data, seed=1))),
    class_aware=(Images, sampled(lambda data: type(
        'Sampler', (ClassAwareSampler,),
        dict(get_cat2imgs=lambda self: {0: [0, 2, 4], 1: [1, 3, 5]}))(data, seed=1))),
    concatenated=(Both, sampled(lambda data: DefaultSampler(data, seed=1))),
    aspect_ratio=(Images, lambda data: dict(batch_sampler=AspectRatioBatchSampler(
        InfiniteSampler(data, seed=1), 2), collate_fn=pseudo_collate)),
    several_sources=(Both, sampled(lambda data: MultiSourceSampler(
        data, 3, [2, 1], seed=1))),
    torchs=(Images, lambda data: dict(shuffle=True, batch_size=4, drop_last=True)),
    single=(Images, lambda data: dict(batch_size=None)),
    noisy_collate=(Images, lambda data: dict(batch_size=4, collate_fn=noisy_collate)),
    fetched=(Fetched, lambda data: dict(batch_size=4, collate_fn=noisy_collate)))


def load(name, count, num_workers=0, after=0, rank=0, **options):
    """Batches after a number of others, pass by pass; also the loader."""
    dataset, arguments = LOADERS[name]
    data = dataset()
    loader = TrainingLoader(
        DataLoader(data, num_workers=num_workers, **arguments(data), **options), 7, rank)
    batches = EndlessBatches(loader, is_told=True)
    if after:
        loader.load_state_dict(after[0])
        batches.resume(after[1])
    return [repr(batch) for batch in itertools.islice(batches, count)], loader, batches


@pytest.mark.parametrize('name', LOADERS)
def test_any_position_continues(name):
    """As an uninterrupted iteration does, which uses no generator of the process."""
    states = str(read_generators())
    whole, _, _ = load(name, 14)
    assert len({*whole}) == 14
    for count in (1, 3, 4, 7):
        first, loader, batches = load(name, count)
        rest, continued, _ = load(name, 14 - count, after=(
            loader.state_dict(), batches.passes))
        assert first + rest == whole
        assert continued.position == 14
        if isinstance(continued.dataset, Images) and name != 'fetched':
            # redrawn samples are few
            assert 0 < continued.dataset.loaded < 3 * 4 * (14 - count)
    assert str(read_generators()) == states


@pytest.mark.parametrize('name', ['infinite', 'finite', 'aspect_ratio', 'noisy_collate', 'single'])
def test_workers_do_not_matter(name):
    whole, loader, batches = load(name, 8)
    assert load(name, 8, num_workers=2)[0] == whole
    options = dict(num_workers=1, persistent_workers=True, prefetch_factor=3)
    first, loader, batches = load(name, 4, **options)
    assert first + load(name, 4, after=(loader.state_dict(), batches.passes), **options)[0] == whole


def test_nothing_is_loaded_to_continue():
    state = dict(position=10**4, start=0, sampler_seed=1)
    _, loader, _ = load('infinite', 1, after=(state, 0))
    assert loader.dataset.loaded < 30


def test_processes_draw_other_numbers():
    """The sampler of this process is the same in both cases: indices are equal, numbers differ."""
    one, two = (eval(load('infinite_in_order', 1, rank=rank)[0][0]) for rank in (0, 1))
    assert not {*one[1]} & {*two[1]}


def test_saved_seed_of_the_sampler():
    """A seed that no config contains is that of the checkpoint."""
    whole, loader, batches = load('finite', 9)
    loader.index_sampler.seed = 99
    other = [repr(batch) for batch in loader]
    again, _, _ = load('finite', 4, after=(
        dict(loader.state_dict(), sampler_seed=99, start=9, position=9), 2))
    assert again == other and other != whole[:4]


def test_data_set_and_samplers_are_visible():
    """Hooks and loops read them from the loader."""
    _, loader, _ = load('infinite', 1)
    assert type(loader.dataset) is Images and isinstance(loader.sampler, InfiniteSampler)
    assert loader.batch_size == loader.batch_sampler.batch_size == 3 and len(loader) == 4
    _, loader, _ = load('aspect_ratio', 1)
    assert loader.batch_size is None and type(loader.batch_sampler) is AspectRatioBatchSampler


@pytest.mark.parametrize('persistent', [False, True])
def test_changed_data_set(persistent):
    """mmdet's hooks change the data set between epochs and restart persistent workers."""
    _, loader, _ = load('finite', 4, num_workers=1, persistent_workers=persistent)
    loader.dataset.offset = 100
    loader._iterator = None
    assert all(index >= 100 for batch in loader for index in batch[0])


def test_an_abandoned_pass():
    """A look at a batch, in a hook for example, shifts nothing after a resumption."""
    _, loader, _ = load('finite', 0)
    next(iter(loader))
    whole = [repr(batch) for batch in loader]
    _, again, _ = load('finite', 0)
    again.load_state_dict(dict(position=2, start=1, sampler_seed=1))
    assert loader.position == 5 and [repr(batch) for batch in again] == whole[1:]


def test_loops_that_ask_for_every_skipped_batch():
    """mmengine before it could skip."""
    whole, loader, _ = load('finite', 6)
    _, loader, _ = load('finite', 0)
    batches = EndlessBatches(loader, is_told=False)
    loader.load_state_dict(dict(position=5, start=4, sampler_seed=1))
    batches.resume(1)
    assert [next(batches) for _ in range(5)] == [None] * 5
    assert repr(next(batches)) == whole[5]


def test_other_loaders_stay(tiny_run):
    class Own(DataLoader):
        pass

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(())

    for loader in (Own(Images()), DataLoader(Stream())):
        runner = tiny_run()
        runner._train_dataloader = loader
        assert runner.train_loop.dataloader is loader


def test_workers_of_new_processes():
    """They receive what loads the samples as a pickle."""
    _, loader, _ = load('torchs', 1)
    data = loader._loader.dataset
    assert repr(pickle.loads(pickle.dumps(data))[3, [1, 2]]) == repr(data[3, [1, 2]])


def setup_worker(number, seen):
    seen[number] = torch.utils.data.get_worker_info().dataset.get_data_info(0)['width']


def test_functions_that_set_up_workers_find_the_data_set():
    seen = torch.multiprocessing.Manager().dict()
    data = Images()
    loader = TrainingLoader(DataLoader(data, num_workers=1, worker_init_fn=lambda number:
                                       setup_worker(number, seen)), 0, 0)
    next(iter(loader))
    assert dict(seen) == {0: 1}
