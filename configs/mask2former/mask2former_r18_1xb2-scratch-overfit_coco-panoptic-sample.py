# A check of training and testing: a model that overfits two COCO images.
_base_ = [
    '../_base_/models/mask2former_r18_small.py',
    '../_base_/datasets/coco_panoptic_sample.py',
    '../_base_/schedules/adamw_poly_scratch.py',
    '../_base_/default_runtime.py']

max_iters = 800
optim_wrapper = dict(optimizer=dict(lr=5e-4, weight_decay=0.0), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', by_epoch=False, begin=0, end=max_iters, power=0.9, eta_min=0.0)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
del max_iters
