# A Mask2Former that trains from scratch on a CPU in minutes: ResNet-18 with trainable batch norm,
# 128 channels, 3 encoder and 6 decoder layers, 60 queries, 4096 points.
_base_ = './mask2former_r50.py'

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(
        depth=18, norm_cfg=dict(type='BN', requires_grad=True), norm_eval=False, init_cfg=None),
    panoptic_head=dict(
        in_channels=[64, 128, 256, 512],
        channels=128,
        out_channels=128,
        num_queries=60,
        pixel_decoder_fp32=False,
        pixel_decoder=dict(num_layers=3, feedforward_channels=512),
        transformer_decoder=dict(num_layers=6, feedforward_channels=1024),
        criterion=dict(num_points=4096)))
