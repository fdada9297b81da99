"""Queries with NaN or infinite logits: results are those without these queries."""
import math
import warnings

import pytest
import torch

from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import DenseMaskLogits, ProductMaskLogits

from ..pretended_device import DEVICE, PretendedDevice

META = dict(batch_input_shape=(32, 32), img_shape=(28, 30), ori_shape=(41, 45),
            img_path='street.png')
HEADS = {
    'pixelwise': dict(type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.3, iou_thr=0.3),
    'mask_wise': dict(type='mmpanseg.MaskWiseFusionHead', t_cnf=0.0, t_keep=0.0),
    'heuristic': dict(type='mmpanseg.HeuristicFusionHead', score_thr=0.3, stuff_area_limit=5),
    'kmax': dict(type='mmpanseg.KMaXFusionHead', score_thr=0.0, mask_thr=0.1, overlap_thr=0.1),
    'segformer': dict(type='mmpanseg.MaskWiseFusionHead', score_activation='sigmoid',
                      mask_activation='none', resize_once=True, t_cnf=0.0, t_keep=0.0)}
BROKEN = {'class nan': math.nan, 'class inf': math.inf, 'class -inf': -math.inf,
          'mask nan': math.nan, 'mask inf': math.inf, 'mask -inf': -math.inf}
QUERY = 3
OUTPUTS = OutputOptions(instance_on=True, semantic_on=True, max_per_image=20)
pytestmark = pytest.mark.filterwarnings('ignore:.*are left out:RuntimeWarning')


def build(name: str):
    return MODELS.build(dict(HEADS[name], num_things_classes=2, num_stuff_classes=2))


def predictions(name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Class logits [1, 8, classes], embeddings [1, 1, 8, 4], features [1, 4, 8, 8]."""
    generator = torch.Generator().manual_seed(2)
    classes = 4 if name == 'segformer' else 5
    cls_logits = 2 * torch.randn(1, 8, classes, generator=generator)
    cls_logits[0, QUERY, 1] = 6  # the query has a segment while it is finite
    features = torch.randn(1, 4, 8, 8, generator=generator)
    return cls_logits, 2 * torch.randn(1, 1, 8, 4, generator=generator), features


def dense(name: str, embeds: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    masks = torch.einsum('qc,chw->qhw', embeds[0, 0], features[0])[None]
    return masks.sigmoid() if name == 'segformer' else masks


def results(name: str, cls_logits, masks, head=None) -> dict:
    head = head or build(name)
    return head.predict(cls_logits, masks, [META], outputs=OUTPUTS)[0]


def assert_equal(found: dict, expected: dict, queries: list[int]) -> None:
    panoptic, wanted = found['pred_panoptic_seg'], expected['pred_panoptic_seg']
    assert torch.equal(panoptic.sem_seg, wanted.sem_seg)
    assert wanted.segments_info or not queries
    assert len(panoptic.segments_info) == len(wanted.segments_info)
    for segment, other in zip(panoptic.segments_info, wanted.segments_info):
        assert segment['query'] == queries[other['query']]
        assert segment['score'] == pytest.approx(other['score'], rel=1e-6)
        assert (segment['id'], segment['label']) == (other['id'], other['label'])
    ours, theirs = found['pred_instances'], expected['pred_instances']
    torch.testing.assert_close(ours.scores, theirs.scores)
    assert torch.equal(ours.labels, theirs.labels) and torch.equal(ours.masks, theirs.masks)
    assert torch.equal(ours.bboxes, theirs.bboxes)
    assert torch.equal(found['pred_sem_seg'].sem_seg, expected['pred_sem_seg'].sem_seg)


@pytest.mark.parametrize('storage', ['dense', 'product'])
@pytest.mark.parametrize('kind', BROKEN)
@pytest.mark.parametrize('name', HEADS)
def test_as_if_the_query_did_not_exist(name, kind, storage):
    if storage == 'product' and name == 'segformer':
        pytest.skip('its masks are dense')
    if kind == 'class -inf' and name == 'segformer':
        pytest.skip('its queries of things have -inf for the classes of stuff')
    cls_logits, embeds, features = predictions(name)
    masks = dense(name, embeds, features)
    others = [query for query in range(8) if query != QUERY]
    expected = results(name, cls_logits[:, others], DenseMaskLogits([masks[:, others]])
                       if storage == 'dense' else ProductMaskLogits(embeds[:, :, others], features))
    if kind.startswith('class'):
        cls_logits[0, QUERY, 2] = BROKEN[kind]
    else:
        masks[0, QUERY, 5, 6] = BROKEN[kind]
        embeds[0, 0, QUERY, 1] = BROKEN[kind]
    head = build(name)
    found = results(name, cls_logits, DenseMaskLogits([masks]) if storage == 'dense' else (
        ProductMaskLogits(embeds, features)), head)
    assert_equal(found, expected, others)
    assert (head.dropped.images, head.dropped.queries) == (1, 1)


@pytest.mark.parametrize('name', [name for name in HEADS if name != 'segformer'])
def test_one_broken_feature_breaks_all_masks(name):
    cls_logits, embeds, features = predictions(name)
    features[0, 2, 7, 7] = math.nan
    head = build(name)
    found = results(name, cls_logits, ProductMaskLogits(embeds, features), head)
    assert head.dropped.queries == 8
    assert (found['pred_panoptic_seg'].sem_seg == 4).all()  # void
    assert found['pred_panoptic_seg'].segments_info == [] and len(found['pred_instances']) == 0


def test_classes_that_a_query_cannot_predict_are_not_broken():
    cls_logits, embeds, features = predictions('segformer')
    cls_logits[0, QUERY, 2:] = -math.inf
    head = build('segformer')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = results('segformer', cls_logits,
                        DenseMaskLogits([dense('segformer', embeds, features)]), head)
    assert head.dropped.queries == 0
    assert QUERY in [segment['query'] for segment in found['pred_panoptic_seg'].segments_info]


def test_one_warning_for_many_images():
    cls_logits, embeds, features = predictions('kmax')
    embeds[0, 0, [1, 4]] = math.inf
    head = build('kmax')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for _ in range(3):
            results('kmax', cls_logits, ProductMaskLogits(embeds, features), head)
    message, = (str(w.message) for w in caught)
    assert message.startswith('street.png: 2 of 8 queries have NaN or infinite')
    assert (head.dropped.images, head.dropped.queries) == (3, 6)


@pytest.mark.parametrize('name', HEADS)
def test_counts_of_a_device_come_with_its_next_copy(name):
    cls_logits, embeds, features = predictions(name)
    masks = dense(name, embeds, features)
    masks[0, QUERY, 5, 6] = math.nan
    head = build(name)
    with PretendedDevice():
        results(name, cls_logits.to(DEVICE), DenseMaskLogits([masks.to(DEVICE)]), head)
        assert (head.dropped.images, head.dropped.queries) == (1, 1)
