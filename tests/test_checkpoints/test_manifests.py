"""Full-size checkpoints: tensors of the published names and shapes fill our models, all of them."""
import json

import pytest
from mmengine.config import Config

from mmpanseg.checkpoints import check_fit, convert, empty_model
from mmpanseg.checkpoints.class_order import PUBLISHED_THINGS, find_class_order

MASK2FORMER = {
    'R50': 'r50_8xb2-lsj-50e', 'R101': 'r101_8xb2-lsj-50e',
    'swin_tiny': 'swin-t-p4-w7-224_8xb2-lsj-50e', 'swin_small': 'swin-s-p4-w7-224_8xb2-lsj-50e',
    'swin_base': 'swin-b-p4-w12-384_8xb2-lsj-50e',
    'swin_large': 'swin-l-p4-w12-384-in21k_16xb1-lsj-100e'}
# criterion weights follow from the config
CRITERION = {'criterion.empty_weight'}


def num_classes(dataset, task, count):
    """Numbers of things and stuff."""
    if task == 'instance':
        return count, 0
    if task == 'semantic':
        return 0, count
    things = 80 if dataset == 'COCO' else len(
        PUBLISHED_THINGS[dataset.split()[0].lower().replace('-', '')][1])
    return things, count - things


def model(repo_root, config, things=80, stuff=53, num_queries=None):
    cfg = Config.fromfile(repo_root / 'configs' / config)
    cfg.model.num_things_classes, cfg.model.num_stuff_classes = things, stuff
    cfg.model.test_cfg = None
    if num_queries is not None:
        cfg.model.panoptic_head.num_queries = num_queries
    return empty_model(cfg)


def test_every_mask2former(golden, repo_root, published):
    index = json.loads((golden / 'mask2former/manifest_index.json').read_text())['configs']
    assert len(index) == 47
    for name, entry in index.items():
        state = published(f'mask2former/{entry["manifest"]}', entry.get('shape_overrides'))
        things, stuff = num_classes(entry['dataset'], entry['task'], entry['num_classes'])
        backbone = next(b for b in MASK2FORMER if b in name)
        ours = model(
            repo_root, f'mask2former/mask2former_{MASK2FORMER[backbone]}_coco-panoptic.py', things,
            stuff, entry['num_queries'])
        result = convert(state, class_order=find_class_order(things, stuff))
        assert result.source == 'mask2former'
        check_fit(result, ours)
        assert result.unused.keys() == CRITERION & state.keys(), name


@pytest.mark.parametrize('task, things, stuff', [('panoptic', 80, 53), ('instance', 80, 0)])
def test_mp_former(repo_root, published, task, things, stuff):
    state = published(f'mp_former/manifest_r50_coco_{task}.json')
    result = convert(state)
    assert result.source == 'mp_former'
    check_fit(result, model(
        repo_root, 'mp_former/mp_former_r50_released-code_8xb2-lsj-12e_coco-panoptic.py', things,
        stuff))
    assert result.unused.keys() == CRITERION & state.keys()
