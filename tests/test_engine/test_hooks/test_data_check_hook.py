"""The check of the data before the first step, on runs with real data sets."""
import json
import shutil
import time
from pathlib import Path

import cv2
import mmdet.datasets
import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from torch.utils.data import Subset

from mmpanseg.datasets import PanopticDataset, SemanticDataset
from mmpanseg.datasets.transforms import LoadPanopticMap, LoadSemanticMap
from mmpanseg.doctor.startup import FirstSamples, locate, start_problems
from mmpanseg.engine.command_line import UsageError
from mmpanseg.engine.hooks.data_check_hook import DataCheckHook

from ...processes import run_ranks

LOAD = [dict(type='LoadImageFromFile')]


@pytest.fixture
def data(tiny_config, tmp_path) -> Path:
    """A copy of the six images, to be spoiled."""
    return Path(shutil.copytree(tiny_config.parent, tmp_path / 'data'))


@pytest.fixture
def run(tiny_run, data):
    """Builds a runner that trains on the copy."""
    def build(change=lambda cfg: None, **options):
        def use_copy(cfg):
            for key in ('train_dataloader', 'val_dataloader'):
                cfg[key].dataset.data_root = str(data)
            change(cfg)

        return tiny_run(use_copy, **{'train_cfg__max_iters': 1, 'train_dataloader__batch_size': 6,
                                    **options})

    return build


def test_sound_data_train(run, log_of):
    runner = run()
    runner.train()
    assert sum(isinstance(hook, DataCheckHook) for hook in runner.hooks) == 1
    assert runner.iter == 1 and 'data were not checked' not in log_of(runner)


def test_an_error_stops_before_the_first_step(run, data):
    for name in ('003', '004'):
        (data / f'images/{name}.png').write_bytes(b'')
    runner = run(train_dataloader__sampler__shuffle=False)
    with pytest.raises(UsageError) as error:
        runner.train()
    text = str(error.value)
    assert text.startswith('PAN101 train: 003.png: ') and '\n' not in text
    # the same two images validate
    assert ' (3 more); `mmpanseg doctor ' in text or ' (1 more); `mmpanseg doctor ' in text
    assert '--no-data-check' in text and runner.iter == 0


@pytest.mark.parametrize(('spoil', 'check'), [
    (lambda data: (data / 'images/003.png').unlink(), 'PAN031'),
    (lambda data: (data / 'panoptic/003.png').unlink(), 'PAN032'),
    (lambda data: (data / 'images/003.png').write_bytes(b''), 'PAN101'),
    (lambda data: (data / 'images/003.png').write_text('<html>'), 'PAN103'),
    (lambda data: cv2.imwrite(str(data / 'images/003.png'), np.zeros((60, 60, 3), np.uint8)),
     'PAN105'),
    (lambda data: (data / 'panoptic/003.png').write_bytes(b''), 'PAN201'),
    (lambda data: cv2.imwrite(str(data / 'panoptic/003.png'), np.zeros((64, 64), np.uint8)),
     'PAN204'),
    (lambda data: cv2.imwrite(str(data / 'panoptic/003.png'), np.zeros((60, 60, 3), np.uint8)),
     'PAN208'),
    (lambda data: cv2.imwrite(str(data / 'panoptic/003.png'), np.full((64, 64, 3), 9, np.uint8)),
     'PAN210')])
def test_what_is_found_in_a_sample(data, spoil, check):
    spoil(data)
    found = start_problems([FirstSamples('train', panoptic(data), range(6))])
    assert check in {p.check for p in found} and {p.split for p in found} == {'train'}
    assert {(p.file, p.image_id, p.severity.name) for p in found} == {('003.png', 3, 'ERROR')}


def test_the_first_images_of_each_worker_are_those_checked(run, data):
    """A batch of one image, and no workers: the other images are not read."""
    options = dict(train_dataloader__batch_size=1, train_dataloader__sampler__shuffle=False)
    (data / 'images/002.png').write_bytes(b'')
    runner = run(**options)
    DataCheckHook().before_train(runner)
    with pytest.raises(UsageError, match='PAN101 train: 002.png'):
        DataCheckHook().before_train(run(train_dataloader__num_workers=3, **options))
    before = next(iter(runner.train_dataloader.sampler))
    assert before == 0  # the order of the training was not advanced


@pytest.mark.parametrize('how', ['config', 'variable'])
def test_it_can_be_switched_off(run, data, monkeypatch, how):
    (data / 'images/003.png').write_bytes(b'')

    def change(cfg):
        if how == 'config':
            cfg.default_hooks.data_check = dict(type='mmpanseg.DataCheckHook', enabled=False)

    if how == 'variable':
        monkeypatch.setenv('MMPANSEG_DATA_CHECK', '0')
    with pytest.raises(Exception, match='003.png') as error:
        run(change).train()
    assert 'mmpanseg doctor' not in str(error.value)


