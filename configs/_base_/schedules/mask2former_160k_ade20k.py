# 160 000 iterations of 16 images, polynomial decay to zero.
_base_ = './mask2former_50e_coco.py'

param_scheduler = dict(
    _delete_=True, type='PolyLR', by_epoch=False, begin=0, end=160000, power=0.9, eta_min=0.0)
train_cfg = dict(max_iters=160000)
