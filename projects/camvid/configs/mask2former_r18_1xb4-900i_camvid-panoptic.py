_base_ = [
    '../../../configs/_base_/models/mask2former_r18_small.py',
    '../../../configs/_base_/datasets/camvid_panoptic.py',
    '../../../configs/_base_/schedules/adamw_poly_scratch.py',
    '../../../configs/_base_/default_runtime.py']

model = dict(num_things_classes=4, num_stuff_classes=7)
default_hooks = dict(checkpoint=dict(interval=900))
