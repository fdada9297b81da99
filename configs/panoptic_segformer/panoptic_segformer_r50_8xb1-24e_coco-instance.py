_base_ = [
    '../_base_/models/panoptic_segformer_r50.py',
    '../_base_/datasets/coco_instance_multiscale.py',
    '../_base_/schedules/panoptic_segformer_24e.py',
    '../_base_/default_runtime.py']

model = dict(
    num_things_classes=80,
    num_stuff_classes=0,
    test_cfg=dict(panoptic_on=False, instance_on=True))
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)
