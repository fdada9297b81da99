_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/backbones/swin-b-384.py',
    '../_base_/datasets/ade20k_semantic_640.py',
    '../_base_/schedules/mask2former_160k_ade20k.py',
    '../_base_/default_runtime.py',
    '../_base_/tta.py']

model = dict(
    num_things_classes=0,
    num_stuff_classes=150,
    test_cfg=dict(panoptic_on=False, semantic_on=True),
    backbone=dict(_delete_=True, **_base_.pop('backbone')),
    panoptic_head=dict(in_channels=_base_.pop('in_channels')))
