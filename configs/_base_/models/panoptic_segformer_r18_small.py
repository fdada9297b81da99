# A Panoptic SegFormer that trains from scratch on a CPU in minutes: ResNet-18 with trainable batch
# norm, 128 channels, 3 encoder and 3 location decoder layers, 2 mask layers and the tail, 60
# queries. Scores of so short a training are low, hence the threshold.
_base_ = './panoptic_segformer_r50.py'

model = dict(
    backbone=dict(
        depth=18, frozen_stages=-1, norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False, init_cfg=None),
    panoptic_head=dict(
        in_channels=[128, 256, 512],
        channels=128,
        num_queries=60,
        max_per_image=60,
        pixel_decoder=dict(num_layers=3, feedforward_channels=512),
        location_decoder=dict(num_layers=3, feedforward_channels=512),
        mask_decoder=dict(num_layers=2),
        stuff_mask_decoder=dict(num_layers=3)),
    panoptic_fusion_head=dict(t_cnf=0.15))
