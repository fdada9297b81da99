"""One model class for three tasks: each trains and predicts with its own outputs."""
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample

from mmpanseg.structures import SegmentMap


def build(things, stuff, **test_cfg):
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='mmpanseg.MaskTransformer', num_things_classes=things, num_stuff_classes=stuff,
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
        backbone=dict(type='ResNet', depth=18, base_channels=8),
        panoptic_head=dict(
            type='mmpanseg.Mask2FormerHead', in_channels=[8, 16, 32, 64], num_queries=8,
            channels=32, out_channels=32,
            pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1,
                               feedforward_channels=64),
            transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=2,
                                     feedforward_channels=64),
            criterion=dict(type='mmpanseg.MaskCriterion', num_points=64)),
        panoptic_fusion_head=dict(
            type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.0, iou_thr=0.0),
        test_cfg=test_cfg))
    model.init_weights()
    return model


def batch(segments):
    size = segments[0].shape
    return dict(inputs=[torch.randint(0, 256, (3, *size), dtype=torch.uint8) for _ in segments],
                data_samples=[DetDataSample(
                    metainfo=dict(img_shape=size, ori_shape=(40, 56)), gt_segments=s)
                    for s in segments])


def semantic_truth():
    """One segment per class, a map with void."""
    index = torch.full((60, 80), -1, dtype=torch.int32)
    index[:30], index[30:, :50] = 0, 1
    return SegmentMap(torch.tensor([3, 0]), map=index)


def instance_truth():
    """Overlapping masks, two of the same class."""
    masks = torch.zeros(3, 60, 80, dtype=torch.bool)
    masks[0, 5:40, 5:40] = masks[1, 20:50, 20:70] = masks[2, 30:60, 60:] = True
    return SegmentMap(torch.tensor([1, 1, 0]), masks=masks)


@pytest.mark.parametrize('things, stuff, truth, test_cfg, outputs', [
    (0, 4, semantic_truth, dict(panoptic_on=False, semantic_on=True), {'pred_sem_seg'}),
    (0, 4, semantic_truth, dict(panoptic_on=False, semantic_on=True, mode='tile', tile=(48, 64),
                                overlap=16), {'pred_sem_seg'}),
    (2, 0, instance_truth, dict(panoptic_on=False, instance_on=True), {'pred_instances'}),
    (2, 2, semantic_truth, dict(instance_on=True, semantic_on=True),
     {'pred_panoptic_seg', 'pred_instances', 'pred_sem_seg'}),
    (2, 2, semantic_truth, dict(), {'pred_panoptic_seg'})])
def test_trains_and_predicts(things, stuff, truth, test_cfg, outputs):
    model = build(things, stuff, **test_cfg).train()
    data = model.data_preprocessor(batch([truth(), truth()]), True)
    losses = model(**data, mode='loss')
    total = sum(losses.values())
    assert total.isfinite()
    total.backward()
    assert model.panoptic_head.cls_embed.weight.grad.abs().sum() > 0

    model.eval()
    with torch.no_grad():
        for sample in model.test_step(batch([truth(), truth()])):
            assert {key for key in sample.keys() if key.startswith('pred')} == outputs
            if 'pred_sem_seg' in outputs:
                labels = sample.pred_sem_seg.sem_seg
                assert labels.shape == (1, 40, 56) and 0 <= labels.min()
                assert labels.max() < things + stuff
            if 'pred_instances' in outputs:
                found = sample.pred_instances
                assert found.masks.shape == (len(found.labels), 40, 56)
                assert (found.labels < things).all()
                assert len(found.labels) == (16 if not stuff else (found.labels < things).sum())


def test_instances_need_things():
    with pytest.raises(ValueError, match='instance_on=True needs classes that are things'):
        build(0, 4, instance_on=True)


def test_missing_annotations_are_named():
    model = build(1, 1)
    data = batch([semantic_truth()])
    del data['data_samples'][0].gt_segments
    with pytest.raises(ValueError, match='no gt_segments'):
        model(**model.data_preprocessor(data, True), mode='loss')


def test_predicts_alike_with_gradients_switched_on():
    model = build(2, 2, instance_on=True, semantic_on=True).eval()
    data = model.data_preprocessor(batch([semantic_truth()]))
    with torch.no_grad():
        quiet = model.predict(data['inputs'], data['data_samples'])[0].clone()
    loud = model.predict(data['inputs'], data['data_samples'])[0]
    assert torch.equal(loud.pred_panoptic_seg.sem_seg, quiet.pred_panoptic_seg.sem_seg)
    assert torch.equal(loud.pred_sem_seg.sem_seg, quiet.pred_sem_seg.sem_seg)
    assert torch.equal(loud.pred_instances.scores, quiet.pred_instances.scores)
    assert not loud.pred_instances.scores.requires_grad


@pytest.mark.parametrize('things, stuff', [(1000, 0), (900, 100), (0, 1203)])
def test_too_many_classes_for_panoptic_results(things, stuff):
    with pytest.raises(ValueError, match=f'num_things_classes {things}, num_stuff_classes {stuff}'
                                         '.* 1000 x .*at most 999'):
        build(things, stuff)


@pytest.mark.parametrize('things, stuff, test_cfg', [
    (1203, 0, dict(panoptic_on=False, instance_on=True)),
    (0, 1203, dict(panoptic_on=False, semantic_on=True))])
def test_many_classes_without_panoptic_results(things, stuff, test_cfg):
    """Labels of 1000 and more are returned unchanged."""
    model = build(things, stuff, **test_cfg).eval()
    with torch.no_grad():
        model.panoptic_head.cls_embed.weight.zero_()
        model.panoptic_head.cls_embed.bias.zero_()
        model.panoptic_head.cls_embed.bias[1150] = 20
    data = batch([semantic_truth()])
    sample, = model.test_step(data)
    found = sample.pred_instances.labels if things else sample.pred_sem_seg.sem_seg
    assert (found[:8] if things else found).unique().tolist() == [1150]
