"""Blocks that are computed again: the same losses, gradients and statistics, less memory."""
import copy

import pytest
import torch
from mmengine.config import Config
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.parallel import DistributedDataParallel

from mmpanseg.engine.hooks.activation_checkpointing_hook import (
    ActivationCheckpointingHook,
    checkpoint_activations,
    find_modules,
    repeated_blocks,
    use_activation_checkpointing,
)

from ...processes import run_ranks
from ...test_models.systems import VARIANTS, batch, build

# with dropout, so that random numbers count
DROPOUT = dict(mask2former=dict(panoptic_head=dict(
    pixel_decoder=dict(dropout=0.1), transformer_decoder=dict(dropout=0.1))))
QUICK = ('mask2former', 'mp_former', 'panoptic_segformer', 'kmax_deeplab', 'kmax_deeplab_max_s')


def step(model: nn.Module, data: dict, bf16: bool = False) -> tuple[dict, dict, dict]:
    """Losses, gradients and buffers of a training step."""
    torch.manual_seed(1)
    with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
        losses = model(**data, mode='loss')
    sum(losses.values()).backward()
    module = getattr(model, 'module', model)
    return (losses, {name: parameter.grad for name, parameter in module.named_parameters()},
            dict(module.named_buffers()))


def assert_equal(found: tuple[dict, ...], expected: tuple[dict, ...]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys() and ours
        for name, value in theirs.items():
            assert (ours[name] is None) == (value is None), name
            assert value is None or torch.equal(ours[name], value), name


@pytest.mark.parametrize('bf16', [False, True])
@pytest.mark.parametrize('name', [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS])
def test_nothing_changes(name, bf16):
    plain = build(name, parts=DROPOUT.get(name)).train()
    data = plain.data_preprocessor(batch((64, 64), (64, 64)), True)
    saving = copy.deepcopy(plain)
    blocks = repeated_blocks(saving)
    assert {block.split('.')[0] for block in blocks} == {'backbone', 'panoptic_head'}
    for block in blocks:
        checkpoint_activations(saving.get_submodule(block))
    assert_equal(step(saving, data, bf16), step(plain, data, bf16))
    assert saving.state_dict().keys() == plain.state_dict().keys()


def in_process(rank: int) -> tuple:
    from mmengine.registry import init_default_scope
    init_default_scope('mmdet')
    plain = build('mask2former').train()
    data = plain.data_preprocessor(batch((64, 64), (64, 64)), True)
    data = dict(inputs=data['inputs'][rank:rank + 1], data_samples=data['data_samples'][rank:][:1])
    saving = copy.deepcopy(plain)
    for block in repeated_blocks(saving):
        checkpoint_activations(saving.get_submodule(block))
    results = [step(DistributedDataParallel(model), data) for model in (saving, plain)]
    assert_equal(*results)
    return results[0][1]


def test_several_processes(tmp_path):
    """Each also compares its own step with one that stores all."""
    one, two = run_ranks(in_process, 2, tmp_path / 'ranks')
    assert_equal((one, ), (two, ))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Tanh())

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        return scale * self.layers(x)


def test_only_inputs_are_stored_and_only_in_training():
    block, x = Block(), torch.randn(4, 8)  # an image, which needs no gradient

    def stored() -> int:
        saved = []
        with saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda t: t):
            block(x, scale=2.0).sum().backward()
        return len(saved)

    assert stored() > 4
    block.zero_grad()
    checkpoint_activations(block)
    checkpoint_activations(block)  # once is enough
    assert stored() == 1  # the input
    assert block.layers[0].weight.grad is not None
    before = block.layers[1].running_mean.clone()
    block.eval()
    with torch.no_grad():
        torch.testing.assert_close(block(x, scale=2.0), 2 * block(x))
    assert torch.equal(block.layers[1].running_mean, before)
    block(x).sum().backward()  # evaluation with gradients stores all
    assert stored() > 4


def test_config_key(tiny_run, log_of):
    runner = tiny_run(activation_checkpointing=['backbone.layer*', '*encoder.layers.0'],
                      train_cfg__max_iters=2)
    runner.train()
    names = [f'backbone.layer{k}' for k in (1, 2, 3, 4)] + [
        'panoptic_head.pixel_decoder.encoder.layers.0']
    assert f'Activation checkpointing of 5 modules: {", ".join(names)}' in log_of(runner)
    plain = tiny_run(activation_checkpointing=False, train_cfg__max_iters=2)
    plain.train()
    for name, value in plain.model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[name], value), name


def test_true_is_every_block():
    cfg = Config(dict(activation_checkpointing=True, custom_hooks=[dict(type='EMAHook')]))
    use_activation_checkpointing(cfg)
    assert cfg.custom_hooks == [dict(type='EMAHook'),
                                dict(type='mmpanseg.ActivationCheckpointingHook')]
    use_activation_checkpointing(cfg)
    assert len(cfg.custom_hooks) == 2
    blocks = repeated_blocks(build('mask2former'))
    assert blocks == [f'backbone.layer{k}.{i}' for k in (1, 2, 3, 4) for i in (0, 1)] + [
        'panoptic_head.pixel_decoder.encoder.layers.0',
        *(f'panoptic_head.transformer_decoder.layers.{k}' for k in (0, 1))]


def test_names_that_fit_nothing():
    model = build('mask2former')
    with pytest.raises(ValueError, match="no module of the model is named 'backbone.stages.0'; "
                                         'there are .*backbone.layer1'):
        find_modules(model, ['backbone.stages.0'])
    with pytest.raises(ValueError, match=r'encoder.layers is a list of modules.*layers\.\*'):
        find_modules(model, ['panoptic_head.pixel_decoder.encoder.layers'])
    assert find_modules(model, ['backbone', 'backbone.layer1']) == ['backbone']
    for value in (3, dict(a=1), [1]):
        with pytest.raises(ValueError, match='must be True, False, or a list of names'):
            use_activation_checkpointing(Config(dict(activation_checkpointing=value)))
    with pytest.raises(ValueError, match='must be True'):
        ActivationCheckpointingHook(4)
