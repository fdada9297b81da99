# 737 500 iterations of 16 images, 100 epochs of COCO (Swin-L).
_base_ = './mask2former_50e_coco.py'

max_iters = 737500
param_scheduler = dict(end=max_iters, milestones=[655556, 710184])
train_cfg = dict(max_iters=max_iters)
