# 160 000 iterations of 16 images, polynomial decay to zero.
_base_ = './mask2former_50e_coco.py'

max_iters = 160000
param_scheduler = dict(
    _delete_=True, type='PolyLR', by_epoch=False, begin=0, end=max_iters, power=0.9, eta_min=0.0)
train_cfg = dict(max_iters=max_iters)
