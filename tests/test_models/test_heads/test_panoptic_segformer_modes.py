"""Panoptic SegFormer's head with all options, and with unusual batches.

Sizes: images of 40 x 56, maps of strides 8, 16, 32; 3 thing and 2 stuff classes.
"""
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample

from mmpanseg.models.heads.panoptic_segformer import PanopticSegFormerHead
from mmpanseg.models.losses import base as criterion_module
from mmpanseg.models.losses.panoptic_segformer_criterion import (
    MaskStagePrediction,
    PanopticSegFormerCriterion,
)
from mmpanseg.models.losses.panoptic_segformer_targets import read_targets
from mmpanseg.models.task_modules import OneToOneAssigner
from mmpanseg.models.transformer_decoders.location_decoder import move_reference
from mmpanseg.registry import TASK_UTILS
from mmpanseg.structures.attention_masks import AttentionMasks
from mmpanseg.structures.segment_map import SegmentMap

SIZE = (40, 56)
FIRST_VERSION = dict(
    location='center_scale', filter_queries=False, class_from='mask',
    location_decoder=dict(refine=False, num_layers=2, num_heads=2, feedforward_channels=16),
    mask_decoder=dict(num_layers=2, num_heads=2, self_attention=True, tail=False),
    stuff_mask_decoder=None, criterion=dict(
        mask_costs=[dict(type='mmpanseg.FocalClassificationCost'),
                    dict(type='mmpanseg.SquaredDiceCost')],
        mask_cls_weight=1.0, dice_weight=1.0, location_weight=5.0, balance='none'))
FORMS = {
    'decoupled': dict(),
    'released': dict(
        mask_decoder=dict(num_layers=2, num_heads=2, classify=True, locate=True),
        criterion=dict(assigner=dict(type='mmpanseg.MultiRoundAssigner', num_rounds=1),
                       stuff_cls_without_things=False)),
    'first version': FIRST_VERSION,
    'joint matching': dict(stuff_mask_decoder=None),
    'mass center': dict(location='center_of_mass'),
    'center and scale': dict(location='center_scale'),
    'class from masks': dict(class_from='mask', criterion=dict(mask_cls_weight=2.0)),
    'no filter': dict(class_from='mask', filter_queries=False,
                      criterion=dict(mask_cls_weight=2.0)),
    'balance by image': dict(criterion=dict(balance='image')),
    'sigmoid masks': dict(mask_decoder=dict(num_layers=1, num_heads=2, activation='sigmoid',
                                            query_pos_mode='attention')),
    'things only': dict(num_stuff_classes=0),
}


def build(**options):
    torch.manual_seed(0)
    encoder = dict(num_layers=2, num_heads=2, feedforward_channels=16)
    head = PanopticSegFormerHead(**dict(dict(
        in_channels=[4, 6, 8], channels=16, num_things_classes=3, num_stuff_classes=2,
        num_queries=7, max_per_image=10,
        pixel_decoder=dict(type='mmpanseg.DeformableTokenEncoder',
                           norm_cfg=dict(type='GN', num_groups=4), **encoder),
        location_decoder=dict(encoder), mask_decoder=dict(num_layers=2, num_heads=2),
        stuff_mask_decoder=dict(num_layers=2, num_heads=2, self_attention=True,
                                query_pos_mode='accumulate')), **options))
    head.init_weights()
    return head.eval()


def features(batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, width, -(-SIZE[0] // stride), -(-SIZE[1] // stride),
                        generator=generator)
            for width, stride in ((4, 8), (6, 16), (8, 32))]


def sample(labels, shape=SIZE):
    """Segments of these classes in columns of equal width, with a void margin."""
    index = torch.full(shape, -1, dtype=torch.int32)
    columns = (shape[1] - 4) / max(len(labels), 1)
    for i in range(len(labels)):
        index[2:-2, 2 + int(i * columns):2 + int((i + 1) * columns)] = i
    sample = DetDataSample(metainfo=dict(img_shape=shape, batch_input_shape=SIZE))
    sample.gt_segments = SegmentMap(torch.tensor(labels, dtype=torch.long), map=index)
    return sample


def total(losses):
    assert all(torch.isfinite(loss) for loss in losses.values()), losses
    return sum(losses.values())


@pytest.mark.parametrize('name', FORMS)
def test_every_form_trains_and_predicts(name):
    head = build(**FORMS[name])
    stuff = [] if head.num_classes == 3 else [3, 4]
    samples = [sample([0, 2, 2, *stuff]), sample([1, *stuff[:1]], (32, 48)), sample([])]
    total(head.loss(features(3), samples)).backward()
    without = [key for key, p in head.named_parameters() if p.grad is None]
    assert not without  # data-parallel training requires a gradient
    with torch.no_grad():
        cls_logits, masks = head.predict(features(2))
    joint = head.stuff_mask_decoder is None and head.num_classes == 5
    located = 7 if not head.filter_queries or head.class_from == 'mask' else 10
    own = 0 if joint or head.num_classes == 3 else 2
    assert cls_logits.shape == (2, located + own, head.num_classes)
    assert masks.dense(-1, 1, torch.arange(located + own)).shape[1:] == (5, 7)
    possible = cls_logits > -torch.inf
    if own:
        assert torch.equal(possible[0, located:, 3:], torch.eye(2, dtype=torch.bool))
        assert not possible[:, :located, 3:].any() and not possible[:, located:, :3].any()
    if head.class_from == 'location':
        assert (possible[:, :located].sum(-1) == 1).all()


