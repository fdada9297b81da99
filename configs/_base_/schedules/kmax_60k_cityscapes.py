# 60 000 iterations of 32 images.
_base_ = './kmax_150k_coco.py'

max_iters = 60000
warmup = 5000
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, begin=0, end=warmup + 1, start_factor=0.001),
    dict(type='MultiStepLR', by_epoch=False, milestones=[warmup],
         gamma=(1 - warmup / max_iters) ** 0.9),
    dict(type='PolyLR', by_epoch=False, begin=warmup, end=max_iters + 1, power=0.9, eta_min=0.0)]
train_cfg = dict(max_iters=max_iters)
auto_scale_lr = dict(base_batch_size=32)
del max_iters, warmup
