_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/coco_panoptic_lsj.py',
    '../_base_/evaluators/three_tasks.py',
    '../_base_/schedules/mask2former_50e_coco.py',
    '../_base_/default_runtime.py']

model = dict(test_cfg=dict(instance_on=True, semantic_on=True))
val_evaluator = _base_.pop('three_tasks')
val_evaluator[1].ann_file = (
    _base_.val_dataloader.dataset.data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
