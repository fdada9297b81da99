_base_ = [
    './kmax_deeplab_r50_32xb2-150k_coco-panoptic.py', '../_base_/backbones/convnext-t.py']

model = dict(
    backbone=_base_.pop('backbone'),
    panoptic_head=dict(in_channels=_base_.pop('in_channels')))
