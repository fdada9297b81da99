_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/mapillary_panoptic.py',
    '../_base_/evaluators/three_tasks.py',
    '../_base_/schedules/mask2former_300k_mapillary.py',
    '../_base_/default_runtime.py']

model = dict(
    num_things_classes=37,
    num_stuff_classes=28,
    test_cfg=dict(semantic_on=True),
    panoptic_fusion_head=dict(object_mask_thr=0.0))
val_evaluator = _base_.pop('three_tasks')
del val_evaluator[1]  # no instance segmentation
test_evaluator = val_evaluator
