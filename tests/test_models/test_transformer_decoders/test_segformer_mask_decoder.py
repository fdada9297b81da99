"""Mask decoder of Panoptic SegFormer against the published one."""
import pytest
import torch

from mmpanseg.checkpoints import convert_panoptic_segformer
from mmpanseg.models.pixel_decoders.deformable_tokens import Tokens
from mmpanseg.models.transformer_decoders.segformer_mask_decoder import (
    MaskAttentionDecoder,
    MaskGenerator,
)


def as_tokens(memory, positions, padding, sizes):
    return Tokens(memory, positions, padding, tuple(tuple(size) for size in sizes),
                  torch.ones(len(memory), len(sizes), 2))


def our_state(state_dict):
    state = convert_panoptic_segformer(
        {f'bbox_head.things_mask_head.{key}': value for key, value in state_dict.items()})
    return {key.removeprefix('panoptic_head.mask_decoder.'): value
            for key, value in state.items()}


def build(case, **options):
    config, inputs = case['config'], case['inputs']
    position = 'none' if inputs['query_pos'] is None else 'accumulate'
    decoder = MaskAttentionDecoder(
        config['d_model'], num_layers=config['num_decoder_layers'], num_heads=config['nhead'],
        feedforward_channels=config['ffn_ratio'] * config['d_model'],
        self_attention=config['self_attn'], query_pos_mode=position,
        add_key_pos=inputs['memory_pos'] is not None, **options).eval()
    decoder.load_state_dict(our_state(case['state_dict']))
    tokens = as_tokens(inputs['memory'], inputs['memory_pos'], inputs['memory_padding_mask'],
                       inputs['hw_levels'][:3])
    return decoder, tokens


@pytest.mark.parametrize('index', range(4))
def test_masks_and_queries_match_published(golden, index):
    case = torch.load(golden / 'panoptic_segformer/mask_decoder.pth', weights_only=True)[
        'cases'][index]
    decoder, tokens = build(case)
    with torch.no_grad():
        decoded = decoder(case['inputs']['query'], case['inputs']['query_pos'], tokens)
        masks = [torch.stack([m.masks(b) for b in range(len(tokens.memory))]).flatten(2)
                 for m in decoded.masks]
    expected = case['outputs']
    for mask, theirs in zip(masks, [*expected['layer_masks'], expected['final_mask']],
                            strict=True):
        torch.testing.assert_close(mask, theirs[..., 0], atol=1e-4, rtol=1e-4)
    for query, theirs in zip(decoded.queries, expected['layer_queries'], strict=True):
        torch.testing.assert_close(query, theirs, atol=1e-4, rtol=1e-4)


def test_padding_is_masked_only_on_request(golden):
    case = torch.load(golden / 'panoptic_segformer/mask_decoder.pth', weights_only=True)[
        'cases'][0]
    # only the last token of the last level is padding
    inside = torch.zeros_like(case['inputs']['memory_padding_mask'])
    inside[:, -1] = True
    decoder, tokens = build(case, ignore_padding=False)
    query = case['inputs']['query']

    def queries(padding, memory):
        masked = as_tokens(memory, None, padding, tokens.sizes)
        return decoder(query, None, masked).queries[0]

    changed = tokens.memory.clone()
    changed[:, -1] += 1
    torch.testing.assert_close(queries(inside, changed), queries(inside, tokens.memory))
    assert not torch.allclose(queries(None, changed), queries(None, tokens.memory))


def test_mask_generator_has_241_parameters():
    assert sum(p.numel() for p in MaskGenerator(8, 3).parameters()) == 241


def test_selected_masks_are_those_of_all():
    decoder = MaskAttentionDecoder(16, num_layers=1, num_heads=2, feedforward_channels=32)
    memory = torch.rand(2, 21, 16)
    tokens = as_tokens(memory, None, None, ((4, 4), (2, 2), (1, 1)))
    masks = decoder(torch.rand(2, 5, 16), None, tokens).masks[-1]
    index = torch.tensor([3, 1])
    torch.testing.assert_close(masks.masks(1, index), masks.masks(1)[index])
    assert masks.masks(0, index[:0]).shape == (0, 4, 4)


def test_position_encoding_is_added_as_configured():
    memory = torch.rand(1, 21, 16)
    tokens = as_tokens(memory, None, None, ((4, 4), (2, 2), (1, 1)))
    query, position = torch.rand(2, 1, 3, 16)
    results = {}
    for mode in ('accumulate', 'attention', 'none'):
        torch.manual_seed(0)
        decoder = MaskAttentionDecoder(
            16, num_layers=2, num_heads=2, feedforward_channels=32, self_attention=True,
            query_pos_mode=mode)
        results[mode] = decoder(query, position, tokens).queries[-1]
        if mode == 'none':
            again = decoder(query, None, tokens).queries[-1]
            torch.testing.assert_close(results[mode], again)
    assert not torch.allclose(results['accumulate'], results['attention'])
    assert not torch.allclose(results['attention'], results['none'])


def test_unknown_query_pos_mode_raises():
    with pytest.raises(ValueError, match="query_pos_mode='learned' is unknown"):
        MaskAttentionDecoder(query_pos_mode='learned')
