_base_ = [
    './mask2former_r50_8xb2-160k_ade20k-semantic.py',
    '../_base_/backbones/swin-s.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.pop('backbone')),
    panoptic_head=dict(in_channels=_base_.pop('in_channels')))
