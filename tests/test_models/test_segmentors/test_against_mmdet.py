"""The whole model against mmdet's Mask2Former with the same weights, inputs and random points."""
import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import mask2former_head as mmdet_head
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData

from mmpanseg.registry import MODELS
from mmpanseg.structures.segment_map import SegmentMap

# mmdet computes position encodings and reference points in single precision, also in a model of
# double precision: the reason for the tolerances below.
ATOL, RTOL = 1e-5, 1e-5
THINGS, STUFF, QUERIES, WIDTH, LAYERS, POINTS = 3, 4, 12, 32, 3, 60
BACKBONE = dict(type='ResNet', depth=18, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3),
                norm_cfg=dict(type='BN'), style='pytorch')
IN_CHANNELS = [8, 16, 32, 64]


def build_mmdet():
    attention = dict(embed_dims=WIDTH, num_heads=4, dropout=0.0, batch_first=True)
    ffn = dict(embed_dims=WIDTH, feedforward_channels=48, num_fcs=2, ffn_drop=0.0,
               act_cfg=dict(type='ReLU', inplace=True))
    position = dict(num_feats=WIDTH // 2, normalize=True)
    head = dict(
        type='Mask2FormerHead', in_channels=IN_CHANNELS, strides=[4, 8, 16, 32],
        feat_channels=WIDTH, out_channels=WIDTH, num_things_classes=THINGS,
        num_stuff_classes=STUFF, num_queries=QUERIES, num_transformer_feat_level=3,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder', num_outs=3, norm_cfg=dict(type='GN', num_groups=8),
            act_cfg=dict(type='ReLU'), positional_encoding=position,
            encoder=dict(num_layers=2, layer_cfg=dict(
                self_attn_cfg=dict(attention, num_levels=3, num_points=4),
                ffn_cfg=ffn))),
        positional_encoding=position,
        transformer_decoder=dict(
            return_intermediate=True, num_layers=LAYERS, layer_cfg=dict(
                self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn), init_cfg=None),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=2.0,
                      reduction='mean', class_weight=[1.0] * (THINGS + STUFF) + [0.1]),
        loss_mask=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='mean',
                       loss_weight=5.0),
        loss_dice=dict(type='DiceLoss', use_sigmoid=True, activate=True, reduction='mean',
                       naive_dice=True, eps=1.0, loss_weight=5.0))
    model = dict(
        type='Mask2Former', backbone=BACKBONE, panoptic_head=head,
        panoptic_fusion_head=dict(
            type='MaskFormerFusionHead', num_things_classes=THINGS, num_stuff_classes=STUFF),
        train_cfg=dict(
            num_points=POINTS, oversample_ratio=3.0, importance_sample_ratio=0.75,
            assigner=dict(type='HungarianAssigner', match_costs=[
                dict(type='ClassificationCost', weight=2.0),
                dict(type='CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
                dict(type='DiceCost', weight=5.0, pred_act=True, eps=1.0)]),
            sampler=dict(type='MaskPseudoSampler')),
        test_cfg=dict(panoptic_on=True, semantic_on=False, instance_on=False,
                      object_mask_thr=0.1, iou_thr=0.05, filter_low_score=True))
    return MMDET_MODELS.build(ConfigDict(model))


def build_ours():
    return MODELS.build(dict(
        type='mmpanseg.MaskTransformer', num_things_classes=THINGS, num_stuff_classes=STUFF,
        backbone=dict(BACKBONE, type='mmdet.ResNet'),
        panoptic_head=dict(
            type='mmpanseg.Mask2FormerHead', in_channels=IN_CHANNELS, channels=WIDTH,
            out_channels=WIDTH, num_queries=QUERIES,
            pixel_decoder=dict(
                type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=2, num_heads=4,
                feedforward_channels=48, norm_cfg=dict(type='GN', num_groups=8)),
            transformer_decoder=dict(
                type='mmpanseg.MaskedAttentionDecoder', num_layers=LAYERS, num_heads=4,
                feedforward_channels=48),
            criterion=dict(type='mmpanseg.MaskCriterion', num_points=POINTS)),
        panoptic_fusion_head=dict(
            type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.1, iou_thr=0.05)))


@pytest.fixture
def models():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    theirs, ours = build_mmdet(), build_ours()
    for parameter in theirs.parameters():  # no parameter keeps an initial 0 or 1
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=1.5 / parameter[0].numel()**0.5)
        else:
            parameter.data += 0.1 * torch.randn_like(parameter)
    for module in theirs.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs.double().eval(), ours.double().eval()


