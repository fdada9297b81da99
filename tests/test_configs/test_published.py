"""Published Mask2Former configs against the released models: names, shapes, counts, settings."""
import json

import pytest
import torch

from mmpanseg.analysis import count_parameters
from mmpanseg.checkpoints import convert_mask2former
from mmpanseg.engine.optim_constructor import ModuleTypeOptimConstructor

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
def test_optimiser_groups(golden, repo_root, build, name, groups):
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
