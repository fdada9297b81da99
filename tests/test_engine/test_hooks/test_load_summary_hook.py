"""Loading of checkpoints of other models, in real runners."""
import itertools
import pickle
import socket

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.runner import Runner
from torch import nn

from mmpanseg.checkpoints import CheckpointError
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


def test_every_kind_of_misfit_is_named(tmp_path, five):
    state = five[0].state_dict()
    for change, text in (
            (lambda: state.pop('head.bias'),
             "1 of the model's 4 tensors are missing in it: head.bias"),
            (lambda: state.update({'head.more': torch.ones(1), 'head.bias': torch.ones(5)}),
             '1 of its tensors are not in the model: head.more')):
        change()
        torch.save(dict(meta={}, state_dict=state), tmp_path / 'x.pth')
        for options in (dict(train=False), dict(resume=True)):
            run = runner(tmp_path, Model(5), tmp_path / 'x.pth', **options)
            with pytest.raises(UsageError, match=f'another model: {text}'):
                run.train() if options.get('resume') else run.test()


class Named(list):
    """Data with class names."""
    metainfo = dict(classes=('a', 'b', 'c', 'd', 'e'))


def test_names_in_another_order(tmp_path, five):
    for names, right in (('abcde', True), ('abced', False), ('vwxyz', True)):
        torch.save(dict(state_dict=five[0].state_dict(), meta=dict(dataset_meta=dict(
            classes=tuple(names)))), tmp_path / 'x.pth')
        run = runner(tmp_path, Model(5), tmp_path / 'x.pth', train=False)
        run._test_dataloader = run.build_dataloader(
            dict(run._test_dataloader, dataset=Named([dict(x=torch.ones(2))] * 2)))
        if right:
            run.test()
        else:
            with pytest.raises(UsageError, match="label 3 is 'e' in the checkpoint, 'd' in the"):
                run.test()


def pretrained(url='https://127.0.0.1:9/weights.pth'):
    """A segmentor whose backbone has weights on a server."""
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(
        type='mmpanseg.MaskTransformer', num_things_classes=1, num_stuff_classes=1,
        backbone=dict(type='ResNet', depth=18, base_channels=4,
                      init_cfg=dict(type='Pretrained', checkpoint=url)),
        panoptic_head=dict(
            type='mmpanseg.Mask2FormerHead', in_channels=[4, 8, 16, 32], channels=32,
            out_channels=32, num_queries=4,
            pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1),
            transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=1))))


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError('Network is unreachable')
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    monkeypatch.setattr(socket.socket, 'connect', refuse)


def prepared(run):
    """Until the first step: what ``Runner.train`` does to the model."""
    run._train_loop = run.build_train_loop(run._train_loop)
    run.call_hook('before_run')
    run._init_model_weights()
    run.load_or_resume()


@pytest.mark.parametrize('change', [
    lambda state: state, lambda state: {f'module.{key}': value for key, value in state.items()},
    lambda state: {key: value for key, value in state.items() if 'num_batches' not in key},
    # other classes
    lambda state: dict(state, **{'panoptic_head.cls_embed.bias': torch.ones(9)})])
def test_nothing_is_fetched_for_what_a_checkpoint_fills(tmp_path, offline, change):
    state = pretrained().state_dict()
    state = {key: value + 1 if value.is_floating_point() else value
             for key, value in state.items()}
    torch.save(dict(meta={}, state_dict=change(state)), tmp_path / 'x.pth')
    model = pretrained()
    prepared(runner(tmp_path, model, tmp_path / 'x.pth'))
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, state[f'backbone.{key}']), key
    pickle.dumps(model)


def test_nothing_is_fetched_to_resume(tmp_path, offline):
    model = pretrained()
    state = {key: value + 1 if value.is_floating_point() else value
             for key, value in model.state_dict().items()}
    torch.save(dict(meta={}, state_dict=state), tmp_path / 'iter_1.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_1.pth'))
    run = runner(tmp_path, model, 'x')
    run._load_from, run._resume = None, True
    run._train_loop = run.build_train_loop(run._train_loop)
    run.call_hook('before_run')
    run._init_model_weights()
    assert model.is_init and model.panoptic_head.is_init


@pytest.mark.parametrize('change', [
    lambda state: {key: value for key, value in state.items() if not key.startswith('backbone.la')},
    lambda state: dict(state, **{'backbone.conv1.weight': torch.ones(8, 3, 7, 7)})])
def test_what_is_missing_is_fetched(tmp_path, offline, change):
    torch.save(dict(meta={}, state_dict=change(pretrained().state_dict())), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='pretrained weights cannot be read: model.backbone.'
                       'init_cfg.checkpoint=https://127.0.0.1:9/weights.pth'):
        prepared(runner(tmp_path, pretrained(), tmp_path / 'x.pth'))


def test_unconverted_checkpoints_are_told_before_anything_is_fetched(tmp_path, offline):
    torch.save(dict(model={f'sem_seg_head.predictor.query_{name}.weight': torch.ones(1)
                           for name in ('feat', 'embed')}), tmp_path / 'x.pth')
    with pytest.raises(UsageError, match='of facebookresearch/Mask2Former.*convert.py'):
        prepared(runner(tmp_path, pretrained(), tmp_path / 'x.pth'))


def test_pretrained_weights_of_a_file_are_still_read(tmp_path, offline):
    state = pretrained().backbone.state_dict()
    torch.save({key: value + 2 if value.is_floating_point() else value
                for key, value in state.items()}, tmp_path / 'b.pth')
    model = pretrained(str(tmp_path / 'b.pth'))
    model.init_weights()
    assert torch.equal(model.backbone.conv1.weight, state['conv1.weight'] + 2)


def test_checkpoints_that_are_to_be_converted(tmp_path):
    torch.save(dict(model={f'sem_seg_head.predictor.query_{name}.weight': torch.ones(1)
                           for name in ('feat', 'embed')}), tmp_path / 'x.pth')
    with pytest.raises(UsageError, match='has the format of '
                       'facebookresearch/Mask2Former.*convert.py'):
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
