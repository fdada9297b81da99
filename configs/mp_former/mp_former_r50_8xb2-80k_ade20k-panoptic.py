_base_ = './mp_former_r50_8xb2-160k_ade20k-panoptic.py'

param_scheduler = dict(end=80000)
train_cfg = dict(max_iters=80000)
