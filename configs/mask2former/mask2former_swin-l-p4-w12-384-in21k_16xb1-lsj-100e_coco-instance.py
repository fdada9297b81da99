_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/backbones/swin-l-384-in21k.py',
    '../_base_/datasets/coco_instance_lsj.py',
    '../_base_/schedules/mask2former_100e_coco.py',
    '../_base_/default_runtime.py']

model = dict(
    num_things_classes=80,
    num_stuff_classes=0,
    test_cfg=dict(panoptic_on=False, instance_on=True),
    backbone=dict(_delete_=True, **_base_.backbone),
    panoptic_head=dict(in_channels=_base_.in_channels, num_queries=200))
train_dataloader = dict(batch_size=1)
