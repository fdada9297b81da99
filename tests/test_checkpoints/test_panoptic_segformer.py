"""Names and shapes of the published Panoptic SegFormer models, and what conversion does to them."""
import pytest
import torch

from mmpanseg.analysis import build_on_meta
from mmpanseg.checkpoints import check_fit, convert, convert_panoptic_segformer

RESNET = dict(type='mmdet.ResNet', num_stages=4, out_indices=(1, 2, 3), frozen_stages=1,
              norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True)
PVT = dict(type='mmdet.PyramidVisionTransformerV2', out_indices=(1, 2, 3))

# backbone, its channels, millions of parameters of the whole model
PUBLISHED = {
    'r50': (dict(RESNET, depth=50), [512, 1024, 2048], 51.27),
    'r101': (dict(RESNET, depth=101), [512, 1024, 2048], 70.26),
    'pvtv2b0': (dict(PVT, embed_dims=32, num_layers=[2, 2, 2, 2]), [64, 160, 256], 26.25),
    'pvtv2b2': (dict(PVT, embed_dims=64, num_layers=[3, 4, 6, 3]), [128, 320, 512], 48.40),
    'pvtv2b5': (dict(PVT, embed_dims=64, num_layers=[3, 6, 40, 3], mlp_ratios=(4, 4, 4, 4)),
                [128, 320, 512], 105.00),
    'swinl': (dict(type='mmdet.SwinTransformer', embed_dims=192, depths=(2, 2, 18, 2),
                   num_heads=(6, 12, 24, 48), window_size=7, out_indices=(1, 2, 3)),
              [384, 768, 1536], 221.35),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_names_and_shapes_are_the_published_ones(published, name):
    backbone, channels, millions = PUBLISHED[name]
    model = build_on_meta(dict(
        type='mmpanseg.MaskTransformer', num_things_classes=80, num_stuff_classes=53,
        backbone=backbone,
        panoptic_head=dict(type='mmpanseg.PanopticSegFormerHead', in_channels=channels,
                           mask_decoder=dict(classify=True, locate=True)),
        panoptic_fusion_head=dict(type='mmpanseg.MaskWiseFusionHead',
                                  score_activation='sigmoid', mask_activation='none')))
    converted = convert(published(f'panoptic_segformer/manifest_{name}.json'))
    assert converted.source == 'panoptic_segformer'
    assert not converted.unused
    check_fit(converted, model)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions


def test_older_names_convert_alike():
    older = {'bbox_head.mask_head.blocks.0.attn.q.weight': 0,
             'bbox_head.mask_head2.attnen.k.bias': 1, 'bbox_head.cls_branches2.3.weight': 2}
    newer = {'bbox_head.things_mask_head.blocks.0.attn.q.weight': 0,
             'bbox_head.stuff_mask_head.attnen.k.bias': 1,
             'bbox_head.cls_thing_branches.3.weight': 2}
    assert convert_panoptic_segformer(older) == convert_panoptic_segformer(newer)


def test_foreign_key_is_named():
    with pytest.raises(KeyError, match='bbox_head.fc_cls.weight'):
        convert_panoptic_segformer({'bbox_head.fc_cls.weight': torch.zeros(1)})
