"""The backbones against the published implementations' outputs and parameters."""
import json

import pytest
import torch

from mmpanseg.checkpoints.key_map import rename
from mmpanseg.checkpoints.kmax_backbones import backbone_rules
from mmpanseg.models.backbones import ConvNeXt, KMaXResNet

NORM = dict(type='BN', eps=1e-3, momentum=0.01)


@pytest.fixture(scope='module')
def backbones(golden):
    return torch.load(golden / 'kmax_deeplab/backbones.pth', weights_only=True)


def load(model, state_dict):
    converted = rename({f'backbone.{k}': v for k, v in state_dict.items()}, backbone_rules())
    ours = {key.removeprefix('backbone.'): value for key, value in converted.items()}
    missing, unexpected = model.load_state_dict(ours, strict=False)
    assert not unexpected
    assert all(key.endswith('num_batches_tracked') for key in missing)
    model.eval()
    return model


def assert_close(ours, expected):
    assert len(ours) == len(expected)
    for map_, reference in zip(ours, expected):
        assert map_.shape == reference.shape
        assert (map_ - reference).abs().max() / max(1, reference.abs().max()) < 1e-5


def build(name, settings):
    if name == 'resnet50':
        return KMaXResNet(
            50, stem_channels=settings['stem_channels'], base_channels=settings['width_per_group'],
            with_stem=True, norm_cfg=NORM)
    return ConvNeXt((settings['depths'], settings['dims']), with_stem=True)


@pytest.mark.parametrize('name', ['resnet50', 'convnext'])
def test_outputs(backbones, name):
    case = backbones[name]
    model = load(build(name, case['settings']), case['state_dict'])
    with torch.no_grad():
        ours = model(case['inputs'])
    assert_close(ours, case['outputs'].values())


@pytest.mark.parametrize('name, build_full', [
    ('r50', lambda: KMaXResNet(50, norm_cfg=NORM)),
    ('convnext_t', lambda: ConvNeXt('tiny')), ('convnext_s', lambda: ConvNeXt('small')),
    ('convnext_b', lambda: ConvNeXt('base')), ('convnext_l', lambda: ConvNeXt('large'))])
def test_names_and_shapes(golden, name, build_full):
    manifest = json.loads((golden / f'kmax_deeplab/manifest_{name}.json').read_text())
    with torch.device('meta'):
        model = build_full()
        state = {key: torch.empty(entry[0]) for key, entry in manifest['parameters'].items()
                 if key.startswith('backbone.')}
    ours = rename(state, backbone_rules())
    expected = {f'backbone.{key}': value.shape for key, value in model.named_parameters()}
    assert {key: value.shape for key, value in ours.items()} == expected
    assert sum(map(torch.Tensor.numel, model.parameters())) == (
        manifest['parameter_counts']['backbone'])
