# Training from scratch to a usable model in ten minutes on two CPU cores, with many small images
# rather than few large ones. Scores and masks stay uncertain, so thresholds are low.
_base_ = [
    '../_base_/models/mask2former_r18_small.py',
    '../_base_/datasets/scenes_panoptic.py',
    '../_base_/schedules/adamw_poly_scratch.py',
    '../_base_/default_runtime.py']

model = dict(
    num_things_classes=6,
    num_stuff_classes=6,
    panoptic_head=dict(
        num_queries=30,
        transformer_decoder=dict(num_layers=3),
        criterion=dict(num_points=1024)),
    panoptic_fusion_head=dict(object_mask_thr=0.4, iou_thr=0.7))

max_iters = 2000
optim_wrapper = dict(optimizer=dict(lr=6e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', by_epoch=False, begin=0, end=max_iters, power=0.9, eta_min=0.0)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters), logger=dict(interval=50))
del max_iters
