"""Full-size checkpoints: tensors of the published names and shapes fill our models, all of them."""
import json
from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.config import Config

from mmpanseg.analysis import build_on_meta
from mmpanseg.checkpoints import SOURCES, check_fit, convert, to_mmdet
from mmpanseg.checkpoints.class_names import CheckpointClasses
from mmpanseg.checkpoints.class_order import find_class_order
from mmpanseg.datasets.metainfo import config_metainfo

# criterion weights follow from the config
CRITERION = {'criterion.empty_weight'}
BACKBONES = {'R50': 'r50', 'R101': 'r101', 'swin_tiny': 'swin-t-p4-w7-224',
             'swin_small': 'swin-s-p4-w7-224', 'swin_base_384': 'swin-b-p4-w12-384',
             'swin_base_IN21k': 'swin-b-p4-w12-384-in21k',
             'swin_large': 'swin-l-p4-w12-384-in21k'}


def fits(state, config, source, **options):
    """Convert and compare with the config's model; returns the keys that found no place."""
    cfg = Config.fromfile(config)
    model = cfg.model
    model.update(options)
    result = convert(state, class_order=find_class_order(
        SOURCES[source], CheckpointClasses(), config_metainfo(cfg)['classes'],
        model.num_things_classes, model.num_stuff_classes))
    assert result.source == source
    check_fit(result, build_on_meta(model))
    return set(result.unused)


@pytest.mark.slow
def test_every_mask2former(golden, repo_root, published):
    index = json.loads((golden / 'mask2former/manifest_index.json').read_text())['configs']
    # one config for each list of names and each data set
    index = {(entry['manifest'], entry['dataset'].split()[0]): (name, entry)
             for name, entry in index.items()}
    assert len({manifest for manifest, _ in index}) == 13
    for name, entry in index.values():
        state = published(f'mask2former/{entry["manifest"]}', entry.get('shape_overrides'))
        backbone = next(ours for theirs, ours in BACKBONES.items() if theirs in name)
        dataset = entry['dataset'].lower().split()[0].split('-')[0]
        config, = repo_root.glob('configs/mask2former/mask2former_'
                                 f'{backbone}_[0-9]*_{dataset}-{entry["task"]}.py')
        assert fits(state, config, 'mask2former') == CRITERION & state.keys(), name


@pytest.mark.parametrize('task, stuff', [('panoptic', 53), ('instance', 0)])
def test_mp_former(repo_root, published, task, stuff):
    state = published(f'mp_former/manifest_r50_coco_{task}.json')
    config = repo_root / (
        'configs/mp_former/mp_former_r50_released-code_8xb2-lsj-12e_coco-panoptic.py')
    assert fits(state, config, 'mp_former', num_stuff_classes=stuff) == CRITERION & state.keys()


@pytest.mark.parametrize('backbone, ours', [
    ('r50', 'r50'), ('r101', 'r101'), ('pvtv2b0', 'pvtv2-b0'), ('pvtv2b2', 'pvtv2-b2'),
    ('pvtv2b5', 'pvtv2-b5'), ('swinl', 'swin-l-p4-w7-224-in22k')])
def test_panoptic_segformer(repo_root, published, backbone, ours):
    state = published(f'panoptic_segformer/manifest_{backbone}.json')
    config = repo_root / ('configs/panoptic_segformer/panoptic_segformer_'
                          f'{ours}_released-code_8xb1-24e_coco-panoptic.py')
    assert fits(state, config, 'panoptic_segformer') == set()


@pytest.mark.parametrize('backbone, ours', [
    ('r50', 'r50_32xb2-150k_coco'), ('r50_cityscapes', 'r50_32xb1-60k_cityscapes'),
    ('r50_ade20k', 'r50_32xb2-100k_ade20k'),
    *((f'convnext_{size}', f'convnext-{size}-in22k_32xb2-150k_coco') for size in 'tsbl'),
    ('convnext_l_cityscapes', 'convnext-l-in22k_32xb1-60k_cityscapes'),
    ('convnext_l_ade20k', 'convnext-l-in22k_32xb2-100k_ade20k')])
def test_kmax_deeplab(repo_root, published, backbone, ours):
    state = published(f'kmax_deeplab/manifest_{backbone}.json')
    config = repo_root / f'configs/kmax_deeplab/kmax_deeplab_{ours}-panoptic.py'
    assert fits(state, config, 'kmax_deeplab') == set()


@pytest.mark.parametrize('manifest', [
    'mask2former/manifest_coco_panoptic_R50.json',
    'mask2former/manifest_coco_panoptic_swin_tiny.json',
    'mp_former/manifest_r50_coco_panoptic.json', 'panoptic_segformer/manifest_r50.json',
    'kmax_deeplab/manifest_r50.json'])
def test_every_value_arrives_once(published, manifest):
    """Tensors may be renamed, cut, joined and permuted, but no value is lost or changed."""
    state = {key: torch.randn(value.shape) for key, value in published(manifest).items()}
    result = convert(state)
    assert all(torch.equal(result.state_dict[ours], state[theirs])
               for ours, theirs in result.origin.items())
    used = [value for key, value in state.items() if key not in result.unused]
    made = [value for value in result.state_dict.values() if value.is_floating_point()]
    assert sum(map(torch.numel, made)) == sum(map(torch.numel, used))
    for power in (1, 2, 3):
        torch.testing.assert_close(sum(value.double().pow(power).sum() for value in made),
                                   sum(value.double().pow(power).sum() for value in used))


@pytest.mark.parametrize('theirs, ours', [
    ('r50_8xb2-lsj-50e_coco-panoptic', 'r50_8xb2-lsj-50e_coco-panoptic'),
    ('swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic', 'swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic')])
def test_mmdetection_both_ways(repo_root, theirs, ours):
    folder = Path(mmdet.__file__).parent / '.mim/configs/mask2former'
    if not folder.is_dir():
        pytest.skip('this mmdet comes without its configs')
    state = build_on_meta(
        Config.fromfile(folder / f'mask2former_{theirs}.py').model).state_dict()
    config = repo_root / f'configs/mask2former/mask2former_{ours}.py'
    assert fits(state, config, 'mmdet') == set()
    result = convert(state).state_dict
    assert all(result[key] is value for key, value in state.items())
    back = to_mmdet(result)
    assert {key: value.shape for key, value in back.items()} == {
        key: value.shape for key, value in state.items()}


def test_mp_former_with_swin(repo_root, published):
    """Released for Swin-L too; its names differ from Mask2Former's as they do for R50."""
    state = published('mask2former/manifest_coco_panoptic_swin_large.json')
    predictor = 'sem_seg_head.predictor.'
    del state[f'{predictor}query_embed.weight']
    state[f'{predictor}label_enc.weight'] = state[f'{predictor}class_embed.weight'][:-1]
    config = Config.fromfile(repo_root / (
        'configs/mp_former/mp_former_swin-l-p4-w12-384-in21k_16xb1-lsj-72e_coco-panoptic.py'))
    config.model.panoptic_head.query_pos = 'none'  # as in the released code
    result = convert(state)
    assert result.source == 'mp_former'
    check_fit(result, build_on_meta(config.model))
