# 300 000 iterations of 16 images.
_base_ = './mask2former_160k_ade20k.py'

param_scheduler = dict(end=300000)
train_cfg = dict(max_iters=300000)
