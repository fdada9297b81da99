"""PVTv2 and Swin of Panoptic SegFormer against the published outputs."""
import pytest
import torch
from mmdet.registry import MODELS

from mmpanseg.checkpoints.panoptic_segformer import convert_panoptic_segformer


def load(golden, name):
    data = torch.load(golden / f'panoptic_segformer/{name}_backbone.pth', weights_only=True)
    weights = {f'backbone.{key}': value for key, value in data['state_dict'].items()}
    weights = {key.removeprefix('backbone.'): value
               for key, value in convert_panoptic_segformer(weights).items()}
    return data, weights


def assert_published(model, data, tolerance):
    model.eval()
    with torch.no_grad():
        found = model(data['image'].contiguous(memory_format=torch.channels_last))
    for ours, theirs in zip(found, data['outputs_stride_8_16_32'], strict=True):
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


def pvt(kind, data):
    config = data['config']
    return MODELS.build(dict(
        type=kind, embed_dims=config['embed_dims'][0], num_layers=config['depths'],
        num_heads=config['num_heads'], mlp_ratios=config['mlp_ratios'],
        sr_ratios=config['sr_ratios'], out_indices=(1, 2, 3)))


def test_pvtv2(golden):
    data, weights = load(golden, 'pvtv2')
    model = pvt('mmpanseg.PVTv2', data)
    model.load_state_dict(weights, strict=True)
    assert_published(model, data, 1e-5)
    config = data['config']
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.LayerNorm):
            part = ('patch_embed' if name.split('.')[2:] == ['0', 'norm'] else
                    'sr' if name.endswith('attn.norm') else
                    'block' if 'norm1' in name or 'norm2' in name else 'final_stage')
            expected = config[f'{part}_norm_eps']
            assert module.eps == expected, name


def test_mmdet_has_another_eps(golden):
    """This is why mmpanseg.PVTv2 exists."""
    data, weights = load(golden, 'pvtv2')
    model = pvt('PyramidVisionTransformerV2', data)
    model.load_state_dict(weights, strict=True)
    with pytest.raises(AssertionError):
        assert_published(model, data, 1e-5)


def test_swin(golden):
    data, weights = load(golden, 'swin')
    config = data['config']
    model = MODELS.build(dict(
        type='SwinTransformer', embed_dims=config['embed_dim'], depths=config['depths'],
        num_heads=config['num_heads'], window_size=config['window_size'],
        mlp_ratio=config['mlp_ratio'], out_indices=config['out_indices'],
        patch_norm=config['patch_norm']))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all('relative_position_index' in key for key in missing)
    assert_published(model, data, 1e-4)
