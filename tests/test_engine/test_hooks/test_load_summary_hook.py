"""Loading of checkpoints of other models, in real runners."""
import itertools

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.runner import Runner
from torch import nn

from mmpanseg.engine import UsageError
from mmpanseg.engine.hooks import LoadSummaryHook
from mmpanseg.registry import MODELS


NUMBERS = itertools.count()


class Model(BaseModel):

    def __init__(self, classes):
        super().__init__()
        self.backbone, self.head = nn.Linear(2, 3), nn.Linear(3, classes)

    def forward(self, x, mode='tensor', **kwargs):
        out = self.head(self.backbone(x[0][None]))
        return dict(loss=out.sum()) if mode == 'loss' else [out]


class Metric(BaseMetric):

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(done=1.0)


def runner(tmp_path, model, load_from, resume=False, train=True):
    loader = dict(dataset=[dict(x=torch.ones(2))] * 2, batch_size=1, num_workers=0,
                  sampler=dict(type='DefaultSampler', shuffle=False))
    options = dict(
        train_dataloader=loader, train_cfg=dict(by_epoch=False, max_iters=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.))) if train else dict(
            test_dataloader=loader, test_cfg=dict(), test_evaluator=[Metric()])
    return Runner(
        model, str(tmp_path), load_from=str(load_from), resume=resume, default_scope='mmengine',
        custom_hooks=[LoadSummaryHook()], experiment_name=f'{tmp_path.name}{next(NUMBERS)}',
        **options)


@pytest.fixture
def five(tmp_path):
    """A model of five classes and its checkpoint."""
    model = Model(5)
    path = tmp_path / 'five.pth'
    torch.save(dict(meta={}, state_dict={**model.state_dict(), 'extra': torch.ones(1)}), path)
    return model, path


def test_other_classes_start_anew(tmp_path, five):
    model = Model(2)
    head = model.head.weight.detach().clone()
    run = runner(tmp_path, model, five[1])
    lines = []
    run.logger.info = lambda text, *args: lines.append(text)
    run.train()
    assert torch.equal(model.backbone.weight, five[0].backbone.weight)
    assert torch.equal(model.head.weight, head)
    text, = [line for line in lines if 'tensors are in the checkpoint' in line]
    assert text.splitlines() == [
        "2 of the model's 4 tensors are in the checkpoint",
        '  2 of another shape, start anew: head.weight [5, 3], here [2, 3]; '
        'head.bias [5], here [2]',
        '  1 only in the checkpoint, not used: extra']


def test_tests_and_resumed_runs_need_the_same_model(tmp_path, five):
    with pytest.raises(UsageError, match=r'another model: head.weight \[5, 3\], here \[2, 3\]'):
        runner(tmp_path, Model(2), five[1], train=False).test()
    with pytest.raises(UsageError, match='another model'):
        runner(tmp_path, Model(2), five[1], resume=True).train()
    model = Model(5)
    runner(tmp_path, model, five[1], train=False).test()
    assert torch.equal(model.head.weight, five[0].head.weight)


def test_checkpoints_that_are_to_be_converted(tmp_path):
    torch.save(dict(model={f'sem_seg_head.predictor.query_{name}.weight': torch.ones(1)
                           for name in ('feat', 'embed')}), tmp_path / 'x.pth')
    with pytest.raises(UsageError, match='no tensor of the checkpoint .* fits the model .*; it is '
                       'one of facebookresearch/Mask2Former.*convert.py'):
        runner(tmp_path, Model(2), tmp_path / 'x.pth').train()
    torch.save(dict(state_dict=dict(other=torch.ones(1))), tmp_path / 'x.pth')
    with pytest.raises(UsageError, match=r'\(other, ...\) fits the model \(backbone.weight, '):
        runner(tmp_path, Model(2), tmp_path / 'x.pth').train()


def test_backbone_alone(tmp_path):
    backbone = MODELS.build(ConfigDict(type='mmdet.ResNet', depth=18, base_channels=4))
    torch.save(dict(state_dict={f'backbone.{key}': value + 1
                                for key, value in backbone.state_dict().items()}),
               tmp_path / 'x.pth')
    other = MODELS.build(ConfigDict(
        type='mmdet.ResNet', depth=18, base_channels=4, init_cfg=dict(
            type='Pretrained', checkpoint=str(tmp_path / 'x.pth'), prefix='backbone.')))
    other.init_weights()
    assert torch.equal(other.conv1.weight, backbone.conv1.weight + 1)


class Augmented(BaseTTAModel):
    """Test-time augmentation with a single view."""

    def test_step(self, data):
        return self.module.test_step(data)

    def merge_preds(self, data_samples_list):
        return data_samples_list


def test_model_inside_test_time_augmentation(five, tmp_path):
    model, path = five
    augmented = Augmented(Model(5))
    runner(tmp_path, augmented, path, train=False).test()
    for ours, theirs in zip(augmented.module.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
