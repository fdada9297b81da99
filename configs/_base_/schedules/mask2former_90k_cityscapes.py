# 90 000 iterations of 16 images.
_base_ = './mask2former_160k_ade20k.py'

max_iters = 90000
param_scheduler = dict(end=max_iters)
train_cfg = dict(max_iters=max_iters)
