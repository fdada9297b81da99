_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/backbones/swin-l-384-in21k.py',
    '../_base_/datasets/coco_panoptic_lsj.py',
    '../_base_/schedules/mask2former_100e_coco.py',
    '../_base_/default_runtime.py']

model = dict(
    test_cfg=dict(instance_on=True, semantic_on=True),
    backbone=dict(_delete_=True, **_base_.backbone),
    panoptic_head=dict(in_channels=_base_.in_channels, num_queries=200))
val_evaluator = [
    dict(type='mmpanseg.PanopticMetric'),
    dict(type='mmpanseg.InstanceMetric',
         ann_file=_base_.data_root + 'annotations/instances_val2017.json'),
    dict(type='mmpanseg.SemanticMetric', source='panoptic')]
test_evaluator = val_evaluator
train_dataloader = dict(batch_size=1)
