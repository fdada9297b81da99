_base_ = [
    '../../../configs/_base_/models/mask2former_r18_small.py',
    '../../../configs/_base_/datasets/camvid_instance.py',
    '../../../configs/_base_/schedules/adamw_poly_scratch.py',
    '../../../configs/_base_/default_runtime.py']

model = dict(num_things_classes=4, num_stuff_classes=0,
             test_cfg=dict(panoptic_on=False, instance_on=True))
default_hooks = dict(checkpoint=dict(interval=900))
