# From scratch on a CPU, on the data of Mask2Former's demo and with its low thresholds.
_base_ = [
    '../_base_/models/kmax_r18_small.py',
    '../_base_/datasets/scenes_panoptic.py',
    '../_base_/schedules/adamw_poly_scratch.py',
    '../_base_/default_runtime.py']

model = dict(
    num_things_classes=6,
    num_stuff_classes=6,
    panoptic_head=dict(num_queries=30),
    panoptic_fusion_head=dict(score_thr=0.4, mask_thr=0.2, overlap_thr=0.7))

max_iters = 2000
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(_delete_=True, undecayed=['.bias']))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', by_epoch=False, begin=0, end=max_iters, power=0.9, eta_min=0.0)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters), logger=dict(interval=50))
del max_iters
