# Mask2Former with ResNet-50. The numbers of classes are set here, at the top of `model`, and
# nowhere else; a config for other data changes these two.
model = dict(
    type='mmpanseg.MaskTransformer',
    num_things_classes=80,
    num_stuff_classes=53,
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/resnet50-0676ba61.pth')),
    panoptic_head=dict(
        type='mmpanseg.Mask2FormerHead',
        in_channels=[256, 512, 1024, 2048],
        channels=256,
        out_channels=256,
        num_queries=100,
        pixel_decoder=dict(
            type='mmpanseg.MSDeformAttnPixelDecoder',
            num_layers=6,
            num_heads=8,
            num_points=4,
            feedforward_channels=1024),
        transformer_decoder=dict(
            type='mmpanseg.MaskedAttentionDecoder',
            num_layers=9,
            num_heads=8,
            feedforward_channels=2048),
        criterion=dict(
            type='mmpanseg.MaskCriterion',
            match_costs=[
                dict(type='mmpanseg.ClassificationCost', weight=2.0),
                dict(type='mmpanseg.MaskCrossEntropyCost', weight=5.0),
                dict(type='mmpanseg.MaskDiceCost', weight=5.0)],
            cls_weight=2.0,
            mask_weight=5.0,
            dice_weight=5.0,
            no_object_weight=0.1,
            num_points=12544,
            oversample_ratio=3.0,
            importance_ratio=0.75)),
    panoptic_fusion_head=dict(
        type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.8, iou_thr=0.8))
