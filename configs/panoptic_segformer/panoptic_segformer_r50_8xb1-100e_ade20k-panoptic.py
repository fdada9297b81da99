_base_ = [
    '../_base_/models/panoptic_segformer_r50.py',
    '../_base_/datasets/ade20k_panoptic_multiscale.py',
    '../_base_/schedules/panoptic_segformer_24e.py',
    '../_base_/default_runtime.py']

model = dict(num_things_classes=100, num_stuff_classes=50)
param_scheduler = dict(end=100, milestones=[80])
train_cfg = dict(max_epochs=100, val_interval=5)
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=5))
log_processor = dict(by_epoch=True)
