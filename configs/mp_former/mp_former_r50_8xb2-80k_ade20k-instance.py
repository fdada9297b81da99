_base_ = './mp_former_r50_8xb2-160k_ade20k-instance.py'

max_iters = 80000
param_scheduler = dict(end=max_iters)
train_cfg = dict(max_iters=max_iters)