@pytest.mark.parametrize('labels', [[3, 4], [0, 1, 2], [], [0] * 9, [0, 1, 2] * 3 + [3, 4]],
                         ids=['no things', 'no stuff', 'nothing', 'more than queries',
                              'more things than queries, and stuff'])
@pytest.mark.parametrize('form', ['decoupled', 'first version', 'things only'])
def test_unusual_images_train(form, labels):
    head = build(**FORMS[form])
    if form == 'things only':
        labels = [label for label in labels if label < 3]
    losses = head.loss(features(), [sample(labels)])
    total(losses).backward()
    assert all(p.grad is not None for p in head.parameters())
    if form == 'decoupled':
        if not any(label < 3 for label in labels):
            assert losses['loss_bbox'] == losses['loss_mask_things'] == 0 < losses['loss_cls']
        # stuff classes are supervised on every image, with or without stuff
        assert losses['d1.loss_cls_stuff_f'] > 0
        assert (losses['loss_mask_stuff'] > 0) == any(label > 2 for label in labels)


def test_released_code_skips_stuff_classes_without_things():
    head = build(**FORMS['released'])
    losses = head.loss(features(), [sample([3, 4])])
    assert losses['d0.loss_cls_stuff_f'] == 0 < losses['loss_mask_stuff']
    # in a batch only the image without things is skipped
    both = head.loss(features(2), [sample([0]), sample([3, 4])])
    assert both['d0.loss_cls_stuff_f'] > 0


@pytest.mark.parametrize('form, total_of', [
    # every image has the same weight
    ('balance by image', lambda first, second: (first + second) / 2),
    # every segment has the same weight: 3 and 5 of them
    ('decoupled', lambda first, second: (3 * first + 5 * second) / 8)])
def test_two_images_are_what_they_are_alone(form, total_of):
    head = build(**FORMS[form])
    samples = [sample([0, 1, 3]), sample([2, 0, 0, 3, 4])]
    maps = features(2)
    both = head.loss(maps, samples)
    alone = [head.loss([x[i:i + 1] for x in maps], samples[i:i + 1]) for i in range(2)]
    for name, loss in both.items():
        torch.testing.assert_close(
            loss, total_of(alone[0][name], alone[1][name]), rtol=1e-4, atol=1e-5)


def test_more_rounds_are_more_queries():
    decoded = []
    for rounds in (1, 3):
        head = build(criterion=dict(
            assigner=dict(type='mmpanseg.MultiRoundAssigner', num_rounds=rounds)))
        head.mask_decoder.register_forward_pre_hook(
            lambda module, args: decoded.append(args[0].shape[1]))
        head.loss(features(2), [sample([0, 1, 3]), sample([2, 2, 2, 3])])
    # 3 rounds of 2 things; of 3 things 7 queries are enough for 2 rounds
    assert decoded == [2, 3, 6, 6]


def test_mask_loss_looks_at_matched_queries_only():
    """Queries selected in later rounds and unmatched in the second matching have no mask loss."""
    head = build(**FORMS['decoupled'])
    seen = []
    dice = head.criterion.dice_losses
    head.criterion.dice_losses = lambda masks, image, query, targets: seen.append(
        len(query)) or dice(masks, image, query, targets)
    head.loss(features(), [sample([0, 1])])
    assert seen == [2, 0]


def test_settings_that_cannot_be():
    for options, text in (
            (dict(class_from='mask', mask_decoder=dict(classify=False)), 'classify=True'),
            (dict(class_from='mask'), 'set panoptic_head.criterion.mask_cls_weight'),
            (dict(filter_queries=False), "set class_from='mask'"),
            (dict(num_things_classes=0), 'stuff_mask_decoder=None'),
            (dict(location='corner'), "location='corner' is unknown"),
            (dict(mask_levels=5), 'mask_levels=5 must be in 1..4'),
            (dict(pixel_decoder=dict(type='mmpanseg.DeformableTokenEncoder', num_levels=2)),
             'num_levels=2 must be at least 3')):
        with pytest.raises(ValueError, match=text):
            build(**options)


@pytest.mark.parametrize('form', ['decoupled', 'released', 'first version'])
def test_mixed_precision(form):
    head = build(**FORMS[form])
    samples = [sample([0, 1, 2])]
    single = head.loss(features(), samples)
    with torch.autocast('cpu', torch.bfloat16):
        half = head.loss(features(), samples)
        cls_logits, masks = head.predict(features())
    # locations are computed in single precision
    located = [name for name in single if 'loc' in name or name.endswith(('_bbox', '_iou'))]
    assert located
    for name in located:
        torch.testing.assert_close(half[name], single[name], rtol=1e-5, atol=1e-6)
    assert half.keys() == single.keys()
    total(half).backward()
    assert cls_logits.dtype == masks.logits[0].dtype == torch.float32


