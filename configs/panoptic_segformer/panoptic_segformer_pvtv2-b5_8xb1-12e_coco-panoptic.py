_base_ = './panoptic_segformer_pvtv2-b5_8xb1-24e_coco-panoptic.py'

param_scheduler = dict(end=12, milestones=[8])
train_cfg = dict(max_epochs=12)
