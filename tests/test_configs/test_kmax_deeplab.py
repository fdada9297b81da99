"""kMaX-DeepLab's configs against the published schedule, optimiser settings and sizes."""
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from mmpanseg.analysis import count_flops
from mmpanseg.checkpoints.kmax_deeplab import convert_kmax_deeplab
from mmpanseg.engine.optimizers import ModuleTypeOptimConstructor

FILES = {'coco': 'kmax_150k_coco', 'cityscapes': 'kmax_60k_cityscapes', 'ade20k': 'kmax_100k'}


@pytest.mark.parametrize('data', FILES)
def test_learning_rate(repo_root, golden, data):
    path = golden / 'kmax_deeplab/manifest_lr_schedule.json'
    published = json.loads(path.read_text())[data]
    config = Config.fromfile(repo_root / f'configs/_base_/schedules/{FILES[data]}.py')
    lr = config.optim_wrapper.optimizer.lr
    assert (lr, config.train_cfg.max_iters) == (published['base_lr'], published['max_iters'])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    schedulers = [PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optimizer))
                  for scheduler in config.param_scheduler]
    optimizer.step()
    for iteration in range(config.train_cfg.max_iters):
        expected = published['learning_rate_at_iteration'].get(str(iteration))
        if expected is not None:
            assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, rel=1e-6)
        for scheduler in schedulers:
            scheduler.step()


COCO = '{}_32xb2-150k_coco-panoptic'
MANIFESTS = {
    'r50': COCO.format('r50'),
    **{f'convnext_{size}': COCO.format(f'convnext-{size}-in22k') for size in 'tsbl'},
    'r50_cityscapes': 'r50_32xb1-60k_cityscapes-panoptic',
    'convnext_l_cityscapes': 'convnext-l-in22k_32xb1-60k_cityscapes-panoptic',
    'r50_ade20k': 'r50_32xb2-100k_ade20k-panoptic',
    'convnext_l_ade20k': 'convnext-l-in22k_32xb2-100k_ade20k-panoptic'}


@pytest.mark.parametrize('manifest, name', MANIFESTS.items())
def test_names_and_optimiser_settings(repo_root, golden, build, manifest, name):
    published = json.loads((golden / f'kmax_deeplab/manifest_{manifest}.json').read_text())
    config, model = build(repo_root / f'configs/kmax_deeplab/kmax_deeplab_{name}.py')
    parameters = published['parameters']
    state = {key: torch.empty(shape, device='meta') for key, (shape, *_) in parameters.items()}
    ours = {}
    for key, value in state.items():
        (our_key, converted), = convert_kmax_deeplab({key: value}).items()
        ours[our_key] = (tuple(converted.shape), *parameters[key][1:])

    constructor = ModuleTypeOptimConstructor(
        config.optim_wrapper, config.optim_wrapper.paramwise_cfg)
    options = config.optim_wrapper.optimizer
    settings = {}
    for group in constructor.groups(model, options.lr, options.weight_decay):
        for parameter in group['params']:
            settings[parameter] = (round(group['lr'] / options.lr, 9), group['weight_decay'])
    assert ours == {key: (tuple(parameter.shape), *settings[parameter])
                    for key, parameter in model.named_parameters()}


ABLATION = 'ablations/kmax_deeplab_{}_32xb2-100k_coco-panoptic'


@pytest.mark.parametrize('name, millions, billions', [
    # official modules' totals to three digits, FLOPs at 1200 x 800 in the paper's tables
    ('kmax_deeplab_' + COCO.format('r50'), 56.580, 168),
    ('kmax_deeplab_' + COCO.format('r50_tensorflow'), 56.580, None),
    ('kmax_deeplab_' + COCO.format('max-s'), 74.416, 240),
    ('kmax_deeplab_' + COCO.format('convnext-b-in22k'), 121.513, 380),
    ('kmax_deeplab_' + COCO.format('convnext-l-in22k'), 231.837, 744),
    (ABLATION.format('r50'), 56.580, None),
    (ABLATION.format('r50_cross-attention'), 55.34, 165),
    (ABLATION.format('r50_dual-path-cross-attention'), 57.39, 175),
    (ABLATION.format('r50_dual-path-k-means'), 58.83, 176),
    (ABLATION.format('r50_1-1-1-decoders'), 50.79, 159),
    (ABLATION.format('r50_3-3-3-decoders'), 62.37, 176),
    (ABLATION.format('max-s_cross-attention'), 73.17, None),
    (ABLATION.format('max-s_dual-path-cross-attention'), 75.22, None),
    (ABLATION.format('max-s_dual-path-k-means'), 76.66, None),
    (ABLATION.format('max-s_1-1-1-decoders'), 68.62, None),
    (ABLATION.format('max-s_3-3-3-decoders'), 80.21, None)])
def test_parameters_and_flops(repo_root, build, monkeypatch, name, millions, billions):
    _, model = build(repo_root / f'configs/kmax_deeplab/{name}.py')
    # the paper leaves out the auxiliary head
    ours = sum(parameter.numel() for key, parameter in model.named_parameters()
               if not key.startswith('panoptic_head.semantic_head'))
    assert ours / 1e6 == pytest.approx(millions, abs=0.006)
    if billions is not None:
        # the paper counts without padding
        monkeypatch.setattr(model.data_preprocessor, 'size', (1, 1))
        monkeypatch.setattr(model.data_preprocessor, 'divisor', 1)
        assert count_flops(model, (800, 1200))['total'] / 1e9 == pytest.approx(billions, rel=0.015)


@pytest.mark.parametrize('fixed, size, padded', [
    pytest.param((1281, 1281), (800, 1200), (1281, 1281), marks=pytest.mark.slow),
    ((65, 65), (64, 96), (65, 97)),
    ((1, 1), (33, 40), (33, 65))])
def test_flops_are_counted_at_the_padded_size(repo_root, build, monkeypatch, fixed, size, padded):
    _, model = build(repo_root / f'configs/kmax_deeplab/kmax_deeplab_{COCO.format("r50")}.py')
    monkeypatch.setattr(model.data_preprocessor, 'size', fixed)
    found = count_flops(model, size)
    monkeypatch.setattr(model.data_preprocessor, 'size', (1, 1))
    monkeypatch.setattr(model.data_preprocessor, 'divisor', 1)
    assert found == count_flops(model, padded) != count_flops(model, size)
