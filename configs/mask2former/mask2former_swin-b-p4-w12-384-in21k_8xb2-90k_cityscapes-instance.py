_base_ = [
    './mask2former_r50_8xb2-90k_cityscapes-instance.py',
    '../_base_/backbones/swin-b-384-in21k.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.pop('backbone')),
    panoptic_head=dict(in_channels=_base_.pop('in_channels')))
