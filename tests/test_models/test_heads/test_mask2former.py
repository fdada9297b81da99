"""Mask2Former's head against the published implementation and against mmdet's."""
import pytest
import torch

from mmpanseg.checkpoints import convert_mask2former
from mmpanseg.models.heads.mask2former import Mask2FormerHead
from mmpanseg.registry import MODELS


def load(golden, name):
    return torch.load(golden / 'mask2former' / f'{name}.pth', weights_only=True)


def maps(inputs):
    return [inputs[f'res{i}'] for i in range(2, 6)]


def build_head(predictor: dict, pixel: dict) -> Mask2FormerHead:
    return MODELS.build(dict(
        type='mmpanseg.Mask2FormerHead',
        in_channels=pixel.pop('in_channels'), channels=predictor['hidden_dim'],
        out_channels=predictor['mask_dim'], num_queries=predictor['num_queries'],
        num_things_classes=predictor['num_classes'], num_stuff_classes=0,
        project_inputs=predictor['enforce_input_project'],
        pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', **pixel),
        transformer_decoder=dict(
            type='mmpanseg.MaskedAttentionDecoder', num_layers=predictor['dec_layers'],
            num_heads=predictor['nheads'], pre_norm=predictor['pre_norm'],
            feedforward_channels=predictor['dim_feedforward']))).eval()


def pixel_decoder(config: dict) -> dict:
    return dict(
        in_channels=config['in_channels'], channels=config['conv_dim'],
        num_layers=config['enc_layers'], num_heads=config['nheads'],
        feedforward_channels=config['dim_feedforward'])


def head_state(state_dict):
    return {key.removeprefix('panoptic_head.'): value
            for key, value in convert_mask2former(state_dict).items()
            if key.startswith('panoptic_head.')}


def dense(mask_logits):
    return torch.einsum('lbqc,bchw->lbqhw', mask_logits.embeds, mask_logits.features)


def assert_predictions(cls_logits, mask_logits, expected, atol):
    masks = dense(mask_logits)
    layers = [*expected['aux_outputs'], expected]
    assert len(layers) == len(cls_logits)
    for i, layer in enumerate(layers):
        torch.testing.assert_close(cls_logits[i], layer['pred_logits'], atol=atol, rtol=0)
        torch.testing.assert_close(masks[i], layer['pred_masks'], atol=atol, rtol=0)


def test_pixel_decoder_matches_published(golden):
    data = load(golden, 'pixel_decoder')
    config = data['config']
    decoder = MODELS.build(dict(
        type='mmpanseg.MSDeformAttnPixelDecoder', out_channels=config['mask_dim'],
        **pixel_decoder(config))).eval()
    state = head_state({f'pixel_decoder.{k}': v for k, v in data['state_dict'].items()})
    decoder.load_state_dict({k.removeprefix('pixel_decoder.'): v for k, v in state.items()})
    with torch.no_grad():
        mask_features, outs = decoder(maps(data['inputs']))
    torch.testing.assert_close(mask_features, data['outputs']['mask_features'], atol=1e-4, rtol=0)
    for out, expected in zip(outs, data['outputs']['multi_scale_features'], strict=True):
        torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize('name', [
    'transformer_decoder', 'transformer_decoder_input_proj', 'transformer_decoder_pre_norm'])
def test_transformer_decoder_matches_published(golden, name):
    data = load(golden, name)
    config = data['config']
    unused = dict(in_channels=[8] * 4, channels=config['in_channels'], num_layers=0,
                  num_heads=1, norm_cfg=dict(type='GN', num_groups=1))
    head = build_head(config, unused)
    state = head_state({f'predictor.{k}': v for k, v in data['state_dict'].items()})
    missing, unexpected = head.load_state_dict(state, strict=False)
    assert not unexpected and all(key.startswith('pixel_decoder.') for key in missing)
    inputs = data['inputs']
    with torch.no_grad():
        queries = head.decode_queries(inputs['mask_features'], inputs['multi_scale_features'])
        predictions = head.classify(queries, inputs['mask_features'])
    assert_predictions(*predictions, data['outputs'], atol=1e-4)


@pytest.fixture
def end_to_end(golden):
    data = load(golden, 'head_end_to_end')
    config = data['config']
    head = build_head(config['predictor'], pixel_decoder(config['pixel_decoder']))
    head.load_state_dict(head_state(data['state_dict']))
    return head, data


def test_head_matches_published(end_to_end):
    head, data = end_to_end
    with torch.no_grad():
        predictions = head(maps(data['inputs']))
        cls_logits, mask_logits = head.predict(maps(data['inputs']))
    assert_predictions(*predictions, data['outputs'], atol=1e-4)
    torch.testing.assert_close(
        cls_logits, data['outputs']['pred_logits'], atol=1e-4, rtol=0)
    torch.testing.assert_close(
        dense(mask_logits)[0], data['outputs']['pred_masks'], atol=1e-4, rtol=0)


def test_head_gradients_match_published(end_to_end):
    head, data = end_to_end
    expected = data['gradients']
    inputs = [x.requires_grad_() for x in maps(data['inputs'])]
    cls_logits, mask_logits = head.train()(inputs)
    loss = cls_logits.square().mean((1, 2, 3)).sum() \
        + 0.01 * dense(mask_logits).square().mean((1, 2, 3, 4)).sum()
    loss.backward()
    torch.testing.assert_close(loss.item(), expected['loss'], rtol=1e-5, atol=0)
    # names through the converter: a state dict of the norms themselves
    norms = head_state({k: torch.tensor(v) for k, v in expected['parameter_grad_norms'].items()})
    parameters = dict(head.named_parameters())
    assert norms.keys() == parameters.keys()
    for name, norm in norms.items():
        grad = parameters[name].grad
        found = torch.tensor(0.) if grad is None else grad.norm()
        torch.testing.assert_close(found, norm, rtol=2e-3, atol=1e-5, msg=name)
    for x, (name, norm) in zip(inputs, expected['input_grad_norms'].items(), strict=True):
        torch.testing.assert_close(x.grad.norm().item(), norm, rtol=2e-3, atol=1e-6, msg=name)
