_base_ = './mp_former_swin-l-p4-w12-384-in21k_16xb1-160k_ade20k-semantic.py'

max_iters = 80000
param_scheduler = dict(end=max_iters)
train_cfg = dict(max_iters=max_iters)
