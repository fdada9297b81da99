_base_ = './mp_former_swin-l-p4-w12-384-in21k_16xb1-160k_ade20k-instance.py'

param_scheduler = dict(end=80000)
train_cfg = dict(max_iters=80000)
