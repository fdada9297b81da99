"""Configs with mistakes are errors at build whose text names key and fix."""
import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from torch import nn

from mmpanseg.models.segmentors.feature_map_check import feature_map_channels
from mmpanseg.registry import MODELS

from ..systems import SYSTEMS, VARIANTS, batch, build

CHANNELS = dict(panoptic_segformer=[16, 32, 64])


def fails(name, error, text, parts=None, **options):
    with pytest.raises(error, match=text):
        build(name, parts=parts, **options)


@pytest.mark.parametrize('name', SYSTEMS)
def test_maps_and_channels(name):
    right = CHANNELS.get(name, [8, 16, 32, 64])
    wrong = [*right[:-1], 512]
    fails(name, ValueError, rf'model.backbone \(\w*ResNet\) returns maps of \{right} channels, but '
          rf'model.panoptic_head.in_channels=\{wrong}: set that to', dict(
              panoptic_head=dict(in_channels=wrong)))
    fails(name, ValueError, rf'returns maps of \[16, 64\] .*, or select {len(right)} maps with '
          'model.backbone.out_indices', dict(backbone=dict(out_indices=(1, 3))))
    fails(name, ValueError, f'returns maps of .* or select {len(right) + 1} maps', dict(
        panoptic_head=dict(in_channels=[8, *right])))
    fails(name, ValueError, "type='.*ResNet' cannot be built with its options: "
          r'assert len\(strides\) == len\(dilations\)', dict(backbone=dict(strides=(1, 2, 2))))


@pytest.mark.parametrize('name', SYSTEMS)
def test_kinds_and_names(name):
    def head(**options):
        return dict(panoptic_head=options)
    fails(name, TypeError, "num_queries='100' of mmpanseg.* has the wrong type str: it must be int",
          head(num_queries='100'))
    fails(name, ValueError, 'num_queries=0 must be at least 1', head(num_queries=0))
    fails(name, TypeError, 'pixel_decoder=3 .* must be dict', head(pixel_decoder=3))
    fails(name, ValueError, "type='KMaXDeepLabHead' is unknown: did you mean "
          "'mmpanseg.KMaXDeepLabHead'", head(type='KMaXDeepLabHead'))
    fails(name, ValueError, "type='mmpanseg.KMaxPixelDecoder' is unknown: did you mean "
          "'mmpanseg.KMaXPixelDecoder'", head(pixel_decoder=dict(type='mmpanseg.KMaxPixelDecoder')))
    fails(name, ValueError, 'does custom_imports list the module that registers it',
          head(type='Qqqqq'))
    fails(name, ValueError, "'Resnet' is unknown: did you mean 'ResNet'",
          dict(backbone=dict(type='Resnet')))
    fails(name, ValueError, "'DetDataPreprocesor' is unknown: did you mean 'DetDataPreprocessor'",
          dict(data_preprocessor=dict(type='DetDataPreprocesor')))
    fails(name, ValueError, 'cannot be built with its options: invalid depth 18 for resnet',
          dict(backbone=dict(depth='18')))
    config = dict(VARIANTS[name], type='mmpanseg.MaskTransformer', num_stuff_classes=1)
    for registry, owner in ((MODELS, 'mmpanseg.MaskTransformer'), (MMDET_MODELS, 'model')):
        with pytest.raises(TypeError, match=f"num_things_classes='2' of {owner} .* must be int"):
            registry.build(dict(config, num_things_classes='2'))


@pytest.mark.parametrize('name', SYSTEMS)
@pytest.mark.parametrize('things, stuff', [(0, 4), (4, 0), (1, 0), (0, 1)])
def test_without_things_or_without_stuff(name, things, stuff):
    if name == 'panoptic_segformer' and not things:
        fails(name, ValueError, 'set panoptic_head.stuff_mask_decoder=None', things=0, stuff=stuff)
    parts = {} if things else dict(panoptic_head=dict(stuff_mask_decoder=None))
    model = build(name, things, stuff, parts if 'segformer' in name else None)
    data = batch((40, 50), (64, 33), classes=things + stuff)
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    assert sum(losses.values()).isfinite()
    sample = model.eval().test_step(batch((40, 50)))[0]
    assert all((info['label'] < things) == info['isthing']
               for info in sample.pred_panoptic_seg.segments_info)
    assert ('pred_instances' in sample) == (things > 0)
    if not things:
        fails(name, ValueError, 'instance_on=True needs classes that are things', things=0,
              instance_on=True)


@pytest.mark.parametrize('name', VARIANTS)
def test_the_look_at_a_backbone_changes_nothing(name):
    backbone = build(name).backbone
    backbone.train()
    modes = [module.training for module in backbone.modules()]
    state = {key: value.clone() for key, value in backbone.state_dict().items()}
    generator = torch.get_rng_state()
    found = feature_map_channels(backbone, 3)
    assert torch.equal(generator, torch.get_rng_state())
    assert modes == [module.training for module in backbone.modules()]
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())
    with torch.no_grad():
        assert found == [x.shape[1] for x in backbone(torch.zeros(2, 3, 64, 64))]


def test_backbones_that_cannot_run_here_are_not_looked_at():
    class Fails(nn.Module):
        def forward(self, x):
            raise NotImplementedError('needs a GPU')

    assert feature_map_channels(Fails(), 3) is None
