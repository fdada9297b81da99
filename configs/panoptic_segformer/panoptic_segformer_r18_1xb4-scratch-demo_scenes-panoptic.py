# Training from scratch to a usable model in minutes on two CPU cores.
_base_ = [
    '../_base_/models/panoptic_segformer_r18_small.py',
    '../_base_/datasets/scenes_panoptic.py',
    '../_base_/schedules/adamw_poly_scratch.py',
    '../_base_/default_runtime.py']

model = dict(
    num_things_classes=6,
    num_stuff_classes=6,
    panoptic_head=dict(num_queries=30, max_per_image=30))

max_iters = 2000
optim_wrapper = dict(optimizer=dict(lr=6e-4), paramwise_cfg=dict(decayed_embeddings=[]))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', by_epoch=False, begin=0, end=max_iters, power=0.9, eta_min=0.0)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters), logger=dict(interval=50))
del max_iters
