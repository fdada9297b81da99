"""Norms with one value per channel: the error text names image sizes and fixes."""
import pytest
import torch
from mmdet.structures import DetDataSample

from mmpanseg.registry import MODELS
from mmpanseg.structures import SegmentMap
from mmpanseg.utils.modules import explain_norm_errors


def model_of(pixel_decoder, frozen):
    return MODELS.build(dict(
        type='mmpanseg.MaskTransformer', num_things_classes=1, num_stuff_classes=1,
        backbone=dict(type='ResNet', depth=18, base_channels=8, norm_eval=frozen),
        panoptic_head=dict(
            type='mmpanseg.Mask2FormerHead', in_channels=[8, 16, 32, 64], num_queries=3,
            channels=32, out_channels=32, levels=[0],
            pixel_decoder=dict(type=f'mmpanseg.{pixel_decoder}', norm_cfg=dict(type='BN')),
            transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=1,
                                     feedforward_channels=32),
            criterion=dict(type='mmpanseg.MaskCriterion', num_points=16)))).train()


def batch(images, side=32):
    sample = DetDataSample(
        metainfo=dict(batch_input_shape=(side, side), img_shape=(side, side)),
        gt_segments=SegmentMap(torch.tensor([0]), map=torch.zeros(side, side).int()))
    return torch.randn(images, 3, side, side), [sample] * images


@pytest.mark.parametrize('pixel_decoder, frozen', [
    ('FPNPixelDecoder', False),  # in the backbone
    ('FPNPixelDecoder', True), ('FaPNPixelDecoder', True), ('BiFPNPixelDecoder', True)])
def test_one_small_image(pixel_decoder, frozen):
    model = model_of(pixel_decoder, frozen)
    with pytest.raises(ValueError, match=r'one value per channel, in a batch of 1 '
                       r'image\(s\) of 32x32: use at least two images .* or larger images'):
        model.loss(*batch(1))
    assert sum(model.loss(*batch(2)).values()).isfinite()
    assert sum(model.loss(*batch(1, 64)).values()).isfinite()


def test_other_errors_stay():
    with pytest.raises(ValueError, match='^something else$'), explain_norm_errors(torch.zeros(1)):
        raise ValueError('something else')
