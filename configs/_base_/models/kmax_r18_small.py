# A kMaX-DeepLab that trains from scratch on a CPU in minutes: ResNet-18, an axial block at each of
# two strides, queries of 128 channels, one decoder layer at each of three strides. Running
# statistics follow faster than published, as the training is short.
_base_ = './kmax_r50.py'

norm_cfg = dict(type='BN', eps=1e-3, momentum=0.1)

model = dict(
    data_preprocessor=dict(size=None),
    backbone=dict(depth=18, norm_cfg=norm_cfg, init_cfg=None),
    panoptic_head=dict(
        in_channels=[64, 128, 256, 512],
        num_queries=60,
        norm_cfg=norm_cfg,
        query_channels=128,
        channels=128,
        embed_channels=64,
        pixel_decoder=dict(num_blocks=(1, 1, 1, 1), base_channels=(128, 64, 32, 32)),
        transformer_decoder=dict(
            num_layers=(1, 1, 1), base_channels=64, ffn_channels=512, drop_path=0.0),
        semantic_head=dict(channels=64, low_level_channels=(32, 16)),
        criterion=dict(num_pixels=1024, num_semantic_pixels=1024)))
del norm_cfg
