_base_ = './mp_former_r50_8xb2-lsj-50e_coco-instance.py'

param_scheduler = dict(end=88500, milestones=[73750, 81125])
train_cfg = dict(max_iters=88500)
