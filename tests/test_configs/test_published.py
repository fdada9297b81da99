"""Published Mask2Former configs against the released models: names, shapes, counts, settings."""
import json

import pytest
import torch

from mmpanseg.analysis import count_parameters
from mmpanseg.checkpoints import convert_mask2former
from mmpanseg.engine.optimizers import ModuleTypeOptimConstructor

SWIN = {
    'swin_tiny': 'swin-t-p4-w7-224',
    'swin_small': 'swin-s-p4-w7-224',
    'swin_base_384': 'swin-b-p4-w12-384',
    'swin_base_IN21k': 'swin-b-p4-w12-384-in21k',
    'swin_large_IN21k': 'swin-l-p4-w12-384-in21k'}
SCHEDULES = {
    'coco': 'lsj-50e', 'ade20k': '160k', 'cityscapes': '90k', 'mapillary': '300k'}


def our_name(published: str) -> str:
    """Path in configs/mask2former of a released config's path."""
    data, task, *_, file = published.removeprefix('configs/').split('/')
    data, task = data.removesuffix('-vistas'), task.removesuffix('-segmentation')
    backbone = file.split('_', 1)[1].split('_bs16')[0]
    backbone = backbone.removesuffix('_384') if 'IN21k' in backbone else backbone
    schedule, batch = SCHEDULES[data], '8xb2'
    if 'large' in backbone:
        schedule, batch = schedule.replace('50e', '100e'), '16xb1'
    return f'mask2former_{SWIN.get(backbone, backbone.lower())}_{batch}-{schedule}_{data}-{task}.py'


@pytest.fixture(scope='module')
def released(golden):
    """Every released config by our name."""
    index = json.loads((golden / 'mask2former/manifest_index.json').read_text())
    return {our_name(path): entry for path, entry in index['configs'].items()}


def state_of(golden, entry):
    """Tensors without storage under the released names."""
    manifest = json.loads((golden / 'mask2former' / entry['manifest']).read_text())
    shapes = manifest['parameters'] | manifest['buffers'] | entry['shape_overrides']
    return {name: torch.empty(shape, device='meta') for name, shape in shapes.items()}


@pytest.mark.slow
def test_tensors_and_counts(golden, repo_root, released, build):
    for name, entry in released.items():
        config, model = build(repo_root / 'configs/mask2former' / name)
        missing, unexpected = model.load_state_dict(
            convert_mask2former(state_of(golden, entry)), strict=False, assign=True)
        assert not unexpected, name
        # computed from the window size, or counted in training
        assert all(key.endswith(('num_batches_tracked', 'relative_position_index'))
                   for key in missing), name
        assert count_parameters(model)['total'] == entry['total_parameters'], name
        head = config.model.panoptic_head
        assert model.num_classes == entry['num_classes'], name
        assert head.num_queries == entry['num_queries'], name
        batch = config.train_dataloader.batch_size * int(name.split('xb')[0].split('_')[-1])
        assert batch == config.auto_scale_lr.base_batch_size == 16, name


@pytest.mark.parametrize('name, groups', [
    ('swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic', 'coco_panoptic_swin_tiny'),
    ('r50_8xb2-90k_cityscapes-panoptic', 'cityscapes_panoptic_R50_syncbn')])
def test_optimizer_groups(golden, repo_root, build, name, groups):
    groups = json.loads((golden / 'mask2former/optimizer_groups.json').read_text())[groups]
    config, model = build(repo_root / f'configs/mask2former/mask2former_{name}.py')
    constructor = ModuleTypeOptimConstructor({}, config.optim_wrapper.paramwise_cfg)
    names = {parameter: name for name, parameter in model.named_parameters()}
    optimizer = config.optim_wrapper.optimizer
    found = {(round(group['lr'], 9), group['weight_decay']): {names[p] for p in group['params']}
             for group in constructor.groups(model, optimizer.lr, optimizer.weight_decay)}
    expected = {(round(group['lr'], 9), group['weight_decay']): set(convert_mask2former(
        {name: torch.zeros(1, 4) for name in group['names']})) for group in groups['groups']}
    assert found == expected


@pytest.mark.parametrize('name, millions', [
    ('r50_8xb2-lsj-50e_coco-panoptic', 44), ('r101_8xb2-lsj-50e_coco-panoptic', 63),
    ('swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic', 47),
    ('swin-s-p4-w7-224_8xb2-lsj-50e_coco-panoptic', 69),
    ('swin-b-p4-w12-384_8xb2-lsj-50e_coco-panoptic', 107),
    ('swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco-panoptic', 216),
    ('swin-l-p4-w12-384-in21k_fapn_16xb1-160k_ade20k-semantic', 217)])
def test_parameters_of_the_papers_tables(repo_root, build, name, millions):
    _, model = build(repo_root / f'configs/mask2former/mask2former_{name}.py')
    assert round(count_parameters(model)['total'] / 1e6) == millions


@pytest.mark.slow
def test_recipes(repo_root, build, released):
    """Lengths, learning rates, thresholds and outputs (Section 4.1, appendix B)."""
    iterations = {'50e': 368750, '100e': 737500, '160k': 160000, '90k': 90000, '300k': 300000}
    outputs = {'panoptic': (True, True, True), 'instance': (False, True, False),
               'semantic': (False, False, True)}
    for name, entry in released.items():
        config, model = build(repo_root / 'configs/mask2former' / name)
        length = name.split('_')[2].split('-')[-1]
        scheduler = config.param_scheduler
        assert config.train_cfg.max_iters == iterations[length], name
        assert scheduler.end == config.train_cfg.max_iters, name
        if length in ('50e', '100e'):
            drops = [step / scheduler.end for step in scheduler.milestones]
            assert drops == pytest.approx([8 / 9, 26 / 27], abs=1e-5), name
        else:
            assert (scheduler.type, scheduler.power, scheduler.eta_min) == ('PolyLR', 0.9, 0), name
        on = model.outputs
        mapillary = entry['dataset'].startswith('Mapillary')
        expected = outputs[entry['task']]
        if mapillary and entry['task'] == 'panoptic':
            expected = (True, False, True)
        assert (on.panoptic_on, on.instance_on, on.semantic_on) == expected, name
        if entry['task'] == 'panoptic':
            fusion = config.model.panoptic_fusion_head
            assert fusion.object_mask_thr == (0.0 if mapillary else 0.8), name
            assert fusion.iou_thr == 0.8, name
        if entry['backbone_norm'] == 'SyncBN':
            assert config.model.backbone.norm_cfg == dict(type='SyncBN', requires_grad=True), name
            assert not config.model.backbone.norm_eval, name
