# The paper prints no steps of the learning rate for 72 epochs: those of 50 epochs in proportion.
_base_ = '../mask2former/mask2former_swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco-panoptic.py'

model = dict(panoptic_head=dict(type='mmpanseg.MPFormerHead'))

param_scheduler = dict(end=531000, milestones=[472000, 511333])
train_cfg = dict(max_iters=531000)
