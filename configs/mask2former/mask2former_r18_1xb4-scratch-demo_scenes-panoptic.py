_base_ = [
    '../_base_/models/mask2former_r18_small.py',
    '../_base_/datasets/scenes_panoptic.py',
    '../_base_/schedules/adamw_poly_scratch.py',
    '../_base_/default_runtime.py']

model = dict(num_things_classes=6, num_stuff_classes=6)
default_hooks = dict(checkpoint=dict(interval=900), logger=dict(interval=50))