def batch(seed=0, size=(64, 96)):
    """Images and the same ground truth as dense masks (mmdet) and as a map (ours)."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    images = torch.randn(3, 3, *size, dtype=torch.float64)
    theirs, ours = [], []
    for cells, labels in ((5, [0, 0, 2, 4, 6]), (0, []), (2, [1, 5])):
        coarse = torch.randint(-1, max(cells, 1), (4, 6)) if cells else torch.full((4, 6), -1)
        index = coarse.repeat_interleave(16, 0).repeat_interleave(16, 1)
        labels = torch.tensor(labels, dtype=torch.long)
        meta = dict(batch_input_shape=size, img_shape=size, ori_shape=(50, 75))
        ours.append(DetDataSample(metainfo=meta, gt_segments=SegmentMap(labels, map=index.int())))
        theirs.append(DetDataSample(metainfo=meta))
        theirs[-1].target = (labels, torch.stack([index == i for i in range(cells)])
                             if cells else torch.zeros(0, *size, dtype=torch.bool))
    return images, theirs, ours


def test_predictions_equal(models):
    theirs, ours = models
    images, _, samples = batch()
    with torch.no_grad():
        features = theirs.extract_feat(images)
        cls_list, mask_list = theirs.panoptic_head(features, samples)
        cls_logits, mask_logits = ours.panoptic_head(ours.extract_feat(images))
    masks = torch.einsum('lbqc,bchw->lbqhw', mask_logits.embeds, mask_logits.features)
    torch.testing.assert_close(cls_logits, torch.stack(cls_list), atol=ATOL, rtol=RTOL)
    torch.testing.assert_close(masks, torch.stack(mask_list), atol=ATOL, rtol=RTOL)


def test_panoptic_maps_equal(models):
    theirs, ours = models
    images, _, samples = batch()
    with torch.no_grad():
        expected = [s.pred_panoptic_seg.sem_seg for s in theirs.predict(
            images, [s.clone() for s in samples])]
        found = [s.pred_panoptic_seg.sem_seg for s in ours.predict(
            images, [s.clone() for s in samples])]
    assert sum(len(x.unique()) for x in expected) > 4
    for ours_map, theirs_map in zip(found, expected, strict=True):
        assert torch.equal(ours_map.long(), theirs_map.long())


class Replay:
    """mmdet's random points, in the order of our criterion's calls."""

    def __init__(self, matching, losses, rows_per_image):
        num_images = len(rows_per_image)
        self.matching = iter(
            torch.cat(matching[i:i + num_images]) for i in range(0, len(matching), num_images))
        # theirs: layer, image, query; ours: image, layer, query
        split = [layer.split(rows_per_image) for layer in losses]
        self.rows = torch.cat([layer[i] for i in range(num_images) for layer in split])

    def uniform(self, sets, device, dtype):
        return next(self.matching)

    def uncertain(self, logits):
        rows, self.rows = self.rows[:len(logits)], self.rows[len(logits):]
        return rows


def test_losses_and_gradients_equal(models, monkeypatch):
    theirs, ours = models
    # without the image that has no ground truth: mmdet counts it as one mask in the normalizer
    images, their_samples, samples = (x[::2] for x in batch())
    matching, losses = [], []

    def uncertain(*args):
        losses.append(original(*args))
        return losses[-1]

    def rand(*size, **kwargs):
        points = torch.empty(*size, dtype=torch.float64).uniform_()
        if points.shape == (1, POINTS, 2):
            matching.append(points)
        return points

    original = mmdet_head.get_uncertain_point_coords_with_randomness
    monkeypatch.setattr(mmdet_head, 'get_uncertain_point_coords_with_randomness', uncertain)
    head = theirs.panoptic_head
    monkeypatch.setattr(
        head, 'preprocess_gt',
        lambda *args: [InstanceData(labels=s.target[0], masks=s.target[1].long())
                       for s in their_samples])
    for sample in their_samples:
        sample.gt_instances = InstanceData()
        sample.gt_sem_seg = PixelData()
    with monkeypatch.context() as patch:
        patch.setattr(torch, 'rand', rand)
        patch.setattr(torch.Tensor, 'float', torch.Tensor.double)  # mmdet casts its targets
        expected = head.loss(theirs.extract_feat(images), their_samples)
    sum(x.sum() for x in expected.values()).backward()
    criterion = ours.panoptic_head.criterion
    criterion.sampler = Replay(matching, losses, [5, 2])
    found = ours.loss(images, samples)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.squeeze(), rtol=RTOL, atol=ATOL)
    sum(found.values()).backward()
    parameters = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(
            parameters[name].grad, parameter.grad, rtol=1e-3, atol=1e-4, msg=name)
