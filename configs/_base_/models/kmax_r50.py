# kMaX-DeepLab with ResNet-50 at 1281 x 1281. The numbers of classes are set here, at the top of
# `model`, and nowhere else. Batch norms are synchronized over devices by `sync_bn`, which one
# device and a CPU do without.
norm_cfg = dict(type='BN', eps=1e-3, momentum=0.01)
model = dict(
    type='mmpanseg.MaskTransformer',
    num_things_classes=80,
    num_stuff_classes=53,
    data_preprocessor=dict(
        type='mmpanseg.FixedSizeDataPreprocessor',
        size=(1281, 1281),
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True),
    backbone=dict(
        type='mmpanseg.KMaXResNet',
        depth=50,
        norm_cfg=norm_cfg,
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/resnet50-0676ba61.pth')),
    panoptic_head=dict(
        type='mmpanseg.KMaXDeepLabHead',
        in_channels=[256, 512, 1024, 2048],
        num_queries=128,
        norm_cfg=norm_cfg,
        pixel_decoder=dict(type='mmpanseg.KMaXPixelDecoder'),
        transformer_decoder=dict(
            type='mmpanseg.KMeansDecoder', num_layers=(2, 2, 2), drop_path=0.2),
        semantic_head=dict(type='mmpanseg.KMaXSemanticHead'),
        criterion=dict(type='mmpanseg.KMaXCriterion')),
    panoptic_fusion_head=dict(type='mmpanseg.KMaXFusionHead'))
sync_bn = 'torch'
del norm_cfg
