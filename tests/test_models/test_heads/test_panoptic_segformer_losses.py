"""Training of Panoptic SegFormer's head against the published losses and gradients."""
import pytest
import torch
from mmdet.structures import DetDataSample

from mmpanseg.checkpoints import convert_panoptic_segformer
from mmpanseg.structures.segment_map import SegmentMap

from .test_panoptic_segformer import build_head, published_state

# options of the released code
RELEASED = dict(assigner=dict(type='mmpanseg.MultiRoundAssigner', num_rounds=1),
                stuff_cls_without_things=False)


@pytest.fixture(scope='module')
def forward(golden):
    return torch.load(golden / 'panoptic_segformer/head_forward.pth', weights_only=True)


@pytest.fixture(scope='module')
def cases(golden):
    data = torch.load(golden / 'panoptic_segformer/matching_and_losses.pth', weights_only=True)
    return {case['name']: case for case in data['head_loss']}


def sample(labels, masks, batch_input_shape=None):
    shape = tuple(masks.shape[-2:])
    sample = DetDataSample(metainfo=dict(
        img_shape=shape, batch_input_shape=batch_input_shape or shape))
    sample.gt_segments = SegmentMap(labels, masks=masks.bool())
    return sample


def head_of(forward, **options):
    # no dropout, as in the fixture, but with gradients
    head = build_head(forward['config'], **options).eval()
    head.load_state_dict(published_state(forward), strict=False)
    return head


@pytest.mark.parametrize('name', [
    'things_and_stuff', 'one_thing_many_stuff', 'things_only', 'stuff_only'])
def test_losses_and_gradients_match_published(forward, cases, name):
    case = cases[name]
    head = head_of(forward, criterion=RELEASED)
    features = [x.clone() for x in forward['single_image']['backbone_features']]
    maps = []
    head.pixel_decoder.neck.register_forward_hook(lambda module, args, outs: maps.extend(outs))
    losses = head.loss(features, [sample(case['gt_labels'], case['gt_masks'])])
    assert losses.keys() == case['losses'].keys()
    for key, value in losses.items():
        torch.testing.assert_close(value.item(), case['losses'][key], rtol=1e-4, atol=1e-6,
                                   msg=lambda text, key=key: f'{key}: {text}')
    for x in maps:
        x.retain_grad()
    total = sum(losses.values())
    torch.testing.assert_close(total.item(), case['total'], rtol=1e-4, atol=0)
    total.backward()
    for ours, theirs in zip(maps, case['grad_l2_neck_outputs'], strict=True):
        torch.testing.assert_close(ours.grad.norm().item(), theirs, rtol=1e-3, atol=1e-6)
    names = convert_panoptic_segformer({
        f'bbox_head.{key}': torch.empty(0, 2) for key in case['grad_l2_parameters']})
    parameters = dict(head.named_parameters())
    for ours, theirs in zip(names, case['grad_l2_parameters'].values(), strict=True):
        gradient = parameters[ours.removeprefix('panoptic_head.')].grad
        # every parameter has a gradient, as published: data-parallel training requires it
        torch.testing.assert_close(gradient.norm().item(), theirs, rtol=1e-3, atol=1e-5,
                                   msg=lambda text, ours=ours: f'{ours}: {text}')
