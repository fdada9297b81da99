# Things only, 300 queries (Table 3 of the first version).
_base_ = [
    '../_base_/models/panoptic_segformer_r50.py',
    '../_base_/models/panoptic_segformer_v1.py',
    '../_base_/datasets/coco_instance_multiscale.py',
    '../_base_/schedules/panoptic_segformer_24e.py',
    '../_base_/default_runtime.py']

model = _base_.pop('v1')
model.update(
    num_things_classes=80, num_stuff_classes=0,
    test_cfg=dict(panoptic_on=False, instance_on=True))
model.panoptic_head.num_queries = 300
optim_wrapper = dict(optimizer=dict(lr=1.8e-4))
param_scheduler = dict(end=50, milestones=[40])
train_cfg = dict(max_epochs=50)
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)
