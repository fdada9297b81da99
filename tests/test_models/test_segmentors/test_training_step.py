"""Training steps on ground truth that users have, and that is missing something."""
import pytest
import torch
from mmdet.structures import DetDataSample

from mmpanseg.registry import MODELS
from mmpanseg.structures.segment_map import SegmentMap

SIZE = (64, 96)


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='mmpanseg.MaskTransformer', num_things_classes=2, num_stuff_classes=2,
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=8, num_stages=4,
                      out_indices=(0, 1, 2, 3), style='pytorch'),
        panoptic_head=dict(
            type='mmpanseg.Mask2FormerHead', in_channels=[8, 16, 32, 64], channels=32,
            out_channels=32, num_queries=6,
            pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1,
                               num_heads=4, feedforward_channels=32),
            transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=2,
                                     num_heads=4, feedforward_channels=32),
            criterion=dict(type='mmpanseg.MaskCriterion', num_points=32))))


def sample(labels, cells):
    index = torch.tensor(cells, dtype=torch.int32).repeat_interleave(32, 0).repeat_interleave(32, 1)
    return DetDataSample(
        metainfo=dict(batch_input_shape=SIZE, img_shape=SIZE, ori_shape=SIZE),
        gt_segments=SegmentMap(torch.tensor(labels, dtype=torch.long), map=index))


VOID = sample([], [[-1] * 3] * 2)
NORMAL = sample([0, 0, 3], [[0, 0, 1], [2, 2, -1]])
EMPTY_SEGMENT = sample([0, 1, 2], [[0, 0, 0], [2, 2, 2]])
CROWDED = sample(list(range(4)) * 2, [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize('samples', [
    [NORMAL, NORMAL], [VOID, NORMAL], [VOID, VOID], [EMPTY_SEGMENT, VOID], [CROWDED, NORMAL]])
def test_losses_are_finite_and_reach_every_parameter(model, samples):
    model.zero_grad()
    losses = model.loss(torch.randn(2, 3, *SIZE), samples)
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total)
    nothing = all(s is VOID for s in samples)
    for name, value in losses.items():
        assert (value == 0) == (nothing and 'loss_cls' not in name), name
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_broken_predictions_do_not_stop_training(model):
    images = torch.randn(2, 3, *SIZE)
    weight = model.panoptic_head.query_feat.weight
    kept = weight.data.clone()
    weight.data[0] = float('nan')
    try:
        losses = model.loss(images, [NORMAL, VOID])
    finally:
        weight.data.copy_(kept)
    # what the runner looks at says so, in the losses of every layer
    assert losses.keys() == model.loss(images, [NORMAL, VOID]).keys() and len(losses) == 9
    for name, value in losses.items():
        assert value.isnan() or 'loss_cls' not in name, name


def test_missing_ground_truth_is_named(model):
    bare = DetDataSample(metainfo=dict(batch_input_shape=SIZE, img_path='street.jpg'))
    with pytest.raises(ValueError, match='street.jpg.*LoadPanopticMap'):
        model.loss(torch.randn(1, 3, *SIZE), [bare])


def test_class_numbers_are_checked():
    with pytest.raises(ValueError, match='num_things_classes'):
        MODELS.build(dict(type='mmpanseg.MaskTransformer', num_things_classes=0,
                          num_stuff_classes=0, backbone={}, panoptic_head={}))
