"""Options of the masked-attention decoder against a slow direct definition and mmdet."""
import pytest
import torch
import torch.nn.functional as F
from mmdet.models.layers import DetrTransformerDecoder

from mmpanseg.models.layers.attention import Memory
from mmpanseg.models.layers.positional_encoding import sine_encoding
from mmpanseg.models.transformer_decoders.masked_attention_decoder import MaskedAttentionDecoder
from mmpanseg.registry import MODELS

CHANNELS, HEADS, LAYERS = 8, 2, 4


def build_head(decoder=(), **options):
    torch.manual_seed(0)
    head = MODELS.build(dict(
        type='mmpanseg.Mask2FormerHead', in_channels=[8] * 4, num_things_classes=2,
        num_stuff_classes=2, num_queries=5, channels=CHANNELS, out_channels=6,
        pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=0, num_heads=2,
                           norm_cfg=dict(type='GN', num_groups=1)),
        transformer_decoder=dict(
            type='mmpanseg.MaskedAttentionDecoder', num_layers=LAYERS, num_heads=HEADS,
            feedforward_channels=16, **dict(decoder)),
        **options))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return head.double().eval()


def slow_decode(head, mask_features, maps, memories, order):
    """Decode layer by layer with dense masks and PyTorch's attention.

    ``memories`` lists the levels that each memory consists of.
    """
    decoder = head.transformer_decoder
    attend = torch.nn.MultiheadAttention.forward
    query = head.query_feat.weight.repeat(len(mask_features), 1, 1)
    position = head.query_embed.weight.repeat(len(mask_features), 1, 1)
    outputs = [decoder.post_norm(query)]
    for index, layer in enumerate(decoder.layers):
        masks = torch.einsum(
            'bqc,bchw->bqhw', head.mask_embed(outputs[-1]), mask_features)
        keys, values, blocked = [], [], []
        for level in memories[index % len(memories)]:
            size = maps[level].shape[-2:]
            values.append(maps[level].flatten(2).transpose(1, 2)
                          + head.level_embed.weight[head.levels.index(level)])
            keys.append(values[-1] + sine_encoding(size, CHANNELS, 'cpu', torch.float64))
            resized = F.interpolate(masks, size, mode='bilinear', align_corners=False)
            blocked.append(resized.sigmoid().flatten(2) < 0.5)
        keys, values = torch.cat(keys, 1), torch.cat(values, 1)
        blocked = torch.cat(blocked, 2)
        blocked[blocked.all(-1)] = False
        for norm, part in zip(layer.norms, order):
            if part == 'cross':
                update = attend(
                    layer.cross_attn.attn, query + position, keys, values,
                    attn_mask=blocked.repeat_interleave(HEADS, 0))[0]
            elif part == 'self':
                update = attend(
                    layer.self_attn.attn, query + position, query + position, query)[0]
            else:
                update = layer.ffn(query)
            query = norm(query + update)
        outputs.append(decoder.post_norm(query))
    return torch.stack(outputs)


@pytest.mark.parametrize('levels, multi_scale, memories', [
    ([0, 1, 2], 'efficient', [[0], [1], [2]]),
    ([0, 1, 2], 'naive', [[0, 1, 2]]),
    ([0], 'efficient', [[0]]),
    ([1], 'efficient', [[1]]),
    ([2], 'efficient', [[2]]),
    ([1, 2], 'naive', [[1, 2]])])
@pytest.mark.parametrize('order', [('cross', 'self', 'ffn'), ('self', 'cross', 'ffn')])
def test_decoder_equals_slow_definition(levels, multi_scale, memories, order):
    head = build_head(dict(order=order), levels=levels, multi_scale=multi_scale)
    mask_features = torch.randn(2, 6, 16, 24, dtype=torch.float64)
    maps = [torch.randn(2, CHANNELS, 2 << i, 3 << i, dtype=torch.float64) for i in range(3)]
    with torch.no_grad():
        found = torch.stack([
            prediction.queries for prediction in head.decode_queries(mask_features, maps)])
        expected = slow_decode(head, mask_features, maps, memories, order)
    torch.testing.assert_close(found, expected)


def test_detr_decoder_equals_mmdet():
    attention = dict(embed_dims=CHANNELS, num_heads=HEADS, dropout=0.1, batch_first=True)
    theirs = DetrTransformerDecoder(
        num_layers=LAYERS, return_intermediate=True, layer_cfg=dict(
            self_attn_cfg=attention, cross_attn_cfg=attention,
            ffn_cfg=dict(embed_dims=CHANNELS, feedforward_channels=16, ffn_drop=0.1)))
    ours = MaskedAttentionDecoder(
        LAYERS, CHANNELS, HEADS, 16, dropout=0.1, cross_attention='plain',
        order=['self', 'cross', 'ffn'])
    torch.manual_seed(0)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    query = torch.zeros(2, 5, CHANNELS)
    query_pos = torch.randn(2, 5, CHANNELS)
    value, key_pos = torch.randn(2, 2, 12, CHANNELS)
    with torch.no_grad():
        expected = theirs.eval()(
            query, value, value, query_pos=query_pos, key_pos=key_pos, key_padding_mask=None)
        found = ours.eval()(query, query_pos, [Memory(value + key_pos, value, ((3, 4), ))],
                            lambda embeds, level: pytest.fail('no masks in DETR'),
                            torch.nn.Identity())
    assert len(found) == LAYERS + 1
    torch.testing.assert_close(torch.stack([prediction.queries for prediction in found[1:]]),
                               expected)


def test_levels_and_multi_scale_are_checked():
    with pytest.raises(ValueError, match='0 .the coarsest. .. 3'):
        build_head(levels=[4])
    with pytest.raises(ValueError, match='efficient, naive'):
        build_head(multi_scale='all')
