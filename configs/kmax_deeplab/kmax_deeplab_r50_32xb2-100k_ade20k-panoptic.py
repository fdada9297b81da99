_base_ = [
    '../_base_/models/kmax_r50.py',
    '../_base_/datasets/ade20k_panoptic_kmax.py',
    '../_base_/evaluators/three_tasks.py',
    '../_base_/schedules/kmax_100k.py',
    '../_base_/default_runtime.py']

model = dict(
    num_things_classes=100,
    num_stuff_classes=50,
    test_cfg=dict(instance_on=True, semantic_on=True),
    panoptic_head=dict(transformer_decoder=dict(drop_path=0.0)),
    panoptic_fusion_head=dict(score_thr=0.4))
val_evaluator = _base_.pop('three_tasks')
val_evaluator[1].ann_file = (
    _base_.val_dataloader.dataset.data_root + 'ade20k_instance_val.json')
test_evaluator = val_evaluator
