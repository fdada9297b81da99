"""Deformable sampling and attention against mmcv's PyTorch form."""
import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

from mmpanseg.models.layers.deformable_attention import MSDeformAttention
from mmpanseg.models.layers.deformable_sampling import multi_scale_deformable_sampling

pytestmark = pytest.mark.ops

SHAPES = [((3, 5), (6, 4), (1, 7)), ((1, 1), (2, 9)), ((5, 5), ), ((1, 1), )]


def inputs(shapes, batch=2, queries=7, heads=3, width=4, points=2):
    torch.manual_seed(0)
    tokens = sum(h * w for h, w in shapes)
    grid = (batch, queries, heads, len(shapes), points)
    value = torch.randn(batch, tokens, heads, width, dtype=torch.float64, requires_grad=True)
    # more than a fifth of the points is outside
    locations = torch.rand(*grid, 2, dtype=torch.float64).mul(1.4).sub(0.2).requires_grad_()
    weights = torch.rand(grid, dtype=torch.float64, requires_grad=True)
    return value, locations, weights


@pytest.mark.parametrize('shapes', SHAPES)
def test_sampling_and_gradients_equal_mmcv(shapes):
    value, locations, weights = inputs(shapes)
    ours = multi_scale_deformable_sampling(value, shapes, locations, weights)
    theirs = multi_scale_deformable_attn_pytorch(value, torch.tensor(shapes), locations, weights)
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    upstream = torch.randn_like(ours)
    found = torch.autograd.grad(ours, (value, locations, weights), upstream)
    expected = torch.autograd.grad(theirs, (value, locations, weights), upstream)
    for ours_grad, theirs_grad in zip(found, expected, strict=True):
        torch.testing.assert_close(ours_grad, theirs_grad, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize('numbers', [2, 4])
def test_module_equals_mmcv_with_the_same_weights(numbers):
    torch.manual_seed(0)
    shapes = SHAPES[0]
    tokens = sum(h * w for h, w in shapes)
    theirs = MultiScaleDeformableAttention(
        24, num_heads=3, num_levels=3, num_points=2, dropout=0.0, batch_first=True)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = MSDeformAttention(24, num_heads=3, num_levels=3, num_points=2, dropout=0.0,
                             batch_first=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    query, position = torch.randn(2, 2, tokens, 24)
    reference = torch.rand(2, tokens, 3, numbers)
    expected = theirs(query, value=query, query_pos=position, reference_points=reference,
                      spatial_shapes=torch.tensor(shapes)) - query
    found = ours(query, query_pos=position, value=query, reference_points=reference,
                 spatial_shapes=shapes)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_initialization_is_the_published_fan(golden):
    expected = torch.load(golden / 'mask2former/initialisation.pth', weights_only=True)
    layer = MSDeformAttention(256, num_heads=8, num_levels=3, num_points=4)
    torch.testing.assert_close(
        layer.sampling_offsets.bias.detach(), expected['sampling_offsets_bias'])
    for parameter in (layer.sampling_offsets.weight, *layer.attention_weights.parameters()):
        assert not parameter.any()


def test_contradicting_shapes_raise():
    value, locations, weights = inputs(((3, 5), ))
    with pytest.raises(ValueError, match='15 tokens'):
        multi_scale_deformable_sampling(value, ((3, 4), ), locations, weights)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_samples_in_single_precision(dtype):
    value, locations, weights = (t.detach().float() for t in inputs(SHAPES[0]))
    half = value.to(dtype)
    found = multi_scale_deformable_sampling(half, SHAPES[0], locations, weights)
    expected = multi_scale_deformable_sampling(half.float(), SHAPES[0], locations, weights)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected.to(dtype), atol=0, rtol=0)


def test_module_under_autocast_is_near_full_precision():
    torch.manual_seed(0)
    module = MSDeformAttention(24, num_heads=3, num_levels=3, num_points=2, dropout=0.0,
                               batch_first=True)
    tokens = sum(h * w for h, w in SHAPES[0])
    query = torch.randn(2, tokens, 24)
    arguments = dict(query_pos=None, value=query, reference_points=torch.rand(2, tokens, 3, 2),
                     spatial_shapes=SHAPES[0])
    expected = module(query, **arguments)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = module(query, **arguments)
    found.float().sum().backward()
    # bfloat16 stores 8 bits; a wrong location would change values by about 0.3
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.05)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
