"""Tiny models of all four systems with all their backbones, and data for them."""
import copy
from typing import Any

import torch
from mmdet.structures import DetDataSample
from torch import nn

from mmpanseg.registry import MODELS
from mmpanseg.structures import SegmentMap

NORMALIZE = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
WIDTHS = [8, 16, 32, 64]
RESNET = dict(type='ResNet', depth=18, base_channels=8, norm_eval=False)
LAYER = dict(num_layers=1, num_heads=4, feedforward_channels=32)
# a group of one channel cannot be normalized on a map of one cell
GROUPS = dict(norm_cfg=dict(type='GN', num_groups=8))
MASKED = dict(
    type='mmpanseg.Mask2FormerHead', in_channels=WIDTHS, num_queries=8, channels=32,
    out_channels=32, pixel_decoder=dict(
        type='mmpanseg.MSDeformAttnPixelDecoder', **LAYER, **GROUPS),
    transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', **dict(LAYER, num_layers=2)),
    criterion=dict(type='mmpanseg.MaskCriterion', num_points=64))
MASK2FORMER = dict(
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32, **NORMALIZE),
    backbone=RESNET, panoptic_head=MASKED,
    panoptic_fusion_head=dict(
        type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.0, iou_thr=0.0))
SEGFORMER = dict(
    data_preprocessor=dict(type='DetDataPreprocessor', **NORMALIZE),
    backbone=dict(RESNET, out_indices=(1, 2, 3)),
    panoptic_head=dict(
        type='mmpanseg.PanopticSegFormerHead', in_channels=WIDTHS[1:], num_queries=8, channels=32,
        max_per_image=8,
        pixel_decoder=dict(type='mmpanseg.DeformableTokenEncoder', **LAYER, **GROUPS),
        location_decoder=dict(type='mmpanseg.LocationDecoder', **LAYER),
        mask_decoder=dict(type='mmpanseg.MaskAttentionDecoder', num_layers=1, num_heads=4),
        stuff_mask_decoder=dict(
            type='mmpanseg.MaskAttentionDecoder', num_layers=1, num_heads=4, self_attention=True,
            query_pos_mode='accumulate')),
    panoptic_fusion_head=dict(
        type='mmpanseg.MaskWiseFusionHead', t_cnf=0.0, t_keep=0.0, score_activation='sigmoid',
        mask_activation='none', resize_once=True))
KMAX = dict(
    data_preprocessor=dict(type='mmpanseg.FixedSizeDataPreprocessor', size=None,
                           mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True),
    backbone=dict(type='mmpanseg.KMaXResNet', depth=18, base_channels=8, norm_eval=False),
    panoptic_head=dict(
        type='mmpanseg.KMaXDeepLabHead', in_channels=WIDTHS, num_queries=8, query_channels=16,
        channels=16, embed_channels=8,
        pixel_decoder=dict(type='mmpanseg.KMaXPixelDecoder', num_blocks=(1, 1, 1, 1),
                           base_channels=(8, 8, 8, 8)),
        transformer_decoder=dict(type='mmpanseg.KMeansDecoder', num_layers=(1, 1, 1),
                                 base_channels=8, ffn_channels=16),
        semantic_head=dict(type='mmpanseg.KMaXSemanticHead', channels=8,
                           low_level_channels=(4, 4)),
        criterion=dict(type='mmpanseg.KMaXCriterion', num_pixels=64, num_semantic_pixels=64)),
    panoptic_fusion_head=dict(
        type='mmpanseg.KMaXFusionHead', score_thr=0, overlap_thr=0, mask_thr=0.1))
SWIN = dict(type='SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8),
            window_size=4)
PVT = dict(type='mmpanseg.PVTv2', embed_dims=8, num_layers=[1, 1, 1, 1],
           num_heads=[1, 1, 2, 4], mlp_ratios=[2, 2, 2, 2], out_indices=(1, 2, 3))
MAX_S = dict(type='mmpanseg.MaXS', num_blocks=(1, 1, 2, 1), base_channels=8, num_heads=2)
SIMPLE = dict(type='mmpanseg.KMaXSimpleSemanticHead', channels=8)


