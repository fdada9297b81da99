"""Steadiness of queries: the published definitions' values, and traces of real models."""
import copy

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate

from mmpanseg.evaluation import (
    QueryConsistencyMetric,
    mask_consistency,
    query_utilization,
    trace_queries,
)
from mmpanseg.models.losses.mask_criterion import MASK_COMPARISONS
from mmpanseg.registry import METRICS, MODELS
from mmpanseg.structures import SegmentMap

LAYERS, QUERIES = 3, 6


@pytest.fixture(scope='module')
def fixture(golden):
    return torch.load(golden / 'mp_former/consistency_metrics.pth', weights_only=True)


def test_values_of_images(fixture):
    for image in fixture['images']:
        found = mask_consistency(image['masks'])
        torch.testing.assert_close(found, image['iou_per_query'], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(found.mean(1), image['miou_l'], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(
            query_utilization(image['assignment_vectors'], image['num_gt']), image['util'])
        vectors = torch.full_like(image['assignment_vectors'], -1)
        for vector, (query, segment) in zip(vectors, image['assignment_pairs'], strict=True):
            vector[query] = segment
        assert torch.equal(vectors, image['assignment_vectors'])


def test_two_empty_masks_agree(fixture):
    case = fixture['empty_masks_case']
    torch.testing.assert_close(
        mask_consistency(case['masks']).mean(1), case['miou_l_if_both_empty_counts_1'],
        atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(
        query_utilization(case['assignment_vectors'], case['num_gt']), case['util'])


def sample_of(image):
    return dict(query_trace=dict(
        masks=image['masks'], assignments=image['assignment_vectors'],
        num_segments=image['num_gt']))


def test_metric_averages_over_images(fixture):
    metric = METRICS.build(dict(type='mmpanseg.QueryConsistencyMetric'))
    metric.process(None, [sample_of(image) for image in fixture['images'][:2]])
    metric.process(None, [sample_of(fixture['images'][2])])
    found = metric.evaluate(3)
    expected = fixture['dataset_average']
    assert len(found) == fixture['num_layers'] * 2 + 1
    for i, value in enumerate(expected['miou_l'].tolist(), 1):
        assert found[f'mIoU-L_{i}'] == pytest.approx(100 * value, abs=1e-4)
    for i, value in enumerate(expected['util'].tolist()):
        assert found[f'Util_{i}'] == pytest.approx(100 * value, abs=1e-4)


def test_images_without_segments_have_no_util(fixture):
    metric = QueryConsistencyMetric()
    empty = copy.deepcopy(sample_of(fixture['images'][0]))
    empty['query_trace'].update(num_segments=0)
    empty['query_trace']['assignments'][:] = -1
    metric.process(None, [sample_of(fixture['images'][0]), empty])
    found = metric.evaluate(2)
    assert found['Util_9'] == 100
    assert found['mIoU-L_1'] == pytest.approx(100 * fixture['images'][0]['miou_l'][0].item())


def build_model(kind='MPFormerHead', **head):
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='mmpanseg.MaskTransformer', num_things_classes=2, num_stuff_classes=2,
        data_preprocessor=dict(type='mmdet.DetDataPreprocessor', pad_size_divisor=32),
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=8, num_stages=4,
                      out_indices=(0, 1, 2, 3), style='pytorch'),
        panoptic_head=dict(
            type=f'mmpanseg.{kind}', in_channels=[8, 16, 32, 64], channels=32,
            out_channels=32, num_queries=QUERIES,
            pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1,
                               num_heads=4, feedforward_channels=32),
            transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=LAYERS,
                                     num_heads=4, feedforward_channels=32),
            criterion=dict(type='mmpanseg.MaskCriterion', num_points=64), **head))).eval()


