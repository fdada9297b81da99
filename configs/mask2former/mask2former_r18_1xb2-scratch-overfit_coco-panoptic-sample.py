# A check of the whole chain: two COCO images learnt by heart.
_base_ = [
    '../_base_/models/mask2former_r18_small.py',
    '../_base_/datasets/coco_panoptic_sample.py',
    '../_base_/schedules/adamw_poly_scratch.py',
    '../_base_/default_runtime.py']

max_iters = 600
optim_wrapper = dict(optimizer=dict(weight_decay=0.0), clip_grad=dict(max_norm=1.0))
param_scheduler = dict(end=max_iters)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
