"""Cross-attention, masked attention and its ablations against slow direct definitions."""
import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict

from mmpanseg.checkpoints.checkpoint_fit import compare_tensors
from mmpanseg.models.layers.attention import Memory
from mmpanseg.models.transformer_decoders.masked_attention_decoder import (
    CROSS_ATTENTION,
    MaskedAttentionDecoder,
)

BATCH, QUERIES, CHANNELS, HEADS = 2, 3, 8, 2
SIZES = ((2, 3), (4, 5))
PLACES = [(row, column, *size) for size in SIZES
          for row in range(size[0]) for column in range(size[1])]


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    query, query_pos = torch.randn(2, BATCH, QUERIES, CHANNELS)
    key, value = torch.randn(2, BATCH, len(PLACES), CHANNELS)
    inside = torch.rand(BATCH, QUERIES, len(PLACES)) > 0.6
    inside[..., 0] |= ~inside.any(-1)
    return query, query_pos, Memory(key, value, SIZES), inside


def build(kind):
    torch.manual_seed(1)
    module = CROSS_ATTENTION[kind](CHANNELS, HEADS)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module.eval()


def attend(module, inputs, bias):
    """Call PyTorch's attention with a bias [B, heads, Q, S] of the logits."""
    query, query_pos, memory, _ = inputs
    return torch.nn.MultiheadAttention.forward(
        module.attn, query + query_pos, memory.key, memory.value,
        attn_mask=bias.flatten(0, 1))[0]


def never():
    pytest.fail('this kind does not use masks')


def test_masked_attends_inside(inputs):
    *arguments, inside = inputs
    bias = torch.zeros(BATCH, HEADS, QUERIES, len(PLACES))
    bias.masked_fill_(~inside[:, None], -torch.inf)
    module = build('masked')
    torch.testing.assert_close(module(*arguments, lambda: inside), attend(module, inputs, bias))


def test_plain_attends_everywhere(inputs):
    bias = torch.zeros(BATCH, HEADS, QUERIES, len(PLACES))
    module = build('plain')
    torch.testing.assert_close(module(*inputs[:3], never), attend(module, inputs, bias))


def test_smca_adds_the_logarithm_of_gaussians(inputs):
    query, query_pos, memory, _ = inputs
    module = build('smca')
    bias = torch.zeros(BATCH, HEADS, QUERIES, len(PLACES))
    for b in range(BATCH):
        for q in range(QUERIES):
            x = module.norm(query[b, q] + query_pos[b, q])
            center = module.center(x).sigmoid()
            offset, scale = module.offset(x).view(HEADS, 2), module.scale(x).view(HEADS, 2)
            for head in range(HEADS):
                for s, (row, column, height, width) in enumerate(PLACES):
                    dx = column + 0.5 - center[0] * width - offset[head, 0]
                    dy = row + 0.5 - center[1] * height - offset[head, 1]
                    bias[b, head, q, s] = -(
                        (dx * scale[head, 0])**2 + (dy * scale[head, 1])**2) / 8
    found = module(query, query_pos, memory, never)
    torch.testing.assert_close(found, attend(module, inputs, bias))
    found.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())


def test_smca_without_scale_is_plain_attention(inputs):
    module = build('smca')
    torch.nn.init.zeros_(module.scale.weight)
    torch.nn.init.zeros_(module.scale.bias)
    plain = build('plain')
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if k.startswith('attn.')})
    torch.testing.assert_close(module(*inputs[:3], never), plain(*inputs[:3], never))


def test_smca_initializes_all_scales_to_one():
    decoder = MaskedAttentionDecoder(2, 8, 2, 8, cross_attention='smca')
    decoder.init_weights()
    for layer in decoder.layers:
        assert (layer.cross_attn.scale.weight == 0).all()
        assert (layer.cross_attn.scale.bias == 1).all()
        assert layer.cross_attn.offset.weight.abs().min() > 0


@pytest.mark.parametrize('load', [
    lambda model, state: model.load_state_dict(state, strict=True),
    lambda model, state: load_state_dict(model, state, strict=True)], ids=['torch', 'mmengine'])
def test_smca_loads_checkpoints_with_the_old_name_of_its_center(load):
    trained, model = (MaskedAttentionDecoder(2, 8, 2, 8, cross_attention='smca') for _ in range(2))
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter)
    state = trained.state_dict()
    old = {name.replace('cross_attn.center.', 'cross_attn.centre.'): value
           for name, value in state.items()}
    assert len(old.keys() - state.keys()) == 2 * 4  # layers; weights and biases of two layers each
    assert not compare_tensors(old, model.state_dict()).missing
    load(model, old)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_smca_stays_finite_far_from_everything(inputs, dtype):
    module = build('smca')
    torch.nn.init.constant_(module.offset.bias, 1e4)
    torch.nn.init.constant_(module.scale.bias, 100)
    query, query_pos, memory, _ = inputs
    memory = Memory(memory.key.to(dtype), memory.value.to(dtype), SIZES)
    found = module.to(dtype)(query.to(dtype), query_pos.to(dtype), memory, never)
    assert found.dtype == dtype and torch.isfinite(found).all()


def test_mask_pooling_is_the_mean_inside(inputs):
    query, query_pos, memory, inside = inputs
    module = build('mask_pooling')
    expected = torch.zeros(BATCH, QUERIES, CHANNELS)
    for b in range(BATCH):
        for q in range(QUERIES):
            chosen = [memory.value[b, s] for s in range(len(PLACES)) if inside[b, q, s]]
            expected[b, q] = module.proj(sum(chosen) / len(chosen))
    torch.testing.assert_close(module(query, query_pos, memory, lambda: inside), expected)


@pytest.mark.parametrize('kind', CROSS_ATTENTION)
def test_mixed_precision(inputs, kind):
    *arguments, inside = inputs
    module = build(kind)
    expected = module(*arguments, lambda: inside)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = module(*arguments, lambda: inside)
    torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0.05)


def test_unknown_kind_and_order():
    with pytest.raises(ValueError, match='masked, plain, smca, mask_pooling'):
        MaskedAttentionDecoder(1, 8, 2, 8, cross_attention='mask')
    with pytest.raises(ValueError, match='cross, self, ffn'):
        MaskedAttentionDecoder(1, 8, 2, 8, order=['self', 'ffn'])
