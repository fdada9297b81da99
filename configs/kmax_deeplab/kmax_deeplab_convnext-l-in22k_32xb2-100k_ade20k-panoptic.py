_base_ = [
    './kmax_deeplab_r50_32xb2-100k_ade20k-panoptic.py', '../_base_/backbones/convnext-l.py']

model = dict(
    backbone=dict(_base_.pop('backbone'), drop_path_rate=0.7),
    panoptic_head=dict(in_channels=_base_.pop('in_channels')))
