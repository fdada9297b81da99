_base_ = [
    '../_base_/models/panoptic_segformer_r50.py',
    '../_base_/datasets/coco_panoptic_multiscale_crop.py',
    '../_base_/evaluators/three_tasks.py',
    '../_base_/schedules/panoptic_segformer_24e.py',
    '../_base_/default_runtime.py']

model = dict(test_cfg=dict(instance_on=True))
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)
val_evaluator = _base_.pop('three_tasks')[:2]  # no semantic segmentation
val_evaluator[1].ann_file = (
    _base_.val_dataloader.dataset.data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
