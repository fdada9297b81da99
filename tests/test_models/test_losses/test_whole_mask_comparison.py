"""Whole masks and the focal loss: against mmdet's MaskFormer and slow direct definitions."""
import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.registry import TASK_UTILS as MMDET_TASK_UTILS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmpanseg.models.losses.mask_criterion import MaskCriterion, mask_focal_loss
from mmpanseg.models.losses.whole_mask_comparison import all_pairs_on_masks
from mmpanseg.models.task_modules.bipartite_matching import MaskFocalCost, MaskMatchInputs
from mmpanseg.structures import mask_logits as mask_logits_module
from mmpanseg.structures.mask_logits import DenseMaskLogits, ProductMaskLogits
from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap

CLASSES, QUERIES, LAYERS, SIZE, LOGITS_SIZE = 4, 6, 2, (32, 48), (8, 12)
MASKFORMER = dict(
    match_costs=[dict(type='mmpanseg.ClassificationCost', weight=1.0),
                 dict(type='mmpanseg.MaskFocalCost', weight=20.0),
                 dict(type='mmpanseg.MaskDiceCost', weight=1.0)],
    cls_weight=1.0, mask_weight=20.0, dice_weight=1.0, mask_loss='focal', match_on='masks',
    loss_on='masks')


def as_map(segments):
    return segments


def as_masks(segments):
    return SegmentMap(segments.labels, masks=segments.dense())


@pytest.fixture
def truth():
    """Three images: four segments and void, none, two segments on a smaller image."""
    torch.manual_seed(0)
    coarse = [torch.randint(-1, 4, (8, 12)), torch.full((8, 12), -1), torch.randint(0, 2, (6, 10))]
    return [SegmentMap(torch.randint(CLASSES, (count, )),
                       map=index.int().repeat_interleave(4, 0).repeat_interleave(4, 1))
            for index, count in zip(coarse, (4, 0, 2))]


@pytest.fixture
def predictions():
    torch.manual_seed(1)
    cls_logits = torch.randn(LAYERS, 3, QUERIES, CLASSES + 1, dtype=torch.float64)
    embeds = torch.randn(LAYERS, 3, QUERIES, 5, dtype=torch.float64)
    features = torch.randn(3, 5, *LOGITS_SIZE, dtype=torch.float64)
    return cls_logits, embeds, features


def product(embeds, features):
    return ProductMaskLogits(embeds, features)


def dense(embeds, features):
    return DenseMaskLogits(list(torch.einsum('lbqc,bchw->lbqhw', embeds, features)))


def padded(segments):
    height, width = segments.shape
    return F.pad(segments.dense(), (0, SIZE[1] - width, 0, SIZE[0] - height))


