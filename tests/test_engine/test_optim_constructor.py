"""Optimizer groups against those of the published training script."""
import json
import re

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmpanseg.checkpoints import convert_mask2former
from mmpanseg.engine.optimizers import ModuleTypeOptimConstructor
from mmpanseg.engine.parameter_names import check_paramwise
from mmpanseg.registry import MODELS

R50 = 'configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'


def test_groups_match_published(golden, repo_root):
    expected = json.loads((golden / 'mask2former/optimizer_groups.json').read_text())
    config = Config.fromfile(repo_root / R50)
    config.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(config.model)
    constructor = ModuleTypeOptimConstructor(
        config.optim_wrapper, config.optim_wrapper.paramwise_cfg)
    names = {parameter: name for name, parameter in model.named_parameters()}
    optimizer = config.optim_wrapper.optimizer
    found = {
        (group['lr'], group['weight_decay']): {names[p] for p in group['params']}
        for group in constructor.groups(model, optimizer.lr, optimizer.weight_decay)}
    groups = expected['coco_panoptic_R50']['groups']
    assert len(found) == len(groups)
    for group in groups:
        tensors = {name: torch.zeros(1) for name in group['names']}
        ours = set(convert_mask2former(tensors))
        key = next(k for k in found if k == pytest.approx((group['lr'], group['weight_decay'])))
        assert found[key] == ours


class Small(nn.Module):

    def __init__(self, table='relative_position_bias_table'):
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.backbone.register_parameter(table, nn.Parameter(torch.ones(2)))
        self.level_encoding = nn.Embedding(2, 2)


@pytest.mark.parametrize('options, near', [
    (dict(lr_mult={'bakcbone': 0.1}), 'backbone'),
    (dict(decayed_embeddings=['level_encodign']), 'level_encoding'),
    (dict(undecayed=['relative_position_bias_tabel']), 'relative_position_bias_table'),
    (dict(undecayed=['backbone.bais']), 'backbone.bias'),
    (dict(undecayed=['.biass']), 'bias'),
    (dict(undecayed=['no_such_thing']), None),
])
def test_unknown_names_are_refused(options, near):
    constructor = ModuleTypeOptimConstructor({}, options)
    (key, names), = options.items()
    text = f'paramwise_cfg.{key} names {list(names)[0]!r}, which no parameter'
    with pytest.raises(ValueError, match=re.escape(text)) as error:
        constructor.groups(Small(), 1.0, 0.1)
    assert near in str(error.value) if near else 'near' not in str(error.value)


@pytest.mark.parametrize('options, kind, text', [
    (dict(custom_keys={}), ValueError, "no key 'custom_keys'.*knows lr_mult, decayed_embeddings"),
    (dict(undecay=['x']), ValueError, "no key 'undecay' .did you mean undecayed"),
    (dict(lr_mult=0.1), TypeError, 'lr_mult must be a dict'),
    (dict(lr_mult=dict(backbone='0.1')), TypeError, 'lr_mult must be a dict'),
    (dict(undecayed='bias'), TypeError, 'undecayed must be a list'),
])
def test_unknown_keys_and_values_are_refused(options, kind, text):
    with pytest.raises(kind, match=text):
        ModuleTypeOptimConstructor({}, options)


def test_names_of_frozen_parameters_and_of_other_backbones():
    """A frozen backbone may keep its factor; schedules name parameters of several backbones."""
    model = Small(table='other')
    model.backbone.requires_grad_(False)
    groups = ModuleTypeOptimConstructor({}, dict(
        lr_mult=dict(backbone=0.1), undecayed=['relative_position_bias_table'])).groups(
            model, 1.0, 0.1)
    assert [(group['lr'], group['weight_decay'], len(group['params'])) for group in groups] == [
        (1.0, 0.0, 1)]


def test_default_constructor_is_checked_too():
    def check(**options):
        check_paramwise(dict(paramwise_cfg=options), Small())

    check(custom_keys=dict(backbone=dict(lr_mult=0.1)), norm_decay_mult=0.0)
    with pytest.raises(ValueError, match="custom_keys names 'bacbone'.*near are backbone"):
        check(custom_keys=dict(bacbone=dict(lr_mult=0.1)))
    with pytest.raises(ValueError, match="no key 'norm_decay_mutl' .did you mean norm_decay_mult"):
        check(norm_decay_mutl=0.0)


def test_builds_a_wrapper_that_steps():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Embedding(3, 2))
    wrapper = ModuleTypeOptimConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5, weight_decay=0.1)),
        dict(undecayed=['0.bias']))(model)
    decays = {group['weight_decay']: len(group['params']) for group in wrapper.param_groups}
    assert decays == {0.1: 1, 0.0: 4}
    before = model[0].weight.detach().clone()
    wrapper.update_params(model[0].weight.sum())
    torch.testing.assert_close(model[0].weight, before - 0.5 * (1 + 0.1 * before))