def test_classes_in_another_order_stop(run):
    def change(cfg):
        cfg.val_dataloader.dataset.metainfo = dict(
            thing_classes=('ball', ), stuff_classes=('ground', 'sky'))

    with pytest.raises(UsageError, match=(
            "PAN412 val: .*panoptic.json: class 1 is 'ground', in the training data 'sky'; name "
            'the classes in the same order')):
        run(change).train()


def panoptic(data, **options):
    return PanopticDataset(**dict(dict(
        data_root=str(data), ann_file='panoptic.json',
        data_prefix=dict(img='images', seg='panoptic'),
        pipeline=[*LOAD, LoadPanopticMap()]), **options))


def test_other_names_are_a_warning(data):
    content = json.loads((data / 'panoptic.json').read_text())
    content['categories'][1]['name'] = 'heaven'
    (data / 'other.json').write_text(json.dumps(content))
    found = start_problems([FirstSamples('train', panoptic(data), ()),
                            FirstSamples('val', panoptic(data, ann_file='other.json'), ())])
    assert [(p.check, p.severity.name, p.split) for p in found] == [('PAN412', 'WARNING', 'val')]


def test_samples_of_wrappers_are_found(data):
    one, other = panoptic(data), panoptic(data)
    both, twice = ConcatDataset([one, other]), RepeatDataset(other, 2)
    assert locate(both, 4) == (one, 4) and locate(both, 6 + 2) == (other, 2)
    assert locate(twice, 4) == locate(twice, 6 + 4) == (other, 4)
    assert locate(Subset(both, [9, 7]), 1) == (other, 1)
    assert locate(mmdet.datasets.MultiImageMixDataset(other, []), 1) == (other, 1)
    (data / 'images/001.png').unlink()
    found = start_problems([FirstSamples('train', both, [7])])
    assert [(p.check, p.split, p.file) for p in found] == [('PAN031', 'train 2', '001.png')]


def test_foreign_data_sets_are_skipped():
    class Numbers(BaseDataset):

        def load_data_list(self):
            return [dict(x=0)]

    data = Numbers()
    assert locate(data, 0) == (None, 0)
    assert start_problems([FirstSamples('train', data, [0])]) == []


def test_images_of_other_loaders_are_skipped(data):
    class Reader:

        def __call__(self, results):
            return results

    (data / 'images/001.png').unlink()
    own = panoptic(data, pipeline=[Reader()])
    assert start_problems([FirstSamples('train', own, [1])]) == []


def test_values_of_label_maps_are_compared_with_the_classes(tmp_path):
    for name, value in (('a', 2), ('b', 3), ('c', 255)):
        for folder, image in (('images', np.full((8, 8, 3), 90, np.uint8)),
                              ('maps', np.full((8, 8), value, np.uint8))):
            (tmp_path / folder).mkdir(exist_ok=True)
            image[:4] = 1
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), image)

    def problems(**options):
        data = SemanticDataset(
            data_root=str(tmp_path), data_prefix=dict(img='images', seg='maps'),
            metainfo=dict(classes=('one', 'two', 'three')),
            pipeline=[*LOAD, LoadSemanticMap(**options)])
        return [(p.check, p.file) for p in
                start_problems([FirstSamples('train', data, range(3))])]

    assert problems() == [('PAN220', 'b.png')]
    assert problems(label_map={3: 0}) == []
    assert problems(ignore_index=3) == [('PAN220', 'c.png')]


def test_no_image_is_read_after_the_time(data):
    (data / 'images/001.png').unlink()
    sample = FirstSamples('train', panoptic(data), [1])
    assert start_problems([sample], seconds=-1) == [] and len(start_problems([sample])) == 1


def test_a_data_set_that_is_not_understood_is_a_warning(run, log_of):
    def change(cfg):
        cfg.train_dataloader.dataset.pipeline[0].type = 'LoadImageFromFile'

    runner = run(change)
    dataset = runner.train_dataloader.dataset
    dataset.get_data_info = lambda index: dict(dataset.data_list[index], img_id=None, img_path=7)
    DataCheckHook().before_train(runner)
    assert 'the data were not checked: ' in log_of(runner)


def _check(rank, folder):
    from types import SimpleNamespace

    from torch.utils.data import DataLoader

    data = panoptic(Path(folder))
    loader = DataLoader(data, batch_size=2)
    runner = SimpleNamespace(train_dataloader=loader, val_loop=None,
                             cfg=SimpleNamespace(filename='my.py'))
    try:
        DataCheckHook().before_train(runner)
    except UsageError as error:
        return str(error)


@pytest.mark.slow
def test_an_error_reaches_all_processes(data, tmp_path):
    (data / 'images/000.png').unlink()
    texts = run_ranks(_check, 2, tmp_path / 'ranks', str(data))
    assert texts[0] == texts[1] and texts[0].startswith('PAN031 train: 000.png')


def test_it_takes_little_time(data):
    start = time.monotonic()
    start_problems([FirstSamples('train', panoptic(data), range(6))])
    assert time.monotonic() - start < 2
