_base_ = './mp_former_r50_8xb2-lsj-50e_coco-instance.py'

max_iters = 265500
param_scheduler = dict(end=max_iters, milestones=[245000, 260000])
train_cfg = dict(max_iters=max_iters)