@pytest.mark.parametrize('truth_form', [as_map, as_masks])
@pytest.mark.parametrize('form', [product, dense])
def test_maskformer_losses_equal_mmdet(truth, predictions, truth_form, form):
    head = MMDET_MODELS.build(ConfigDict(
        type='MaskFormerHead', in_channels=[8] * 4, feat_channels=8, out_channels=8,
        num_things_classes=CLASSES, num_stuff_classes=0, num_queries=QUERIES,
        pixel_decoder=dict(type='PixelDecoder', norm_cfg=dict(type='BN')),
        positional_encoding=dict(num_feats=4, normalize=True),
        transformer_decoder=dict(num_layers=1, layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=8, num_heads=1),
            cross_attn_cfg=dict(embed_dims=8, num_heads=1), ffn_cfg=dict(embed_dims=8))),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0,
                      class_weight=[1.0] * CLASSES + [0.1]),
        loss_mask=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25,
                       loss_weight=20.0),
        loss_dice=dict(type='DiceLoss', use_sigmoid=True, activate=True, naive_dice=True,
                       eps=1.0, loss_weight=1.0),
        train_cfg=dict(
            assigner=dict(type='HungarianAssigner', match_costs=[
                dict(type='ClassificationCost', weight=1.0),
                dict(type='FocalLossCost', weight=20.0, binary_input=True),
                dict(type='DiceCost', weight=1.0, pred_act=True, eps=1.0)]),
            sampler=dict(type='MaskPseudoSampler'))))
    # mmdet's losses are in single precision, and it counts an image without segments as one segment
    truth = [truth[0], truth[2]]
    cls_logits, embeds, features = (x.float() for x in predictions)
    leaves = [x.requires_grad_() for x in (cls_logits[:, ::2], embeds[:, ::2], features[::2])]
    cls_logits, embeds, features = leaves
    expected = head.loss_by_feat(
        cls_logits, torch.einsum('lbqc,bchw->lbqhw', embeds, features),
        [InstanceData(labels=s.labels, masks=padded(s).long()) for s in truth], [{}] * 2)
    grads = torch.autograd.grad(sum(expected.values()).sum(), leaves)
    criterion = MaskCriterion(CLASSES, **MASKFORMER)
    found = criterion(cls_logits, form(embeds, features),
                      SegmentBatch([truth_form(s) for s in truth], SIZE))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.squeeze(), atol=1e-5, rtol=1e-4)
    sum(found.values()).backward()
    for leaf, grad in zip(leaves, grads):
        torch.testing.assert_close(leaf.grad, grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('rows_at_a_time', [1, 100])
@pytest.mark.parametrize('truth_form', [as_map, as_masks])
@pytest.mark.parametrize('form', [product, dense])
def test_losses_on_masks_equal_slow_definition(
        truth, predictions, form, truth_form, rows_at_a_time, monkeypatch):
    monkeypatch.setattr(mask_logits_module, 'chunk_rows', lambda *_: rows_at_a_time)
    cls_logits, *leaves = predictions
    embeds, features = (x.requires_grad_() for x in leaves)
    segments = SegmentBatch([truth_form(s) for s in truth], SIZE)
    criterion = MaskCriterion(CLASSES, loss_on='masks')
    mask_logits = form(embeds, features)
    matches = criterion.match(cls_logits, mask_logits, segments)
    found = criterion.loss_masks(mask_logits, matches, segments)
    masks = F.interpolate(
        torch.einsum('lbqc,bchw->lbqhw', embeds, features).flatten(0, 1), SIZE, mode='bilinear')
    masks = masks.unflatten(0, (LAYERS, 3))
    expected = {name: torch.zeros(LAYERS, dtype=torch.float64) for name in found}
    rows = matches.rows
    assert len(matches) == LAYERS * 6
    for layer, image, query, segment in zip(rows.layer, rows.image, rows.query, matches.segment):
        x = masks[layer, image, query]
        t = padded(truth[image])[segment].double()
        p = x.sigmoid()
        cross_entropy = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
        dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        one = F.one_hot(layer, LAYERS)
        expected['loss_mask'] = expected['loss_mask'] + 5 * one * cross_entropy / 6
        expected['loss_dice'] = expected['loss_dice'] + 5 * one * dice / 6
    torch.testing.assert_close(found, expected)
    found_grads = torch.autograd.grad(sum(found.values()).sum(), leaves)
    expected_grads = torch.autograd.grad(sum(expected.values()).sum(), leaves)
    torch.testing.assert_close(found_grads, expected_grads)


@pytest.mark.parametrize('size', [SIZE, (32, 45)])
@pytest.mark.parametrize('truth_form', [as_map, as_masks])
@pytest.mark.parametrize('form', [product, dense])
def test_matching_on_masks_compares_all_pixels(predictions, form, truth_form, size):
    cls_logits, embeds, features = predictions
    segments = SegmentMap(torch.arange(4), map=torch.randint(-1, 4, size, dtype=torch.int32))
    batch = SegmentBatch([truth_form(segments)] * 3, size)
    mask_logits = form(embeds, features)
    logits, targets = all_pairs_on_masks(mask_logits, 1, batch, cls_logits[1])
    torch.testing.assert_close(
        logits, torch.einsum('bqc,bchw->bqhw', embeds[1], features).flatten(2))
    expected = F.interpolate(segments.dense()[None].double(), LOGITS_SIZE, mode='nearest')
    torch.testing.assert_close(targets, expected.flatten(2).transpose(1, 2).expand(3, -1, -1))


def test_segments_become_dense_masks(truth):
    for form in (as_map, as_masks):
        batch = SegmentBatch([form(s) for s in truth], SIZE)
        for image, segments in enumerate(truth):
            order = torch.arange(len(segments)).flip(0)
            assert torch.equal(batch.masks(image, order), padded(segments).flip(0))


@pytest.mark.parametrize('images', [[1], [1, 1]])
def test_nothing_to_find(truth, predictions, images):
    cls_logits, embeds, features = predictions
    embeds = embeds[:, :len(images)].clone().requires_grad_()
    features = features[:len(images)].clone().requires_grad_()
    losses = MaskCriterion(CLASSES, **MASKFORMER)(
        cls_logits[:, :len(images)], ProductMaskLogits(embeds, features),
        SegmentBatch([truth[i] for i in images], SIZE))
    assert losses['loss_mask'] == losses['loss_dice'] == 0 < losses['loss_cls']
    sum(losses.values()).backward()
    assert (embeds.grad == 0).all() and (features.grad == 0).all()


def test_focal_loss_equals_mmdet():
    torch.manual_seed(0)
    logits, targets = torch.randn(5, 40) * 3, torch.rand(5, 40).round()
    expected = py_sigmoid_focal_loss(logits, targets, reduction='none').mean(1)
    torch.testing.assert_close(mask_focal_loss(logits, targets), expected)


def test_focal_cost_equals_mmdet():
    torch.manual_seed(0)
    logits, masks = torch.randn(5, 8, 12) * 3, torch.rand(3, 8, 12) > 0.7
    cost = MMDET_TASK_UTILS.build(dict(type='FocalLossCost', weight=20.0, binary_input=True))
    expected = cost(InstanceData(masks=logits), InstanceData(masks=masks.long()))
    found = MaskFocalCost(weight=20.0)(MaskMatchInputs(
        torch.zeros(1, 5, 3), torch.zeros(1, 3).long(), logits.flatten(1)[None],
        masks.flatten(1).T[None].float()))
    # mmdet takes logarithms of rounded probabilities
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=2e-4)


