_base_ = [
    '../_base_/models/panoptic_segformer_r50.py',
    '../_base_/models/panoptic_segformer_v1.py',
    '../_base_/datasets/coco_panoptic_multiscale.py',
    '../_base_/schedules/panoptic_segformer_24e.py',
    '../_base_/default_runtime.py']

model = _base_.pop('v1')
optim_wrapper = dict(optimizer=dict(lr=1.8e-4))
param_scheduler = dict(end=50, milestones=[40])
train_cfg = dict(max_epochs=50)
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)