def test_initial_values():
    head = build(**FORMS['released'])
    decoder = head.location_decoder
    for branch in [*decoder.cls_branches, *head.mask_decoder.cls_branches,
                   *head.stuff_mask_decoder.cls_branches]:
        torch.testing.assert_close(branch.bias, torch.full_like(branch.bias, -4.595), rtol=1e-4,
                                   atol=0)
    with torch.no_grad():
        tokens, located = head.locate(features())
    # initial branches predict no offset: all boxes are at their reference points, with one size
    locations = decoder.locate(located)
    torch.testing.assert_close(locations[..., :2], located.references[0].expand(2, -1, -1, -1))
    torch.testing.assert_close(
        locations[..., 2:], torch.full_like(locations[..., 2:], -2.0).sigmoid())
    attention = head.pixel_decoder.encoder.layers[0].self_attn
    assert not attention.sampling_offsets.weight.any()
    # the offset of point k is k pixels
    offsets = attention.sampling_offsets.bias.view(2, 4, 4, 2).abs().amax(-1)
    torch.testing.assert_close(offsets, torch.arange(1.0, 5).expand(2, 4, 4))


def test_a_point_moves_the_center_of_a_box():
    point = torch.tensor([[0.25, 0.5]])
    moved = move_reference(torch.tensor([[0.0, 1.0, 0.0, -2.0]]), point)
    torch.testing.assert_close(moved, torch.tensor(
        [[0.25, torch.tensor(1.0).sigmoid(), 0.5, torch.tensor(-2.0).sigmoid()]]))
    torch.testing.assert_close(move_reference(torch.zeros(1, 2), point), point)


@pytest.mark.parametrize('labels', [[0, 1, 3], [3], [0], []])
def test_processes_meet_once(monkeypatch, labels):
    """Two ranks; the other one has 5 things and 1 stuff class."""
    head = build()
    alone = head.loss(features(), [sample(labels)])
    asked = []

    def mean_with_other(counts):
        asked.append(counts)
        return (counts + torch.tensor([5.0, 1.0])) / 2

    monkeypatch.setattr(criterion_module, 'reduce_mean', mean_with_other)
    both = head.loss(features(), [sample(labels)])
    assert len(asked) == 1
    things, stuff = sum(label < 3 for label in labels), sum(label > 2 for label in labels)
    own = max(things, 1) + max(stuff, 1)
    mean = max((things + 5) / 2, 1) + max((stuff + 1) / 2, 1)
    for name, loss in both.items():
        torch.testing.assert_close(loss, alone[name] * own / mean)


def test_all_queries_train_the_location_decoder_by_the_mask_matching():
    head = build(**FORMS['no filter'])
    # of the last decoder layer; the others, which refine, are supervised too
    names = {'loss_loc', 'd0.loss_loc', 'loss_mask_things', 'd0.loss_mask_things_f',
             'd1.loss_mask_things_f', 'd0.loss_cls_f', 'd1.loss_cls_f'}
    losses = head.loss(features(), [sample([0, 2])])
    assert {name for name in losses if 'stuff' not in name} == names
    first = build(**FIRST_VERSION).loss(features(), [sample([0, 2, 3])])
    assert first.keys() == names - {'d0.loss_loc', 'd1.loss_mask_things_f'}
    losses['d0.loss_loc'].backward()
    assert head.location_decoder.reg_branches[0][-1].weight.grad.abs().sum() > 0


def test_the_assigner_matches_at_both_stages_and_selects():
    """An assigner of a user: segment k is assigned query 2 k, independent of the costs."""
    @TASK_UTILS.register_module(force=True)
    class EveryOther(OneToOneAssigner):
        def solve(self, cost):
            # queries of earlier rounds have infinite costs
            free = np.flatnonzero(np.isfinite(cost).all(axis=1))
            return free[::2][:cost.shape[1]], np.arange(cost.shape[1])

    criterion = PanopticSegFormerCriterion(2, assigner=dict(
        num_rounds=2, round_assigner=dict(type='mmpanseg.EveryOther')))
    index = torch.zeros(8, 8, dtype=torch.int32)
    index[4:] = 1
    targets = read_targets([SegmentMap(torch.tensor([0, 1]), map=index)],
                           [dict(img_shape=(8, 8), batch_input_shape=(8, 8))], 2, 'box')
    matches, kept = criterion.match_locations(
        torch.randn(1, 1, 7, 2), torch.rand(1, 1, 7, 4), targets)
    assert matches.rows.query.tolist() == [0, 2] and matches.segment.tolist() == [0, 1]
    assert kept[0].tolist() == [0, 1, 2, 4]
    masks = AttentionMasks(
        torch.randn(1, 1, 4, 3), torch.randn(1, 1, 4, 3),
        lambda logits, sizes: logits.sigmoid().mean(1).view(-1, *sizes[0]), ((2, 2), ))
    some = MaskStagePrediction([masks], 0, torch.randn(4, 2), torch.rand(4, 4))
    assert criterion.match_masks([some], targets).rows.query.tolist() == [0, 2]
