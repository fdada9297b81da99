# Panoptic SegFormer (CVPR version) with ResNet-50. The numbers of classes are set here, at the top
# of `model`, and nowhere else; a config for other data changes these two.
model = dict(
    type='mmpanseg.MaskTransformer',
    num_things_classes=80,
    num_stuff_classes=53,
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=1),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/resnet50-0676ba61.pth')),
    panoptic_head=dict(
        type='mmpanseg.PanopticSegFormerHead',
        in_channels=[512, 1024, 2048],
        channels=256,
        num_queries=300,
        location='box',
        pixel_decoder=dict(
            type='mmpanseg.DeformableTokenEncoder',
            num_levels=4,
            num_layers=6,
            num_heads=8,
            num_points=4,
            feedforward_channels=1024),
        location_decoder=dict(
            type='mmpanseg.LocationDecoder',
            num_layers=6,
            num_heads=8,
            num_points=4,
            feedforward_channels=1024),
        mask_decoder=dict(
            type='mmpanseg.MaskAttentionDecoder', num_layers=4, num_heads=8),
        stuff_mask_decoder=dict(
            type='mmpanseg.MaskAttentionDecoder',
            num_layers=6,
            num_heads=8,
            self_attention=True,
            query_pos_mode='accumulate'),
        criterion=dict(
            type='mmpanseg.PanopticSegFormerCriterion',
            # as the paper has it, three rounds of selection too; panoptic_segformer_released.py
            # has the released code's
            balance='image',
            stuff_cls_without_things=True)),
    panoptic_fusion_head=dict(
        type='mmpanseg.MaskWiseFusionHead',
        alpha=1,
        beta=2,
        t_cnf=0.25,
        t_keep=0.6,
        score_activation='sigmoid',
        mask_activation='none',
        resize_once=True))
