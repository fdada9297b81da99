"""Feature pyramid pixel decoders against the published ones and against mmdet's."""
import pytest
import torch

from mmpanseg.checkpoints import convert_mask2former
from mmpanseg.registry import MODELS

PREFIX = 'panoptic_head.pixel_decoder.'


@pytest.mark.parametrize('name, kind', [
    ('pixel_decoder_fpn', 'FPNPixelDecoder'),
    ('pixel_decoder_transformer_fpn', 'TransformerFPNPixelDecoder')])
def test_matches_published(golden, name, kind):
    fixture = torch.load(golden / 'mask2former' / f'{name}.pth', weights_only=True)
    config = fixture['config']
    encoder = {} if kind == 'FPNPixelDecoder' else dict(
        num_layers=config['enc_layers'], num_heads=config['nheads'],
        feedforward_channels=config['dim_feedforward'])
    decoder = MODELS.build(dict(
        type=f'mmpanseg.{kind}', in_channels=config['in_channels'], channels=config['conv_dim'],
        out_channels=config['mask_dim'], **encoder)).eval()
    state = convert_mask2former(
        {f'sem_seg_head.pixel_decoder.{key}': x for key, x in fixture['state_dict'].items()})
    decoder.load_state_dict(
        {key.removeprefix(PREFIX): value for key, value in state.items()}, strict=True)
    mask_features, maps = decoder([fixture['inputs'][f'res{i}'] for i in range(2, 6)])
    outputs = fixture['outputs']
    torch.testing.assert_close(mask_features, outputs['mask_features'], **fixture['tolerance'])
    for found, expected in zip(maps, outputs['multi_scale_features'], strict=True):
        torch.testing.assert_close(found, expected, **fixture['tolerance'])


def test_mmdet_parameters_load_and_give_the_same():
    torch.manual_seed(0)
    theirs = MODELS.build(dict(
        type='PixelDecoder', in_channels=[4, 8, 12, 16], feat_channels=32, out_channels=20))
    theirs.init_weights()
    ours = MODELS.build(dict(
        type='mmpanseg.FPNPixelDecoder', in_channels=[4, 8, 12, 16], channels=32, out_channels=20))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    features = [torch.randn(2, width, size, size + 1) for width, size in (
        (4, 17), (8, 9), (12, 5), (16, 3))]
    expected, _ = theirs(features, batch_img_metas=[])
    torch.testing.assert_close(ours(features)[0], expected)


def test_initial_values_have_the_published_bounds():
    torch.manual_seed(0)
    decoder = MODELS.build(dict(type='mmpanseg.FPNPixelDecoder', in_channels=[8, 8, 8, 8],
                                channels=32, out_channels=20))
    decoder.init_weights()
    # Kaiming uniform with a = 1: +- sqrt(3 / fan in)
    bound = (3 / (32 * 9)) ** 0.5
    weight = decoder.mask_feature.weight.detach()
    assert weight.abs().max() <= bound and weight.std() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not decoder.mask_feature.bias.any()