def item(count, size=(64, 96), seed=0):
    generator = torch.Generator().manual_seed(seed)
    index = torch.full(size, -1, dtype=torch.int32)
    for k in range(count):
        index[8 * k:8 * k + 8] = k
    image = torch.randint(0, 255, (3, *size), dtype=torch.uint8, generator=generator)
    return dict(inputs=image, data_samples=DetDataSample(
        metainfo=dict(img_shape=size, ori_shape=size),
        gt_segments=SegmentMap(torch.arange(count) % 4, map=index)))


@pytest.mark.parametrize('match_on', MASK_COMPARISONS)
def test_trace_of_the_matching_part(match_on):
    model = build_model()
    data = pseudo_collate([item(3), item(0, seed=1)])
    state = torch.get_rng_state()
    found = trace_queries(model, data, match_on=match_on)
    assert torch.equal(torch.get_rng_state(), state)  # training is not disturbed
    prepared = model.data_preprocessor(data, False)
    with torch.no_grad():
        _, masks = model.panoptic_head(model.extract_feat(prepared['inputs']))
    dense = torch.einsum('lbqc,bchw->lbqhw', masks.embeds, masks.features)
    for image, (result, count) in enumerate(zip(found, (3, 0), strict=True)):
        trace = result['query_trace']
        assert trace['num_segments'] == count
        clear = dense[:, image].abs() > 1e-4
        assert torch.equal(trace['masks'][clear], (dense[:, image] > 0)[clear])
        for row in trace['assignments']:
            assert sorted(row[row >= 0].tolist()) == list(range(count))
    again = trace_queries(model, data, match_on=match_on)
    assert torch.equal(found[0]['query_trace']['assignments'],
                       again[0]['query_trace']['assignments'])


def test_trace_of_the_piloted_part():
    """Image by image the same as in a batch where another image has fewer segments."""
    model = build_model(piloting=dict(num_groups=3, mask_noise='point', num_layers=1))
    one, two, none = item(4), item(2, seed=1), item(0, seed=2)
    found = trace_queries(model, pseudo_collate([one, two, none]), 'piloted')
    for result, count in zip(found, (4, 2, 0), strict=True):
        trace = result['query_trace']
        assert trace['masks'].shape[:2] == (LAYERS + 1, count)
        assert trace['assignments'].shape == (LAYERS + 1, count)
        for row in trace['assignments']:
            assert sorted(row.tolist()) == list(range(count))
    alone = trace_queries(model, pseudo_collate([one]), 'piloted')[0]['query_trace']
    assert torch.equal(found[0]['query_trace']['assignments'], alone['assignments'])
    assert model.panoptic_head.piloting.num_groups == 3
    metric = QueryConsistencyMetric()
    metric.process(None, found)
    assert {'mIoU-L_1', f'Util_{LAYERS}'} <= metric.evaluate(3).keys()


def test_ground_truth_at_another_size_is_resized():
    model = build_model()
    small, large = item(4), item(4)
    gt = large['data_samples'].gt_segments
    large['data_samples'].gt_segments = SegmentMap(
        gt.labels, map=gt.map.repeat_interleave(3, 0).repeat_interleave(3, 1))
    masks = copy.deepcopy(large)
    gt = masks['data_samples'].gt_segments
    masks['data_samples'].gt_segments = SegmentMap(gt.labels, masks=gt.dense())
    expected, *found = (trace_queries(model, pseudo_collate([x]))[0]['query_trace']
                        for x in (small, large, masks))
    for trace in found:
        assert torch.equal(trace['assignments'], expected['assignments'])


def test_mistakes():
    data = pseudo_collate([item(2)])
    with pytest.raises(
            ValueError, match="part='piloted' is not a set .* Mask2FormerHead.*MPFormerHead"):
        trace_queries(build_model('Mask2FormerHead'), data, 'piloted')
    with pytest.raises(ValueError, match='matching, piloted'):
        trace_queries(build_model(), data, 'denoising')
    del data['data_samples'][0].gt_segments
    with pytest.raises(ValueError, match='LoadPanopticMap'):
        trace_queries(build_model(), data)
