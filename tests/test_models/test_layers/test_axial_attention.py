"""Axial attention against published intermediates, a slow direct definition and other sizes."""
import pytest
import torch

from mmpanseg.models.layers.axial_attention import AxialAttention, AxisAttention, RelativePositions
from mmpanseg.models.layers.conv_norm import NORM, ConvNorm

PUBLISHED = [('qkv.conv', 'qkv_transform.conv'), ('qkv.norm', '_batch_norm_qkv'),
             ('query_rpe', '_query_rpe'), ('key_rpe', '_key_rpe'), ('value_rpe', '_value_rpe'),
             ('.embeddings', '._embeddings'), ('norm_similarity', '_batch_norm_similarity'),
             ('norm_output', '_batch_norm_retrieved_output'), ('height_axis', '_height_axis'),
             ('width_axis', '_width_axis')]


def published_name(name: str) -> str:
    for ours, theirs in PUBLISHED:
        name = name.replace(ours, theirs)
    return name


def randomize(module: torch.nn.Module) -> None:
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if 'var' in name else tensor.normal_()


def test_matches_the_published_axial_block(golden):
    case = torch.load(golden / 'kmax_deeplab/pixel_decoder.pth', weights_only=True)[
        'four_stages_65x97']
    prefix = '_stages.0._blocks.0._attention'
    layer = AxialAttention(32, 16, 32).eval()
    layer.load_state_dict({name: case['state_dict'][f'{prefix}.{published_name(name)}']
                           for name in layer.state_dict()})
    inputs = case['intermediates']['_stages.0._blocks.0._conv1_bn_act']
    with torch.no_grad():
        height = layer.height_axis(inputs.permute(0, 3, 1, 2).flatten(0, 1))
        output = layer(inputs)
    expected = case['intermediates']
    torch.testing.assert_close(
        height, expected[f'{prefix}._height_axis'], rtol=0, atol=1e-5)
    torch.testing.assert_close(output, expected[prefix], rtol=0, atol=1e-5)


def test_against_a_loop_over_positions():
    torch.manual_seed(0)
    layer = AxisAttention(6, 4, 8, num_heads=2).eval()
    randomize(layer)
    x = torch.randn(1, 6, 5)
    query, key, value = (part[0].unflatten(0, (2, -1)) for part in layer.qkv(x).split((4, 4, 8), 1))
    table_q, table_k, table_v = (
        table.embeddings.weight for table in (layer.query_rpe, layer.key_rpe, layer.value_rpe))
    similarity = torch.empty(1, 6, 5, 5)
    for head in range(2):
        for here in range(5):
            for there in range(5):
                offset = there - here + 254
                q, k = query[head, :, here], key[head, :, there]
                similarity[0, head, here, there] = q @ k
                similarity[0, 2 + head, here, there] = q @ table_q[offset]
                similarity[0, 4 + head, here, there] = k @ table_k[offset]
    similarity = layer.norm_similarity(similarity)[0]
    weight = (similarity[:2] + similarity[2:4] + similarity[4:]).softmax(-1)
    retrieved = torch.zeros(1, 16, 5)
    for head in range(2):
        for here in range(5):
            for there in range(5):
                w, rows = weight[head, here, there], slice(4 * head, 4 * head + 4)
                retrieved[0, :8][rows, here] += w * value[head, :, there]
                retrieved[0, 8:][rows, here] += w * table_v[there - here + 254]
    retrieved = layer.norm_output(retrieved)
    torch.testing.assert_close(layer(x), retrieved[:, :8] + retrieved[:, 8:])


def test_positions_are_key_minus_query_and_the_same_for_every_length():
    table = RelativePositions(1)
    table.embeddings.weight.data = torch.arange(-254.0, 255.0)[:, None]
    short, long = table(3)[..., 0], table(255)[..., 0]
    assert short.tolist() == [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]]
    assert torch.equal(long[:3, :3], short)
    assert long[0, 254] == 254 and long[254, 0] == -254


def test_longer_sequences_share_the_outermost_positions():
    table = RelativePositions(1)
    table.embeddings.weight.data = torch.arange(-254.0, 255.0)[:, None]
    positions = table(300)[..., 0]
    assert positions[0, 254:].tolist() == [254] * 46
    assert positions[299, :46].tolist() == [-254] * 46
    assert positions[0, 253] == 253


def test_another_size_before_does_not_change_the_result():
    torch.manual_seed(0)
    layer = AxialAttention(8, 8, 16, num_heads=4).eval()
    x = torch.randn(2, 8, 5, 7)
    first = layer(x)
    layer(torch.randn(1, 8, 3, 11))
    assert torch.equal(layer(x), first)


@pytest.mark.parametrize('size', [(5, 7), (6, 8)])
def test_stride_keeps_every_second_position(size):
    torch.manual_seed(0)
    layer = AxialAttention(8, 8, 16, num_heads=4, stride=2).eval()
    dense = AxialAttention(8, 8, 16, num_heads=4).eval()
    dense.load_state_dict(layer.state_dict())
    x = torch.randn(1, 8, *size)
    # rows do not attend to each other, so that dropping rows between the axes has no effect
    torch.testing.assert_close(layer(x), dense(x)[:, :, ::2, ::2])


def test_widths_must_be_multiples_of_the_heads():
    with pytest.raises(ValueError, match='key_channels=6 must be a multiple of num_heads=4'):
        AxisAttention(8, 6, 8, num_heads=4)


def test_initial_values():
    torch.manual_seed(0)
    layer = AxisAttention(64, 64, 128)
    # truncation of a normal distribution at two deviations multiplies its deviation by 0.88
    assert layer.qkv.conv.weight.std().item() == pytest.approx(0.88 / 8, rel=0.03)
    assert layer.query_rpe.embeddings.weight.std().item() == pytest.approx(0.88, rel=0.05)
    assert layer.query_rpe.embeddings.weight.abs().max() <= 2
    pytorch = ConvNorm(64, 64, 3).conv.weight
    assert pytorch.std().item() == pytest.approx(0.88 * (2 / 64) ** 0.5, rel=0.03)
    keras = ConvNorm(64, 64, 3, conv_init='tensorflow').conv.weight
    assert keras.std().item() == pytest.approx((2 / 64 / 9) ** 0.5, rel=0.03)
    depthwise = ConvNorm(32, 32, 5, depthwise=True).conv.weight
    assert depthwise.shape == (32, 1, 5, 5)
    limit = (6 / (25 + 25 * 32)) ** 0.5
    assert 0.95 * limit < depthwise.abs().max() <= limit


def test_norms_are_the_published_ones():
    layer = AxisAttention(8, 8, 8)
    for norm in (layer.qkv.norm, layer.norm_similarity, layer.norm_output):
        assert (norm.eps, norm.momentum) == (NORM['eps'], NORM['momentum']) == (1e-3, 0.01)
