"""The backbones against the published implementations' outputs and parameters."""
import json

import pytest
import torch
from torch import nn

from mmpanseg.checkpoints.key_map import rename
from mmpanseg.checkpoints.kmax_deeplab import backbone_rules
from mmpanseg.models.backbones import ConvNeXt, KMaXResNet, MaXS, PreActivatedResNet

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
        assert (map_ - reference).abs().max() / max(1, reference.abs().max()) < 2e-4


def build(name, settings):
    if name == 'resnet50':
        return KMaXResNet(
            50, stem_channels=settings['stem_channels'], base_channels=settings['width_per_group'],
            with_stem=True, norm_cfg=NORM)
    if name == 'max_s':
        base = int(64 * settings['width_multiplier'])
        return MaXS(settings['blocks'], base, settings['num_heads'], with_stem=True)
    return ConvNeXt((settings['depths'], settings['dims']), with_stem=True)


@pytest.mark.parametrize('name', ['resnet50', 'convnext', 'max_s'])
def test_outputs(backbones, name):
    case = backbones[name]
    model = load(build(name, case['settings']), case['state_dict'])
    with torch.no_grad():
        ours = model(case['inputs'])
    assert_close(ours, case['outputs'].values())


@pytest.mark.parametrize('build_strided', [
    lambda: KMaXResNet(50, stem_channels=4, base_channels=4, with_stem=True, norm_cfg=NORM),
    lambda: PreActivatedResNet(50, stem_channels=4, base_channels=4, with_stem=True,
                               norm_cfg=NORM),
    lambda: MaXS((1, 2, 2, 2), 8, 2, with_stem=True)])
@pytest.mark.parametrize('size', [(64, 64), (65, 65), (96, 128), (33, 47)])
@torch.no_grad()
def test_strided_layers_keep_every_second_position(build_strided, size):
    """Positions 0, 2, 4 ... of the map at full resolution: also where a side is even."""
    torch.manual_seed(0)
    model = build_strided()
    model.eval()
    image = torch.randn(1, 3, *size)
    strided = model(image)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.MaxPool2d)) and module.stride in (2, (2, 2)):
            module.stride = (1, 1)
            module.register_forward_hook(lambda *call: call[2][..., ::2, ::2])
    full = model(image)
    assert len(full) == len(strided) == 5
    for ours, expected in zip(strided, full):
        torch.testing.assert_close(ours, expected)
    assert strided[-1].shape[-2:] == tuple(-(-side // 32) for side in size)


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


def test_max_s_has_the_published_parameters(golden):
    manifest = json.loads((golden / 'kmax_deeplab/manifest_max_s_backbone.json').read_text())
    with torch.device('meta'):
        model = MaXS(with_stem=True)
    parts = {'stem': model.stem,
             **{f'stage{i + 2}': stage for i, stage in enumerate(model.stages)}}
    assert manifest['parameters_per_part'] == {
        name: sum(map(torch.Tensor.numel, part.parameters())) for name, part in parts.items()}
    blocks = [block for stage in model.stages for block in stage]
    assert len(blocks) == len(manifest['blocks'])
    for block, published in zip(blocks, manifest['blocks']):
        assert type(block).__name__.lower().startswith(published['type'])
        assert sum(p.numel() for p in block.parameters()) == published['parameters']
        assert 1 - block.drop_path.drop_prob == pytest.approx(
            published['drop_path_keep_probability'])


def test_max_s_sizes():
    image = torch.randn(1, 3, 65, 33)
    with_stem, without = MaXS(base_channels=8, with_stem=True), MaXS(base_channels=8)
    without.load_state_dict(with_stem.state_dict())
    with torch.no_grad():
        maps, fewer = with_stem.eval()(image), without.eval()(image)
    assert [tuple(x.shape[1:]) for x in maps] == [
        (16, 33, 17), (32, 17, 9), (64, 9, 5), (128, 5, 3), (256, 3, 2)]
    torch.testing.assert_close(fewer, maps[1:])
