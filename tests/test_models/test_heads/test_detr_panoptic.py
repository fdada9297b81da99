"""DETR's mask head on Deformable DETR: size, independence of queries, padding, training."""
import pytest
import torch
from mmdet.structures import DetDataSample

from mmpanseg.models.heads import DETRPanopticHead
from mmpanseg.models.transformer_decoders.detr_mask_decoder import DETRMaskDecoder
from mmpanseg.structures.segment_map import SegmentMap
from mmpanseg.utils import device as chunks

CHANNELS = [8, 16, 24, 32]


def build_head(maps=3, **options):
    small = dict(num_layers=1, num_heads=4, feedforward_channels=32)
    costs = [dict(type='mmpanseg.FocalClassificationCost', weight=2.0),
             dict(type='mmpanseg.LocationL1Cost', weight=5.0)]
    torch.manual_seed(0)
    head = DETRPanopticHead(
        CHANNELS, maps, num_things_classes=3, num_stuff_classes=2, num_queries=12, channels=128,
        max_per_image=6, mask_decoder=dict(type='mmpanseg.DETRMaskDecoder', num_heads=8),
        pixel_decoder=dict(type='mmpanseg.DeformableTokenEncoder', num_levels=maps + (maps > 1),
                           **small),
        location_decoder=small, criterion=dict(
            type='mmpanseg.PanopticSegFormerCriterion', mask_costs=costs), **options)
    head.init_weights()
    return head


def features(batch=1, size=(64, 96)):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, channels, size[0] >> shift, size[1] >> shift, generator=generator)
            for shift, channels in enumerate(CHANNELS, 2)]


def test_the_mask_head_has_1_2_million_parameters():
    """Appendix B.3; with the projections of queries and keys a little more."""
    decoder = DETRMaskDecoder(256, [1024, 512, 256])
    assert sum(p.numel() for p in decoder.convolutions.parameters()) == pytest.approx(
        1.2e6, rel=0.01)


@pytest.mark.parametrize('maps', [1, 3])
@torch.no_grad()
def test_masks_at_stride_4(maps, monkeypatch):
    head = build_head(maps).eval()
    cls_logits, masks = head.predict(features())
    assert cls_logits.shape == (1, 6, 5) and masks.size == (16, 24)
    dense = masks.dense(-1, 0, torch.arange(6))
    assert 0 < dense.min() and dense.max() < 1 and dense.std(0).max() > 0
    monkeypatch.setitem(chunks.CHUNK_ELEMENTS, 'cpu', 1)
    torch.testing.assert_close(head.predict(features())[1].dense(-1, 0, torch.arange(6)), dense)


@torch.no_grad()
def test_attention_leaves_padding_out():
    head = build_head().eval()
    maps = features(size=(64, 64))
    metainfos = [dict(img_shape=(64, 32), batch_input_shape=(64, 64))]
    tokens, located = head.locate(maps, metainfos)
    tokens = tokens.first_levels(3)
    decoded = head.mask_decoder(located.queries[-1], None, tokens)
    seen = []
    hook = head.mask_decoder.convolutions.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0]))
    decoded.masks[-1].masks(0)
    hook.remove()
    attention = torch.cat(seen)
    assert attention.shape == (12, 8, 2, 2)
    assert not attention[..., 1].any() and attention[..., 0].all()
    torch.testing.assert_close(attention.sum((1, 2, 3)), torch.ones(12))


def test_everything_trains():
    head = build_head()
    samples = []
    for number in range(2):
        segment_map = torch.zeros(64, 96, dtype=torch.int32)
        segment_map[20:50, 10:40 + 20 * number] = 1
        sample = DetDataSample(metainfo=dict(img_shape=(64, 96), batch_input_shape=(64, 96)))
        sample.gt_segments = SegmentMap(torch.tensor([3, number]), map=segment_map)
        samples.append(sample)
    losses = head.loss(features(2), samples)
    assert 'loss_mask_things' in losses and not any('stuff' in name for name in losses)
    sum(losses.values()).backward()
    without = [name for name, p in head.named_parameters()
               if p.grad is None or not p.grad.isfinite().all()]
    assert not without


@pytest.mark.parametrize('options, text', [
    (dict(maps=5), 'encoder_maps=5'), (dict(stuff_mask_decoder=dict()), 'stuff_mask_decoder')])
def test_mistakes(options, text):
    with pytest.raises(ValueError, match=text):
        build_head(**options)
