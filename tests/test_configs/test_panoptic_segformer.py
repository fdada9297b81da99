"""Configs of Panoptic SegFormer against the released models and recipes."""
import json

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmpanseg.analysis import count_flops
from mmpanseg.checkpoints import convert_panoptic_segformer
from mmpanseg.engine.parameter_names import check_paramwise

SWIN = 'swin-l-p4-w7-224-in22k'
RELEASED = {'r50': 'r50', 'r101': 'r101', 'pvtv2b0': 'pvtv2-b0', 'pvtv2b2': 'pvtv2-b2',
            'pvtv2b5': 'pvtv2-b5', 'swinl': SWIN}


def folder(repo_root):
    return repo_root / 'configs/panoptic_segformer'


@pytest.mark.parametrize('manifest', [
    'r50', 'pvtv2b0', 'swinl', *(pytest.param(name, marks=pytest.mark.slow)
                                 for name in ('r101', 'pvtv2b2', 'pvtv2b5'))])
def test_tensors_of_the_released_models(golden, repo_root, build, manifest):
    content = json.loads(
        (golden / f'panoptic_segformer/manifest_{manifest}.json').read_text())
    config, model = build(folder(repo_root) / (
        f'panoptic_segformer_{RELEASED[manifest]}_released-code_8xb1-24e_coco-panoptic.py'))
    tensors = {name: torch.empty(shape, device='meta') for name, shape in
               (content['parameters'] | content['buffers']).items()}
    missing, unexpected = model.load_state_dict(
        convert_panoptic_segformer(tensors), strict=False, assign=True)
    assert not unexpected
    assert all(key.endswith(('num_batches_tracked', 'relative_position_index'))
               for key in missing), missing
    assert sum(p.numel() for p in model.parameters()) == content['total_params']
    fusion = config.model.panoptic_fusion_head
    assert fusion.t_cnf == (0.3 if manifest in ('pvtv2b5', 'swinl') else 0.25)
    assert (fusion.alpha, fusion.beta, fusion.t_keep) == (1, 2, (0.6, 0.8))


def test_learning_rates(repo_root, build):
    config, model = build(folder(repo_root) / 'panoptic_segformer_r50_8xb1-24e_coco-panoptic.py')
    check_paramwise(config.optim_wrapper, model)  # names in it exist
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    names = {parameter: name for name, parameter in model.named_parameters()}
    slow = 0
    for group in wrapper.optimizer.param_groups:
        assert group['weight_decay'] == 1e-4 and group['betas'] == (0.9, 0.999)
        for parameter in group['params']:
            name = names[parameter]
            tenth = name.startswith('backbone') or any(
                part in name for part in ('sampling_offsets', 'reference_points'))
            assert group['lr'] == pytest.approx(1.4e-5 if tenth else 1.4e-4), name
            slow += tenth
    assert slow > 12
    assert wrapper.clip_grad_kwargs == dict(max_norm=0.1, norm_type=2)


@pytest.mark.parametrize('name, epochs, drop, rate', [
    ('r50_8xb1-12e', 12, 8, 1.4e-4), ('r101_8xb1-24e', 24, 18, 1.4e-4),
    ('pvtv2-b2_8xb1-50e', 50, 40, 1.8e-4)])
def test_schedules(repo_root, build, name, epochs, drop, rate):
    path = folder(repo_root) / f'panoptic_segformer_{name}_coco-panoptic.py'
    config, _ = build(path)
    assert config.train_cfg.max_epochs == config.param_scheduler.end == epochs
    assert config.param_scheduler.milestones == [drop]
    assert config.optim_wrapper.optimizer.lr == rate
    assert config.train_dataloader.sampler == dict(type='DefaultSampler', shuffle=True)
    assert config.train_dataloader.batch_size == 1
    assert config.model.data_preprocessor.pad_size_divisor == 1
    assert [step.type for step in config.train_dataloader.dataset.pipeline] == [
        'LoadImageFromFile', 'mmpanseg.LoadPanopticMap', 'RandomFlip', 'RandomChoice',
        'mmpanseg.PackPanopticInputs']


def test_the_first_version_needs_no_stuff_decoder(repo_root, build):
    config, model = build(folder(repo_root) / (
        'panoptic_segformer-v1_r50_8xb1-50e_coco-panoptic.py'))
    head = model.panoptic_head
    assert head.stuff_mask_decoder is None and head.num_location_classes == 133
    assert len(head.mask_decoder.layers) == 4 and head.num_queries == 400
    assert config.optim_wrapper.optimizer.lr == 1.8e-4
    assert [step.type for step in config.train_dataloader.dataset.pipeline][3] == (
        'RandomChoiceResize')


def test_mask_decoders_take_about_30_gflops(repo_root, build):
    """Appendix B.3, for an image of 1200 x 800."""
    _, model = build(folder(repo_root) / 'panoptic_segformer_r50_8xb1-24e_coco-panoptic.py')
    flops = count_flops(model, (800, 1200))
    assert flops['mask decoder'] + flops['stuff mask decoder'] == pytest.approx(33e9, rel=0.15)


def test_camvid_models_differ_in_the_queries_only(repo_root, build):
    decoupled, joint = (build(
        repo_root / f'projects/camvid/configs/panoptic_segformer_r18_{name}camvid-panoptic.py')
        for name in ('1xb4-900i_', 'joint-queries_1xb4-900i_'))
    assert decoupled[1].panoptic_head.num_queries + 7 == joint[1].panoptic_head.num_queries
    assert joint[1].panoptic_head.stuff_mask_decoder is None
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader'):
        assert decoupled[0][key] == joint[0][key]
