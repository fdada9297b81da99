"""Query features of Mask2Former and their supervision."""
import pytest
import torch
from mmdet.structures import DetDataSample

from mmpanseg.registry import MODELS
from mmpanseg.structures.segment_map import SegmentMap

LAYERS = 2


def build_head(query_feat):
    torch.manual_seed(0)
    # whole masks, so that losses do not depend on random points
    return MODELS.build(dict(
        type='mmpanseg.Mask2FormerHead', in_channels=[8] * 4, num_things_classes=2,
        num_stuff_classes=2, num_queries=5, channels=8, out_channels=6,
        query_feat=query_feat,
        pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=0, num_heads=2,
                           norm_cfg=dict(type='GN', num_groups=1)),
        transformer_decoder=dict(
            type='mmpanseg.MaskedAttentionDecoder', num_layers=LAYERS, num_heads=2,
            feedforward_channels=16),
        criterion=dict(type='mmpanseg.MaskCriterion', match_on='masks', loss_on='masks')))


@pytest.fixture
def features():
    torch.manual_seed(1)
    return [torch.randn(2, 8, 16 >> i, 24 >> i) for i in range(4)]


@pytest.fixture
def samples():
    index = torch.tensor([[0, 0, 1], [2, -1, 1]]).repeat_interleave(32, 0).repeat_interleave(32, 1)
    return [DetDataSample(
        metainfo=dict(batch_input_shape=(64, 96)),
        gt_segments=SegmentMap(torch.tensor([0, 1, 3]), map=index.int())) for _ in range(2)]


def without_first(losses):
    """Drop the losses of the first prediction and rename the others accordingly."""
    shifted = {}
    for name, value in losses.items():
        prefix, dot, kind = name.rpartition('.')
        if not dot:
            shifted[name] = value
        elif prefix != 'd0':
            shifted[f'd{int(prefix[1:]) - 1}.{kind}'] = value
    return shifted


def test_unsupervised_queries_have_no_loss_of_their_own(features, samples):
    supervised, unsupervised = build_head('supervised'), build_head('unsupervised')
    unsupervised.load_state_dict(supervised.state_dict(), strict=True)
    expected = supervised.loss(features, samples)
    found = unsupervised.loss(features, samples)
    assert len(expected) == 3 * (LAYERS + 1) and len(found) == 3 * LAYERS
    torch.testing.assert_close(found, without_first(expected))
    sum(found.values()).backward()
    assert unsupervised.query_feat.weight.grad.abs().sum() > 0


def test_zero_queries_are_zeros_and_not_parameters(features, samples):
    learned, zero = build_head('unsupervised'), build_head('zero')
    state = learned.state_dict()
    state['query_feat.weight'].zero_()
    del state['query_feat.weight']
    zero.load_state_dict(state, strict=True)
    torch.testing.assert_close(zero.loss(features, samples), learned.loss(features, samples))
    assert 'query_feat.weight' not in dict(zero.named_parameters())


def test_unknown_query_feat():
    with pytest.raises(ValueError, match='supervised, unsupervised, zero'):
        build_head('learnable')
