"""Every config builds; the published ones have the published parameters."""
import json

import pytest
import torch
from mmengine.config import Config

from mmpanseg.checkpoints import convert_mask2former
from mmpanseg.registry import MODELS

COCO = 'configs/mask2former/mask2former_{}_8xb2-lsj-50e_coco-panoptic.py'


def build(path):
    config = Config.fromfile(path)
    config.model.backbone.init_cfg = None  # no download
    with torch.device('meta'):
        return MODELS.build(config.model)


def test_every_config_builds(repo_root):
    paths = [*repo_root.glob('configs/[a-z]*/*.py'), *repo_root.glob('projects/*/configs/*.py')]
    assert len(paths) >= 4
    for path in paths:
        assert sum(p.numel() for p in build(path).parameters()) > 1e6


@pytest.mark.parametrize('backbone, millions', [('r50', 43.984), ('r101', 62.924)])
def test_parameters_are_the_published_ones(repo_root, golden, backbone, millions):
    model = build(repo_root / COCO.format(backbone))
    manifest = json.loads(
        (golden / f'mask2former/manifest_coco_panoptic_{backbone.upper()}.json').read_text())
    state = {name: torch.empty(shape, device='meta')
             for kind in ('parameters', 'buffers') for name, shape in shapes(manifest[kind])}
    ours = convert_mask2former(state)
    missing, unexpected = model.load_state_dict(ours, strict=False, assign=True)
    assert not unexpected
    assert all(name.endswith('num_batches_tracked') for name in missing)
    # published models keep the constants of frozen batch norms as buffers
    count = sum(p.numel() for name, p in model.named_parameters()
                if not ('backbone' in name and ('bn' in name or 'downsample.1' in name)))
    assert round(count / 1e6, 3) == millions


def shapes(entries):
    if isinstance(entries, dict):
        return entries.items()
    return [(entry['name'], entry['shape']) for entry in entries]
