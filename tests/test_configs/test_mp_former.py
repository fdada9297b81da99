"""MP-Former's configs: Mask2Former's but for the head, with the paper's lengths."""
import re

import pytest
from mmengine.config import Config

COCO_TRAIN_IMAGES = 118287
STEMS = {'lsj-12e': 'lsj-50e', 'lsj-36e': 'lsj-50e', 'lsj-72e': 'lsj-100e', '80k': '160k'}
# steps of the learning rate as the paper's appendix and the released configs give them
MILESTONES = {12: [73750, 81125], 36: [245000, 260000], 50: [327778, 355092],
              72: [472000, 511333]}


@pytest.fixture(scope='module')
def configs(repo_root):
    paths = [path for path in repo_root.glob('configs/mp_former/*.py') if 'scenes' not in path.name]
    assert len(paths) == 32
    return {path.stem: Config.fromfile(path) for path in paths}


@pytest.mark.slow
def test_only_head_and_length_differ_from_mask2former(repo_root, configs):
    for name, config in configs.items():
        if 'released-code' in name:
            continue
        base = name.replace('mp_former', 'mask2former')
        for ours, theirs in STEMS.items():
            base = base.replace(f'_{ours}_', f'_{theirs}_').replace(f'-{ours}_', f'-{theirs}_')
        base = Config.fromfile(repo_root / f'configs/mask2former/{base}.py')
        assert config.model.panoptic_head.pop('type') == 'mmpanseg.MPFormerHead'
        base.model.panoptic_head.pop('type')
        assert config.model == base.model, name
        for key in ('train_dataloader', 'val_dataloader', 'val_evaluator', 'optim_wrapper'):
            assert config[key] == base[key], (name, key)


def test_lengths(configs):
    for name, config in configs.items():
        steps = config.train_cfg.max_iters
        schedule = config.param_scheduler
        assert schedule.end == steps, name
        if 'coco' in name:
            epochs = int(re.search(r'-(\d+)e_', name)[1])
            assert abs(steps * 16 / COCO_TRAIN_IMAGES - epochs) < 0.5, name
            assert schedule.milestones == MILESTONES[epochs], name
        else:
            assert steps == 1000 * int(re.search(r'-(\d+)k_', name)[1]), name
            assert schedule.type == 'PolyLR'


def test_released_code_setting(configs):
    for task in ('panoptic', 'instance'):
        head = configs[f'mp_former_r50_released-code_8xb2-lsj-12e_coco-{task}'].model.panoptic_head
        assert head.query_pos == 'none'
        assert head.piloting == dict(
            num_groups=1, budget=None, mask_noise='none', label_flip='any')
