_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/coco_instance_lsj.py',
    '../_base_/schedules/mask2former_50e_coco.py',
    '../_base_/default_runtime.py']

model = dict(
    num_things_classes=80,
    num_stuff_classes=0,
    test_cfg=dict(panoptic_on=False, instance_on=True))
