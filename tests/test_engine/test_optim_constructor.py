"""Optimiser groups against those of the published training script."""
import json

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmpanseg.checkpoints import convert_mask2former
from mmpanseg.engine.optim_constructor import ModuleTypeOptimConstructor
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


def test_unknown_names_and_keys_are_refused():
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(KeyError, match='bakcbone'):
        ModuleTypeOptimConstructor({}, dict(lr_mult={'bakcbone': 0.1})).groups(model, 1.0, 0.1)
    with pytest.raises(KeyError, match='custom_keys'):
        ModuleTypeOptimConstructor({}, dict(custom_keys={}))


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