def change(config: dict, **parts: dict) -> dict:
    """A copy; parts of an entry are changed, those of another type replaced."""
    config = copy.deepcopy(config)
    for name, part in parts.items():
        old = config.get(name)
        if isinstance(part, dict) and isinstance(old, dict) and (
                part.get('type') in (None, old.get('type'))):
            config[name] = change(old, **part)
        else:
            config[name] = part
    return config


SYSTEMS = dict(
    mask2former=MASK2FORMER,
    mp_former=dict(MASK2FORMER, panoptic_head=dict(MASKED, type='mmpanseg.MPFormerHead')),
    panoptic_segformer=SEGFORMER,
    kmax_deeplab=KMAX)
VARIANTS = dict(
    SYSTEMS,
    **{f'mask2former_{name}': change(MASK2FORMER, panoptic_head=dict(
        pixel_decoder=dict(type=f'mmpanseg.{name}PixelDecoder', **options, **GROUPS)))
        for name, options in dict(FPN={}, TransformerFPN=LAYER, SemanticFPN={}, FaPN={},
                                  BiFPN={}).items()},
    mask2former_swin=change(MASK2FORMER, backbone=SWIN),
    panoptic_segformer_pvt=change(
        SEGFORMER, backbone=PVT, panoptic_head=dict(in_channels=[8, 16, 32])),
    panoptic_segformer_swin=change(
        SEGFORMER, backbone=dict(SWIN, out_indices=(1, 2, 3))),
    kmax_deeplab_convnext=change(KMAX, backbone=dict(
        type='mmpanseg.ConvNeXt', arch=((1, 1, 1, 1), WIDTHS))),
    kmax_deeplab_max_s=change(
        KMAX, backbone=MAX_S, panoptic_head=dict(
            in_channels=[32, 64, 128, 256], semantic_head=dict(low_level_act='gelu'))),
    kmax_deeplab_tensorflow=change(
        KMAX, backbone=dict(type='mmpanseg.PreActivatedResNet', depth=50, base_channels=4),
        panoptic_head=dict(
            in_channels=[16, 32, 64, 128], semantic_head=dict(
                low_level_act='relu', align_corners='always'),
            pixel_decoder=dict(align_corners='always', dilation=2)),
        panoptic_fusion_head=dict(align_corners='always')),
    kmax_deeplab_cityscapes=change(
        KMAX, backbone=dict(with_stem=True, stem_channels=8), panoptic_head=dict(
            in_channels=[8, *WIDTHS], semantic_head=SIMPLE,
            criterion=dict(num_semantic_pixels=0), pixel_decoder=dict(
                num_blocks=(1, 1, 1, 1, 1), base_channels=(8, 8, 8, 8, 8), stem_before_res2=True,
                stage_types=('axial', 'axial', 'bottleneck', 'bottleneck', 'bottleneck')))))
ALL = dict(panoptic_on=True, instance_on=True, semantic_on=True)


def build(name: str, things: int = 2, stuff: int = 2, parts: dict | None = None,
          **test_cfg: Any) -> nn.Module:
    """A model of ``VARIANTS`` with random weights, some of its entries changed.

    Without ``test_cfg`` it gives all outputs that its classes allow.
    """
    torch.manual_seed(0)
    outputs = dict(ALL, instance_on=things > 0)
    model = MODELS.build(dict(
        change(VARIANTS[name], **parts or {}), type='mmpanseg.MaskTransformer',
        num_things_classes=things, num_stuff_classes=stuff,
        test_cfg=dict(outputs, **test_cfg)))
    model.init_weights()
    for key, buffer in model.named_buffers():
        if key.endswith('cls_offset'):  # kMaX-DeepLab's "no object" is likely at first
            buffer.zero_()
    return model


def batch(*sizes: tuple[int, int], classes: int = 4, channels: int = 3) -> dict:
    """Images of random pixels and stripes of classes as ground truth, before preprocessing."""
    generator = torch.Generator().manual_seed(0)
    samples, images = [], []
    for size in sizes:
        images.append(torch.randint(
            256, (channels, *size), dtype=torch.uint8, generator=generator))
        rows = torch.arange(size[0]) * classes // size[0]
        labels, index = rows.unique(return_inverse=True)
        samples.append(DetDataSample(
            metainfo=dict(img_shape=size, ori_shape=size, img_path='made_up.png'),
            gt_segments=SegmentMap(
                labels, map=index[:, None].expand(size).to(torch.int32).contiguous())))
    return dict(inputs=images, data_samples=samples)
