_base_ = './panoptic_segformer_r101_8xb1-24e_coco-panoptic.py'

optim_wrapper = dict(optimizer=dict(lr=1.8e-4))
param_scheduler = dict(end=50, milestones=[40])
train_cfg = dict(max_epochs=50)
