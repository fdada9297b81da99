_base_ = './mp_former_r50_8xb2-lsj-50e_coco-instance.py'

param_scheduler = dict(end=265500, milestones=[245000, 260000])
train_cfg = dict(max_iters=265500)
