# What 35 minutes on two CPU cores allow with --amp.
_base_ = './mask2former_r18_1xb4-900i_camvid-panoptic.py'

max_iters = 2100
param_scheduler = dict(end=max_iters)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
