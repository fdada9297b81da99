"""Mask-wise merging against the published results, and what sets it apart from the others."""
import pytest
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET

from mmpanseg.models.fusion_heads import (
    HeuristicFusionHead,
    MaskWiseFusionHead,
    PixelwiseFusionHead,
)
from mmpanseg.models.fusion_heads.instances import mean_inside
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.structures.mask_logits import DenseMaskLogits
from mmpanseg.utils import device as chunks

SIGMOID = dict(score_activation='sigmoid', mask_activation='none', resize_once=True)
CODE = dict(SIGMOID, t_keep=(0.6, 0.8), extra_pixels=1)
SETTINGS = {
    'code_r50': dict(CODE, t_cnf=0.25),
    'code_pvt_swin': dict(CODE, t_cnf=(0.3, 0.3)),
    'paper_tkeep06': dict(CODE, t_keep=0.6)}


@pytest.fixture(params=['mixed', 'crowded', 'all_below_threshold'])
def scene(request, golden):
    file = golden / 'panoptic_segformer/mask_wise_merging.pth'
    cases = torch.load(file, weights_only=True)['cases']
    return next(case for case in cases if case['name'] == request.param)


def things_and_stuff(scene):
    """Logits [1, Q, 133], -inf where a query has no choice, and masks, both with metainfo."""
    inputs, labels = scene['inputs'], scene['contiguous_labels_all']
    logits = torch.full((len(labels), 133), -torch.inf)
    scores = torch.cat([inputs['thing_class_scores'], inputs['stuff_class_scores']])
    logits[torch.arange(len(labels)), labels] = scores.double().logit().float()
    # a padded input, so that resizing in two steps would give something else
    height, width = (8 * n for n in scene['low_res_shape'])
    return logits[None], DenseMaskLogits([inputs['low_res_masks'][None]]), [dict(
        batch_input_shape=(height, width), img_shape=(height, width),
        ori_shape=tuple(scene['ori_shape']))]


def assert_panoptic(result, expected, scene):
    """Our coding against (category id, instance id) of each pixel."""
    categories = torch.tensor([*scene['category_ids_of_contiguous_labels'], 0])
    found = result.sem_seg[0].long()
    assert torch.equal(categories[found % INSTANCE_OFFSET], expected[..., 0].long())
    instances, numbers = found // INSTANCE_OFFSET, expected[..., 1].long()
    # masks without a free pixel have published ids all the same
    order = numbers.unique()
    assert torch.equal(instances, torch.searchsorted(order, numbers) + (order[0] > 0))
    drawn = found.unique()
    assert sorted(s['id'] for s in result.segments_info) == drawn[drawn != 133].tolist()


@pytest.mark.parametrize('name', SETTINGS)
@pytest.mark.parametrize('elements', [1, 3 * 61 * 83, 1 << 22])
def test_published_results(scene, name, elements, monkeypatch):
    monkeypatch.setitem(chunks.CHUNK_ELEMENTS, 'cpu', elements)
    expected = scene['results'][name]
    result, = MaskWiseFusionHead(80, 53, **SETTINGS[name]).predict(
        *things_and_stuff(scene), outputs=OutputOptions(instance_on=True))
    assert_panoptic(result['pred_panoptic_seg'], expected['panoptic_hw2'], scene)
    info = result['pred_panoptic_seg'].segments_info
    assert [s['label'] for s in info] == expected['kept_contiguous_labels']
    confidence = scene['confidence_code'][expected['kept_queries_in_order']]
    torch.testing.assert_close(
        torch.tensor([s['score'] for s in info]), confidence, atol=1e-5, rtol=1e-5)

    found = result['pred_instances']
    order = found.scores.argsort(descending=True, stable=True)
    torch.testing.assert_close(
        found.scores[order], expected['topk100_things_scores'], atol=1e-5, rtol=1e-5)
    some = expected['topk100_things_scores'] > 0
    assert torch.equal(found.labels[order][some], expected['topk100_things_labels'][some])
    assert (found.masks[order].flatten(1).sum(1).tolist()
            == expected['thing_masks_area_in_order'])


