_base_ = [
    './panoptic_segformer-v1_r50_8xb1-50e_coco-panoptic.py',
    '../_base_/backbones/pvtv2-b5.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.pop('backbone')),
    panoptic_head=dict(in_channels=_base_.pop('in_channels')))
