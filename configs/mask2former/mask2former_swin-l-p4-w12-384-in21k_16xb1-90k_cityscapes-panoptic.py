_base_ = [
    './mask2former_r50_8xb2-90k_cityscapes-panoptic.py',
    '../_base_/backbones/swin-l-384-in21k.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.pop('backbone')),
    panoptic_head=dict(in_channels=_base_.pop('in_channels'), num_queries=200))
train_dataloader = dict(batch_size=1)