@pytest.mark.parametrize('twin, extra', [('code', 1), ('plain_average', 0)])
def test_mean_masks(scene, twin, extra):
    view, = MaskWiseFusionHead(80, 53, **SIGMOID).views(*things_and_stuff(scene))
    queries = torch.arange(len(view.probs))
    means = mean_inside(view.masks, view.masks.full_size(queries), extra)[1]
    torch.testing.assert_close(
        means, scene[f'segmentation_scores_{twin}'], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('alpha, beta', [(1, 0), (0, 1), (1, 1), (1, 2), (1, 3)])
def test_exponents(scene, alpha, beta):
    expected = scene['derived_from_paper_text']['alpha_beta'][f'alpha{alpha}_beta{beta}']
    result, = MaskWiseFusionHead(80, 53, alpha, beta, **SIGMOID).predict(*things_and_stuff(scene))
    assert_panoptic(result['pred_panoptic_seg'], expected['panoptic_hw2'], scene)


def test_algorithm_of_the_first_version(scene):
    expected = scene['derived_from_paper_text']['v1_algorithm']
    result, = MaskWiseFusionHead(80, 53, alpha=1, beta=0, t_cnf=0.3, t_keep=0, **SIGMOID).predict(
        *things_and_stuff(scene))
    assert_panoptic(result['pred_panoptic_seg'], expected['panoptic_hw2'], scene)


# A thing, class 0, in the left half, and stuff, class 1, in the right one, both sure of
# themselves. Between them two columns belong to nobody: the thing is at 0.2 there, the stuff at
# 0.1. Stuff also covers the thing's last column, more than the thing itself.
MASKS = torch.tensor([[0.9, 0.9, 0.6, 0.2, 0.2, 0.0, 0.0, 0.0],
                      [0.0, 0.0, 0.7, 0.1, 0.1, 0.9, 0.9, 0.9]])[:, None].repeat(1, 4, 1)
META = dict(batch_input_shape=(4, 8), img_shape=(4, 8), ori_shape=(4, 8))
THING, STUFF, VOID = 1000, 1, 2


def first_row(head, masks=MASKS, scores=(0.8, 0.9)):
    logits = torch.full((1, 2, 2), -torch.inf)
    logits[0, (0, 1), (0, 1)] = torch.tensor(scores).logit()
    result, = head.predict(logits, DenseMaskLogits([masks[None]]), [META])
    rows = result['pred_panoptic_seg'].sem_seg[0]
    assert (rows == rows[0]).all()
    return rows[0].tolist()


def test_why_the_three_rank_as_they_do():
    """Table B.2's cause: arg-max fills weak pixels, the heuristic gives all to things."""
    arg_max = first_row(PixelwiseFusionHead(
        1, 1, object_mask_thr=0, iou_thr=0, weighted=False, filter_low_score=False, **SIGMOID))
    assert arg_max == [THING, THING, STUFF, THING, THING, STUFF, STUFF, STUFF]
    mask_wise = first_row(MaskWiseFusionHead(1, 1, t_cnf=0.25, t_keep=0.6, **SIGMOID))
    assert mask_wise == [THING, THING, STUFF, VOID, VOID, STUFF, STUFF, STUFF]
    heuristic = first_row(HeuristicFusionHead(1, 1, stuff_area_limit=8, **SIGMOID))
    assert heuristic == [THING, THING, THING, STUFF, STUFF, STUFF, STUFF, STUFF]


def test_weights_ease_it_and_do_not_remove_it():
    """MaskFormer's arg-max: class probabilities move the border, weak pixels stay filled."""
    weighted = first_row(PixelwiseFusionHead(
        1, 1, object_mask_thr=0, iou_thr=0, filter_low_score=False, **SIGMOID), scores=(0.3, 0.9))
    assert weighted == [THING, THING, STUFF, STUFF, STUFF, STUFF, STUFF, STUFF]
    assert first_row(PixelwiseFusionHead(1, 1, object_mask_thr=0, iou_thr=0, **SIGMOID)) == [
        THING, THING, STUFF, VOID, VOID, STUFF, STUFF, STUFF]


def test_no_queries_pass():
    head = MaskWiseFusionHead(1, 1, t_cnf=1.5, **SIGMOID)
    assert first_row(head) == [VOID] * 8
    result, = head.predict(torch.zeros(1, 0, 2), DenseMaskLogits([torch.zeros(1, 0, 4, 8)]),
                           [META], outputs=OutputOptions(instance_on=True, semantic_on=True))
    assert result['pred_panoptic_seg'].segments_info == []
    assert len(result['pred_instances']) == 0


def test_softmax_and_mask_logits():
    """With "no object" and logits to be squashed, against the rules one after the other."""
    torch.manual_seed(0)
    logits, masks = torch.randn(1, 9, 6) * 3, torch.randn(1, 9, 6, 7) * 3
    meta = [dict(batch_input_shape=(6, 7), img_shape=(6, 7), ori_shape=(12, 14))]
    found, = MaskWiseFusionHead(3, 2, t_keep=0.1).predict(logits, DenseMaskLogits([masks]), meta)
    full = torch.nn.functional.interpolate(masks, (12, 14), mode='bilinear')[0].sigmoid()
    scores, labels = logits[0].softmax(-1).max(-1)
    inside = full > 0.5
    means = (full * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
    owner = torch.full((12, 14), 5)
    confidence, instances = scores * means ** 2, 0
    for query in confidence.argsort(descending=True).tolist():
        if labels[query] == 5 or confidence[query] < 0.25 or not inside[query].any():
            continue
        free = inside[query] & (owner == 5)
        if free.sum() < 0.1 * inside[query].sum():
            continue
        instances += labels[query] < 3
        owner[free] = labels[query] + (labels[query] < 3) * instances * 1000
    assert len(owner.unique()) > 3
    assert torch.equal(found['pred_panoptic_seg'].sem_seg[0].long(), owner)


@pytest.mark.parametrize('options, text', [
    (dict(t_cnf=(0.1, 0.2, 0.3)), 'panoptic_fusion_head.t_cnf'),
    (dict(t_keep='high'), 'panoptic_fusion_head.t_keep'),
    (dict(score_activation='relu'), "score_activation='relu' is unknown"),
    (dict(mask_activation='tanh'), "mask_activation='tanh' is unknown")])
def test_mistakes(options, text):
    with pytest.raises(ValueError, match=text):
        MaskWiseFusionHead(1, 1, **options)


@pytest.mark.parametrize('activation, width', [('softmax', 2), ('sigmoid', 3)])
def test_head_and_fusion_head_do_not_fit(activation, width):
    with pytest.raises(ValueError, match='score_activation'):
        MaskWiseFusionHead(1, 1, score_activation=activation).predict(
            torch.zeros(1, 1, width), DenseMaskLogits([torch.zeros(1, 1, 4, 8)]), [META])


@pytest.mark.parametrize('kind', [MaskWiseFusionHead, HeuristicFusionHead, PixelwiseFusionHead])
def test_equal_views_give_the_result_of_each(scene, kind):
    head = kind(80, 53, **SIGMOID)
    view, = head.views(*things_and_stuff(scene))
    outputs = OutputOptions(instance_on=True, semantic_on=True)
    found, expected = head.fuse([view] * 3, outputs), head.fuse([view], outputs)
    for name in ('pred_panoptic_seg', 'pred_sem_seg'):
        assert torch.equal(found[name].sem_seg, expected[name].sem_seg)
    assert torch.equal(found['pred_instances'].masks, expected['pred_instances'].masks)
    assert torch.equal(found['pred_instances'].scores, expected['pred_instances'].scores)
