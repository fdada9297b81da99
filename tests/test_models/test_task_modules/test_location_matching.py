"""Costs and assignments of Panoptic SegFormer against the published ones."""
import numpy as np
import pytest
import torch

from mmpanseg.models.losses.panoptic_segformer_criterion import PanopticSegFormerCriterion
from mmpanseg.models.losses.panoptic_segformer_targets import (
    read_targets,
    segment_locations,
)
from mmpanseg.models.task_modules import (
    FocalClassificationCost,
    LocationGIoUCost,
    LocationL1Cost,
    MultiRoundAssigner,
    OneToOneAssigner,
    SquaredDiceCost,
)
from mmpanseg.models.task_modules.location_matching import LocationMatchInputs
from mmpanseg.structures.segment_map import SegmentMap

CLOSE = dict(atol=1e-4, rtol=1e-4)


@pytest.fixture(scope='module')
def published(golden):
    return torch.load(golden / 'panoptic_segformer/matching_and_losses.pth', weights_only=True)


@pytest.fixture(params=[0, 1])
def case(published, request):
    return published['matching'][request.param]


def inputs_of(case):
    data = case['inputs']
    height, width = case['img_shape']
    sizes = torch.tensor([width, height, width, height]).float()
    boxes = data['gt_bboxes_xyxy']
    targets = torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
    segments = SegmentMap(data['gt_labels'], masks=data['gt_masks'].bool())
    truth = read_targets(
        [segments], [dict(img_shape=case['img_shape'], batch_input_shape=case['padded_shape'])],
        case['num_classes'], 'box')
    masks = data['mask_pred']
    return LocationMatchInputs(
        data['cls_logits'], data['gt_labels'], data['bbox_pred_cxcywh_norm'], targets / sizes,
        sizes, masks.flatten(1), truth.location_masks(0, tuple(masks.shape[1:])).T)


def gt_indices(matches, num_queries):
    """0 = background, k = segment k - 1."""
    found = torch.zeros(num_queries, dtype=torch.long)
    found[matches.rows.query] = matches.segment + 1
    return found


def test_costs_match_published(case):
    inputs, expected = inputs_of(case), case['costs']
    for cost, name in ((FocalClassificationCost(2), 'cls_focal_weight2'),
                       (LocationL1Cost(5), 'bbox_l1_weight5'),
                       (LocationGIoUCost(2), 'giou_weight2'),
                       (SquaredDiceCost(2), 'mask_dice_weight2')):
        torch.testing.assert_close(cost(inputs), expected[name], **CLOSE)
    criterion = PanopticSegFormerCriterion(1)
    for costs, name in ((criterion.location_costs, 'location_total'),
                        (criterion.mask_costs, 'mask_total_cls_weight4')):
        torch.testing.assert_close(sum(c(inputs) for c in costs), expected[name], **CLOSE)


def test_assignments_match_published(case):
    costs, assigner = case['costs'], OneToOneAssigner()
    count = costs['location_total'].shape[1]

    def assign(cost):
        return gt_indices(assigner(cost[None, None], [count]), len(cost))

    location = assign(costs['location_total'])
    assert torch.equal(location, case['location_matching']['gt_inds'])
    all_queries = assign(costs['mask_total_cls_weight4'])
    assert torch.equal(all_queries, case['mask_matching_all_queries']['gt_inds'])
    filtered = case['mask_matching_on_filtered']
    kept = torch.as_tensor(filtered['query_inds'])
    assert torch.equal(assign(costs['mask_total_cls_weight4'][kept]),
                       torch.as_tensor(filtered['gt_inds']))


def test_rounds_match_published(case):
    expected, cost = case['multi_round_filter'], case['costs']['location_total']
    count = cost.shape[1]
    one, three = (MultiRoundAssigner(rounds).select_queries(cost[None], [count])[0]
                  for rounds in (1, 3))
    assert torch.equal(one, expected['official_kept_queries'])
    assert torch.equal(three, expected['intended_kept_queries'])
    rounds = MultiRoundAssigner(expected['max_pos']).rounds(cost.numpy())
    for (query, segment), (their_query, their_segment) in zip(
            rounds, expected['intended_rounds'], strict=True):
        np.testing.assert_array_equal(query, their_query)
        np.testing.assert_array_equal(segment, their_segment)


def test_rounds_end_when_queries_run_out():
    generator = torch.Generator().manual_seed(0)
    costs = torch.rand(3, 7, 9, generator=generator)
    kept = MultiRoundAssigner(3).select_queries(costs, [3, 0, 9])
    # 7 queries are enough for two rounds of 3 segments, and for no round of 9
    assert [len(queries) for queries in kept] == [6, 0, 7]
    with pytest.raises(ValueError, match='num_rounds=0'):
        MultiRoundAssigner(0)


def test_several_rounds_keep_the_interface_of_one():
    costs = torch.rand(2, 3, 7, 4, generator=torch.Generator().manual_seed(0))
    ours, expected = (assigner(costs, [3, 0, 4])
                      for assigner in (MultiRoundAssigner(3), OneToOneAssigner()))
    assert ours.rows.splits == expected.rows.splits == [6, 0, 8]
    for x, y in zip((*ours.rows[:3], ours.segment), (*expected.rows[:3], expected.segment)):
        assert torch.equal(x, y)


def test_center_cost_matches_published(published):
    case = published['mass_centre']
    height, width = case['img_shape']
    boxes = case['gt_bboxes_xyxy']
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2 / torch.tensor([width, height])
    labels = torch.zeros(len(centers), dtype=torch.long)
    inputs = LocationMatchInputs(
        torch.zeros(len(case['bbox_pred_cxcywh_norm']), 1), labels,
        case['bbox_pred_cxcywh_norm'][:, :2], centers,
        torch.tensor([width, height, width, height]).float())
    torch.testing.assert_close(
        LocationL1Cost(5)(inputs), case['box_centre_l1_cost_weight5'], **CLOSE)


def test_locations_of_a_made_segment():
    index = torch.full((10, 20), -1)
    index[2:4, 5:9] = 0
    index[4:8, 5:6] = 0
    segments = SegmentMap(torch.tensor([0]), map=index)
    # columns 5 to 8, rows 2 to 7, of which 8 pixels above and 4 below
    x = (2 * (5.5 + 6.5 + 7.5 + 8.5) + 4 * 5.5) / 12 / 20
    y = (4 * (2.5 + 3.5) + 4.5 + 5.5 + 6.5 + 7.5) / 12 / 10
    for location, expected in (('box', [7 / 20, 5 / 10, 4 / 20, 6 / 10]),
                               ('center_of_mass', [x, y]),
                               ('center_scale', [x, y, 4 / 20, 6 / 10])):
        torch.testing.assert_close(
            segment_locations(segments, location, torch.tensor([20, 10] * 2)),
            torch.tensor([expected]))