def test_fractional_targets_cost_the_blend():
    """At points between pixels a target is a fraction: the cost is that of the loss, averaged."""
    torch.manual_seed(0)
    logits, targets = torch.randn(1, 2, 30), torch.rand(1, 30, 3)
    found = MaskFocalCost()(MaskMatchInputs(
        torch.zeros(1, 2, 3), torch.zeros(1, 3).long(), logits, targets))
    for q in range(2):
        for n in range(3):
            x, t = logits[:, q], targets[..., n]
            blend = t * _focal(x, torch.ones_like(t)) + (1 - t) * _focal(x, torch.zeros_like(t))
            torch.testing.assert_close(found[0, q, n], blend.mean())


def _focal(x, t):
    return py_sigmoid_focal_loss(x, t, reduction='none')


@pytest.mark.parametrize('option, choices', [
    ('mask_loss', 'cross_entropy, focal'), ('match_on', 'points, masks'),
    ('loss_on', 'points, masks')])
def test_unknown_names(option, choices):
    with pytest.raises(ValueError, match=f'{option}=.*{choices}'):
        MaskCriterion(CLASSES, **{option: 'pixels'})


MEMORY = '''
    import resource
    import torch
    import mmpanseg
    from mmpanseg.models.losses.mask_criterion import MaskCriterion
    from mmpanseg.structures import SegmentBatch, SegmentMap
    from mmpanseg.structures.mask_logits import ProductMaskLogits

    torch.manual_seed(0)
    embeds = torch.randn(4, 1, 100, 16, requires_grad=True)
    features = torch.randn(1, 16, 128, 128, requires_grad=True)
    index = torch.randint({segments}, (512, 512), dtype=torch.int32)
    truth = SegmentBatch([SegmentMap(torch.zeros({segments}).long(), map=index)], (512, 512))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    losses = MaskCriterion(5, loss_on='masks', num_points=1000)(
        torch.randn(4, 1, 100, 6), ProductMaskLogits(embeds, features), truth)
    sum(losses.values()).backward()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
'''


@pytest.mark.slow
def test_memory_of_whole_masks_does_not_grow_with_segments():
    used = []
    for segments in (10, 100):  # the planes of 360 more pairs would take over 2 GB
        done = subprocess.run(
            [sys.executable, '-c', textwrap.dedent(MEMORY.format(segments=segments))],
            capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        used.append(int(done.stdout.split()[-1]))
    assert used[1] - used[0] < 200 << 10, f'{used[0] >> 10} MB against {used[1] >> 10} MB'
