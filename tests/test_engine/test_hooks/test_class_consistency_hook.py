"""The class check, on runners with real loops and datasets."""
import json
from types import SimpleNamespace

import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner

from mmpanseg.engine import ClassConsistencyHook


class Model(BaseModel):

    def __init__(self, things, stuff):
        super().__init__()
        self.num_things_classes, self.num_stuff_classes = things, stuff
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, mode='tensor', **kwargs):
        return dict(loss=self.weight.sum() * x[0].sum()) if mode == 'loss' else [self.weight]


class Metric(BaseMetric):

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(done=1.0)


class Data(BaseDataset):

    def load_data_list(self):
        return [dict(x=torch.ones(1)) for _ in range(2)]


PANOPTIC = dict(classes=('car', 'bus', 'sky'), thing_classes=('car', 'bus'),
                stuff_classes=('sky',))


def runner(tmp_path, model, train=PANOPTIC, val=PANOPTIC, wrap=lambda dataset: dataset):
    def loader(metainfo):
        return dict(dataset=wrap(Data(metainfo=metainfo)), batch_size=1, num_workers=0,
                    sampler=dict(type='DefaultSampler', shuffle=False))

    return Runner(
        model, str(tmp_path), train_dataloader=loader(train), val_dataloader=loader(val),
        test_dataloader=loader(val), train_cfg=dict(by_epoch=False, max_iters=2, val_interval=2),
        val_cfg=dict(), test_cfg=dict(), val_evaluator=[Metric()], test_evaluator=[Metric()],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), default_scope='mmengine',
        custom_hooks=[ClassConsistencyHook()], experiment_name=str(tmp_path.name))


def test_matching_numbers_run(tmp_path):
    run = runner(tmp_path, Model(2, 1))
    run.train()
    run.val()
    run.test()
    assert run.iter == 2  # as many steps as asked for


@pytest.mark.parametrize('wrap', [lambda d: d, lambda d: RepeatDataset(d, 2),
                                  lambda d: ConcatDataset([d, d])])
def test_wrong_number_of_things(tmp_path, wrap):
    with pytest.raises(ValueError, match=r'model\.num_things_classes is 5, but the train dataset '
                       r'\(Data\) has 2 such classes \(car, bus\): set '
                       r'model\.num_things_classes=2'):
        runner(tmp_path, Model(5, 1), wrap=wrap).train()


def test_wrong_number_of_stuff_in_test(tmp_path):
    with pytest.raises(ValueError, match=r'model\.num_stuff_classes is 7, but the test dataset'):
        runner(tmp_path, Model(2, 7)).test()


def test_validation_data_is_checked_before_training(tmp_path):
    other = dict(classes=('car', 'sky'), thing_classes=('car',), stuff_classes=('sky',))
    run = runner(tmp_path, Model(2, 1), val=other)
    with pytest.raises(ValueError, match='val dataset'):
        run.train()
    assert run.iter == 0


def test_classes_without_a_split(tmp_path):
    classes = dict(classes=('car', 'bus', 'sky'))
    runner(tmp_path, Model(3, 0), classes, classes).train()
    with pytest.raises(ValueError, match=r'num_things_classes \+ model\.num_stuff_classes is 4'):
        runner(tmp_path / 'b', Model(3, 1), classes, classes).train()


def instances(tmp_path, categories, **kwargs):
    """mmdet's data set of one image, whose file has these categories."""
    (tmp_path / 'a.json').write_text(json.dumps(dict(
        images=[dict(id=0, file_name='a.png', height=8, width=8)], annotations=[dict(
            id=1, image_id=0, category_id=1, iscrowd=0, area=16, bbox=[0, 0, 4, 4],
            segmentation=[[0, 0, 4, 0, 4, 4, 0, 4]])],
        categories=[dict(id=k, name=name) for k, name in enumerate(categories, 1)])))
    return CocoDataset(ann_file=str(tmp_path / 'a.json'), data_prefix=dict(img=''), pipeline=[],
                       metainfo=dict(classes=('cat', 'dog')), **kwargs)


@pytest.mark.parametrize('categories, text', [
    (('cat', 'dog'), None), (('bird', 'cat', 'dog'), None),
    (('dog', 'cat'), "a.json: mmdet's CocoDataset labels 'dog' as 'cat'; .*InstanceDataset"),
    (('cat', 'god'), "a.json: it has no category 'dog' of metainfo"),
    (('kat', 'dog'), "a.json: mmdet's CocoDataset labels 'dog' as 'cat'")])
def test_order_of_mmdets_labels(tmp_path, categories, text):
    run = SimpleNamespace(model=Model(2, 0))
    dataset = RepeatDataset(instances(tmp_path, categories), 2)
    if text is None:
        ClassConsistencyHook()._check(run, 'train', dataset)
    else:
        with pytest.raises(ValueError, match=text):
            ClassConsistencyHook()._check(run, 'train', dataset)
