_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/cityscapes_panoptic.py',
    '../_base_/evaluators/three_tasks.py',
    '../_base_/schedules/mask2former_90k_cityscapes.py',
    '../_base_/default_runtime.py']

# The released code trains the batch norms here.
model = dict(
    num_things_classes=8,
    num_stuff_classes=11,
    test_cfg=dict(instance_on=True, semantic_on=True),
    backbone=dict(norm_cfg=dict(type='SyncBN', requires_grad=True), norm_eval=False))
val_evaluator = _base_.pop('three_tasks')
val_evaluator[1].ann_file = (
    _base_.val_dataloader.dataset.data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator
